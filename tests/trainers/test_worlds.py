"""What a saved state can go on with, asked before a job is queued."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from manager.cli.options import load
from manager.cli.preflight import problems, require
from manager.errors import UserError
from manager.store import Store
from trainers import checkpoints
from trainers.worlds import obstacle, zero_stage

SWEEP = """
name: more
study: algorithms
cluster: local
stages:
  train: {kind: rl, model: ./model, data: mini-math, deepspeed: %s, generation: transformers,
          resources: {tasks_per_node: %d}}
"""


def saved_by(tmp_path: Path, deepspeed: str, before: int, after: int) -> tuple[Store, Path, str]:
    """A store in which a job has a state of `before` processes, and the sweep that gives it `after` of them."""
    (tmp_path / "model").mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja"):  # all that is looked at
        (tmp_path / "model" / name).write_text("{}")
    store, file = Store.open(tmp_path / "runs", create=True), tmp_path / "more.yaml"
    file.write_text(SWEEP % (deepspeed, before), encoding="utf-8")
    [entry] = load(file, None).jobs
    state = store.add_job(entry.job).path / "checkpoints" / "checkpoint-2"
    state.mkdir(parents=True)
    checkpoints.mark_complete(state, step=2, world_size=before)
    file.write_text(SWEEP % (deepspeed, after), encoding="utf-8")
    return store, file, entry.job.id


def test_the_stage_of_a_name_and_of_a_mapping() -> None:
    asked = [None, "zero1", "zero3_offload", {"zero_optimization": {"stage": 2}}, {"bf16": {"enabled": True}}]
    assert [zero_stage(one) for one in asked] == [0, 1, 3, 2, 0]


@pytest.mark.parametrize("deepspeed", ["null", "zero1", "zero2", "zero3", "zero3_offload"])
def test_states_that_can_be_converted_are_no_obstacle(tmp_path: Path, deepspeed: str) -> None:
    store, file, _ = saved_by(tmp_path, deepspeed, 2, 1)
    assert not list(problems(store, load(file, None)))


def test_a_state_that_cannot_be_converted_is_refused_before_the_queue(tmp_path: Path) -> None:
    store, file, job = saved_by(tmp_path, "{bf16: {enabled: auto}}", 4, 2)
    with pytest.raises(UserError) as told:
        require(store, load(file, None))
    assert f"sweep more: job {job} has a state that 4 processes saved, and 2 are asked for now" in str(told.value)
    assert "give its stage 4 again (resources)" in str(told.value)
    assert "\n" not in str(told.value)
    assert obstacle({"deepspeed": {"bf16": {"enabled": "auto"}}}, 4, 4) is None


@pytest.mark.parametrize("command", ["plan", "sweep"])
def test_plan_tells_it_and_sweep_starts_nothing(tmp_path: Path, command: str) -> None:
    store, file, job = saved_by(tmp_path, "{bf16: {enabled: auto}}", 4, 2)
    argv = [sys.executable, "-m", "manager", command, str(file), "--store", str(store.root)]
    answer = subprocess.run(argv, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert answer.returncode == (0 if command == "plan" else 1), answer.stderr
    text = " ".join((answer.stdout + answer.stderr).split())
    assert f"job {job} has a state that 4 processes saved" in text
    assert not (store.run(job).path / "attempts").exists()
