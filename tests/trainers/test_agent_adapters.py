"""An agent is trained by LoRA: it repeats after a kill, and what is exported plays as any other model does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evaluators import run as evaluation
from manager.run import Run
from manager.store import RunDirectory
from tests.trainers import playing, running
from tests.trainers.test_export import LORA, assert_is_plain
from tests.trainers.test_resume import assert_same_from, kill, weights


@pytest.mark.slow
@pytest.mark.parametrize(("change", "world"), [({}, 1), ({"deepspeed": "zero2"}, 2)], ids=["plain", "zero2"])
def test_an_adapter_learns_from_episodes_resumes_and_is_evaluated(
    root: Path, policy: dict[str, str], change: dict[str, str], world: int
) -> None:
    config = playing.rl_config(policy, peft=LORA, **change)
    undisturbed = running.start(running.add(root / "a", "rl", config, tasks_per_node=world), world_size=world)
    assert undisturbed.wait()["outcome"] == "done"
    learned = undisturbed.metrics()
    assert all("kl" in learned[step] for step in range(1, 7)), "the reference is the model without the adapter"
    assert learned[1]["kl"] == pytest.approx(0.0, abs=1e-6)
    assert any(learned[step]["kl"] > 1e-6 for step in range(2, 7))
    assert learned[6]["kl_to_base/sokoban"] != 0.0, "an estimate from few answers: it may be below 0"
    disturbed = running.start(running.add(root / "b", "rl", config, tasks_per_node=world), world_size=world)
    kill(disturbed, 3)
    resumed = running.start(disturbed.directory, "0002", world_size=world)
    assert resumed.wait()["outcome"] == "done"
    assert_same_from(resumed, undisturbed)
    assert weights(resumed, 6) == weights(undisturbed, 6)
    folder = resumed.directory.model_dir(6)
    assert_is_plain(folder)
    assert adapter_is_small(resumed.directory), "a state holds the adapter, not the whole model"
    summary = evaluated(root / "c", folder)
    assert sum(summary["outcomes"].values()) == 8 * 2
    assert summary["outcomes"]["grader_failed"] == summary["outcomes"]["engine_failed"] == 0
    assert summary["pass_at_1"] > 0.0, "it has seen plans"


def adapter_is_small(directory: RunDirectory) -> bool:
    state = directory.path / "checkpoints" / "checkpoint-6"
    exported = (directory.model_dir(6) / "model.safetensors").stat().st_size
    return (state / "adapter_model.safetensors").stat().st_size < exported / 2


def evaluated(root: Path, folder: Path) -> dict[str, Any]:
    """What an evaluation of the exported weights says, by our engine."""
    sampler = {"samples": 2, "temperature": 0.4, "top_p": 1.0, "max_tokens": 24, "stop": []}
    row = {**playing.environment(split="test", **playing.SMALL), "sampler": sampler, "limit": 8}
    directory = running.add(root, "evaluate", {
        "model": {"path": str(folder), "digest": "exported"}, "benchmarks": [row], "agent": playing.AGENT,
        "engine": {"name": "transformers"}, "seed": 0,
    })  # fmt: skip
    attempt = directory.path / "attempts" / "0001"
    attempt.mkdir(parents=True)
    run = Run(directory, directory.job(), attempt)
    found: dict[str, Any] = evaluation.main(run)["benchmarks"]["sokoban"]
    run.close()
    return found
