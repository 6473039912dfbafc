"""A killed training goes on as if nothing had happened; a stopped one saves first."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.trainers import running
from trainers import checkpoints

# What must be the same bit for bit: what was trained on, and what came out. Not the clocks.
SAME = ("loss", "grad_norm", "reward", "entropy", "learning_rate", "num_tokens", "completions/mean_length")


def kill(attempt: running.Attempt, after_step: int) -> None:
    """SIGKILL to every rank as soon as this step was logged."""
    attempt.wait_until(lambda: after_step in attempt.metrics())
    for rank in attempt.ranks:
        rank.kill()
    for rank in attempt.ranks:
        rank.wait()


def assert_same_from(resumed: running.Attempt, undisturbed: running.Attempt) -> None:
    first, steps = min(resumed.metrics()), undisturbed.metrics()
    assert first == resumed.events()["resumed"]["step"] + 1
    for step, values in resumed.metrics().items():
        assert {name: values.get(name) for name in SAME} == {name: steps[step].get(name) for name in SAME}, step
    assert max(resumed.metrics()) == max(steps)
    assert any(values.get("reward") for values in steps.values()), (
        "a reward was given, so there was something to repeat"
    )


def weights(attempt: running.Attempt, step: int) -> str:
    manifest = checkpoints.read_json(attempt.directory.model_dir(step) / checkpoints.MARKER)
    return manifest["files"]["model.safetensors"]["sha256"]


def test_killed_at_a_random_step_and_resumed_it_is_the_same_training(root: Path, model: dict[str, str]) -> None:
    config = running.rl_config(model)
    undisturbed = running.start(running.add(root / "a", "rl", config))
    disturbed = running.start(running.add(root / "b", "rl", config))
    kill(disturbed, random.Random().randrange(3, 8))
    resumed = running.start(disturbed.directory, "0002")
    assert undisturbed.wait()["outcome"] == resumed.wait()["outcome"] == "done"
    assert_same_from(resumed, undisturbed)
    assert weights(resumed, 8) == weights(undisturbed, 8)
    assert resumed.out()["models"] == [4, 8]


def test_a_torn_state_is_set_aside_and_told_and_the_one_before_it_resumed(root: Path, model: dict[str, str]) -> None:
    directory = running.add(root, "rl", running.rl_config(model))
    kill(running.start(directory), 6)
    saved = checkpoints.states(directory.path / "checkpoints")
    newest = next(path for _, path in saved if checkpoints.is_complete(path))
    (newest / "rng_state.pth").unlink()
    resumed = running.start(directory, "0002")
    assert resumed.wait()["outcome"] == "done"
    assert "rng_state.pth is missing" in resumed.events()["state_set_aside"]["reason"]
    assert resumed.events()["resumed"]["step"] < int(newest.name.removeprefix("checkpoint-"))


def test_asked_to_stop_it_saves_and_goes_on_later(root: Path, model: dict[str, str]) -> None:
    config = running.rl_config(model, grpo={**running.rl_config(model)["grpo"], "max_steps": 400, "save_steps": 400})
    directory = running.add(root, "rl", config)
    attempt = running.start(directory)
    attempt.wait_until(lambda: 3 in attempt.metrics())
    attempt.ranks[0].terminate()
    out = attempt.wait()
    assert out["outcome"] == "interrupted"
    state = checkpoints.newest(directory.path / "checkpoints")
    assert state.step == max(attempt.metrics())
    assert state.step % 2 == 0, "only between two generated batches"
    assert f"saved at step {state.step}" in out["message"]


@pytest.mark.parametrize("step", [8])
def test_a_kill_between_the_last_state_and_its_export_only_exports(
    root: Path, model: dict[str, str], step: int
) -> None:
    directory = running.add(root, "rl", running.rl_config(model))
    first = running.start(directory)
    assert first.wait()["outcome"] == "done"
    before = weights(first, step)
    (directory.model_dir(step) / checkpoints.MARKER).unlink()
    (directory.path / "result.json").unlink()
    again = running.start(directory, "0002")
    assert again.wait()["outcome"] == "done"
    assert not again.curve("loss"), "nothing was trained again"
    assert weights(again, step) == before
    assert again.out()["models"] == [4, 8]
    assert again.out()["metrics"]["loss"] == first.out()["metrics"]["loss"]


def test_a_training_does_not_go_on_with_other_prompts(root: Path, model: dict[str, str]) -> None:
    directory = running.add(root, "rl", running.rl_config(model))
    kill(running.start(directory), 5)
    [told] = {record["digest"] for record in directory.journal() if record.get("name") == "data"}
    for marker in (root / "prepared").glob("*/COMPLETE.json"):
        marker.write_text(marker.read_text().replace(told, "0" * 64))
    out = running.start(directory, "0002").wait()
    assert (out["outcome"], out["cause"]) == ("failed", "data_changed")
    assert told[:12] in out["message"]
