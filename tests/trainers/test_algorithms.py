"""The algorithms that pass through to TRL, cascades of stages, and the distance to the base."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.trainers import running

SETTINGS = {"max_steps": 4, "learning_rate": 1e-3, "max_completion_length": 4, "save_steps": 2}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "rloo": {"trainer": "rloo", "grpo": {"beta": 0.001}},
    "grpo": {"grpo": {"loss_type": "grpo", "beta": 0.001}},
    "dapo": {"grpo": {"loss_type": "dapo", "epsilon": 0.2, "epsilon_high": 0.28, "delta": 10.0}},
    "dr_grpo": {"grpo": {"loss_type": "dr_grpo", "scale_rewards": "none"}},
    "bnpo": {"grpo": {"loss_type": "bnpo"}},
    "gspo": {"grpo": {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4}},
    "cispo": {"grpo": {"loss_type": "cispo", "epsilon_high": 5.0}},
    "two iterations": {"grpo": {"num_iterations": 2}},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_algorithm_trains_and_is_resumable(root: Path, model: dict[str, str], name: str) -> None:
    from tests.trainers.test_resume import assert_same_from, kill

    change = ALGORITHMS[name]
    iterations = change["grpo"].get("num_iterations", 1)
    settings = {**SETTINGS, **change["grpo"], "max_steps": 6 * iterations, "save_steps": 2 * iterations}
    config = running.rl_config(model, **{**change, "grpo": settings, "export_steps": None})
    undisturbed = running.start(running.add(root / "a", "rl", config))
    disturbed = running.start(running.add(root / "b", "rl", config))
    step = random.Random().randrange(2 * iterations + 1, 6 * iterations)
    print(f"killed after step {step}")
    kill(disturbed, step)
    resumed = running.start(disturbed.directory, "0002")
    assert undisturbed.wait()["outcome"] == resumed.wait()["outcome"] == "done"
    assert_same_from(resumed, undisturbed)
    if settings.get("beta"):
        assert undisturbed.curve("kl"), "the distance to the reference is logged"


def test_a_stage_goes_on_from_another_stages_checkpoint_and_moves_away_from_it(
    root: Path, model: dict[str, str]
) -> None:
    first = running.add(root, "rl", running.rl_config(model))
    assert running.start(first).wait()["outcome"] == "done"
    config = running.rl_config({"need": 0, "checkpoint": 4}, seed=1, trainer="rloo")
    second = running.add(root, "rl", config, needs=(first.id,))
    attempt = running.start(second)
    assert attempt.wait()["outcome"] == "done"
    moved = attempt.curve("kl_to_base/knowledge")
    assert sorted(moved) == [4, 8], "at every export"
    assert all(abs(value) < 1.0 for value in moved.values())
    assert moved[8] != 0.0, "it was rewarded, so it moved"
