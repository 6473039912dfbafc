"""An agent that has half learned a small Sokoban from plans learns the rest by reinforcement, in one sweep."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from manager.store import Store
from tests.trainers import running

# What was measured of it: docs/measurements.md, "Training of agents".
SWEEP = """
name: learns
cluster: local
values:
  sokoban: {name: sokoban, height: 4, width: 5, min_moves: 1, view: short, cap: 6}
  agent: {history: 0, thinking: false, rules: false}
defaults:
  collect: {agent: "${values.agent}"}
  evaluate: {engine: transformers, agent: "${values.agent}", environments: ["${values.sokoban}"], episodes: 64,
             sampling: {all: {samples: 2, max_tokens: 28, temperature: 1.0}}}
stages:
  plans: {kind: collect, environments: ["${values.sokoban}"], episodes: 300}
  warmup:
    kind: sft
    model: {name: tiny-agent, scratch: {architecture: qwen2, hidden_size: 64, layers: 2, heads: 4, context: 512}}
    data: {trajectories: {plans: 1}}
    batch: {examples: 24}
    sft: {max_steps: 140, learning_rate: 3e-3, lr_scheduler_type: cosine, warmup_steps: 10, max_length: 512}
  before: {kind: evaluate, needs: warmup}
  train:
    kind: rl
    needs: warmup
    environments: ["${values.sokoban}"]
    agent: ${values.agent}
    batch: {prompts: 8, samples: 8}
    grpo: {max_steps: 80, learning_rate: 2e-4, max_completion_length: 28}
    generation: transformers
    export_steps: 40
    resources: {micro_batch: 256}
  after: {kind: evaluate, needs: train}
"""


@pytest.mark.slow
def test_success_on_unseen_tasks_goes_up_by_reinforcement(tmp_path: Path) -> None:
    sweep, store = tmp_path / "learns.yaml", tmp_path / "store"
    sweep.write_text(SWEEP, encoding="utf-8")
    command = [sys.executable, "-m", "manager", "sweep", str(sweep), "--store", str(store), "--slots", "2"]
    subprocess.run(command, check=True, timeout=2 * running.DEADLINE_S, cwd=Path(__file__).parents[2])
    results = {entry.stage: _sokoban(store, entry.job.id) for entry in Store.open(store).read_sweep("learns").jobs}
    before, after = results["before"], results["after"]
    assert 0.3 < before["pass_at_1"] < 0.93, "there is something to learn, and something to learn from"
    assert after["pass_at_1"] > before["pass_at_1"]
    assert after["environment"]["invalid"] < before["environment"]["invalid"]


def _sokoban(store: Path, job: str) -> dict[str, dict[str, float]]:
    result = json.loads((store / "jobs" / job / "result.json").read_text(encoding="utf-8"))
    found: dict[str, dict[str, float]] = result.get("benchmarks", {}).get("sokoban", {})
    return found
