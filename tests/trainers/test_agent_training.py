"""An agent is trained on a small Sokoban, really: what is logged, kept, repeated after a kill, and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from manager.cli.app import app
from tests.trainers import playing, running
from tests.trainers.test_resume import assert_same_from, kill, weights


def test_episodes_are_trained_on_told_and_kept(root: Path, policy: dict[str, str]) -> None:
    directory = running.add(root, "rl", playing.rl_config(policy), micro_batch=32)
    attempt = running.start(directory)
    out = attempt.wait()
    assert (out["outcome"], out["models"]) == ("done", [3, 6])
    steps = attempt.metrics()
    assert sorted(step for step, values in steps.items() if "loss" in values) == [1, 2, 3, 4, 5, 6]
    for values in (steps[step] for step in range(1, 7)):
        success = values["episode/success"]
        assert success == values["sokoban/success"] == values["outcome/right"] == values["score/sokoban"]
        assert values["episode/rounds"] <= playing.SMALL["cap"]
        assert values["samples"] == pytest.approx(8 * values["episode/steps"]), "every step of 8 episodes is a sample"
        assert values["reward"] == pytest.approx(10 * success - 0.1 * values["episode/invalid"])
        assert {"time/generation_s", "time/environment_s", "time/training_s"} <= set(values)
        assert {"entropy", "groups_without_signal", "completions/clipped_ratio", "num_tokens"} <= set(values)
    assert any(values.get("grad_norm", 0.0) > 0.0 for values in steps.values()), "some group had two returns"
    assert "kl_to_base/sokoban" in steps[6]
    tags = [record for record in attempt.records() if record["type"] == "tags"]
    assert "one row a step" in tags[0]["values"]["agent/samples"]
    assert "not published" in tags[0]["values"]["agent/differs_from_paper"]
    listed = CliRunner().invoke(app, ["episode", directory.id, "--store", str(root)]).output.splitlines()
    assert listed[0].startswith(f"{directory.id}:sokoban:")
    assert "step 0 of the training" in listed[0]
    replay = CliRunner().invoke(app, ["episode", listed[-1].split("  ")[0], "--store", str(root)]).output
    assert "trained on after 5 steps" in replay


def test_episodes_that_outgrow_the_context_are_failures_and_told(root: Path, policy: dict[str, str]) -> None:
    """With an earlier step in it, the prompt of the second step leaves no room for an answer in 192 tokens."""
    agent = {**playing.AGENT, "history": 1}
    grpo = {**playing.rl_config(policy)["grpo"], "max_steps": 2}
    directory = running.add(root, "rl", playing.rl_config(policy, agent=agent, grpo=grpo, export_steps=2))
    attempt = running.start(directory)
    assert attempt.wait()["outcome"] == "done"
    for values in attempt.metrics().values():
        assert values["outcome/too_long"] + values["outcome/right"] == pytest.approx(1.0)
        assert values["episode/success"] == values["outcome/right"], "they count in the mean of their group"
        assert values["samples"] == 8.0, "the step before is learned from"
    told = attempt.events()["prompts_too_long"]["message"]
    assert "ended as failures because a prompt left no room" in told


@pytest.mark.slow
def test_killed_and_resumed_it_plays_the_same_tasks_and_learns_the_same(root: Path, policy: dict[str, str]) -> None:
    config = playing.rl_config(policy, export_steps=6)
    undisturbed = running.start(running.add(root / "a", "rl", config))
    assert undisturbed.wait()["outcome"] == "done"
    disturbed = running.start(running.add(root / "b", "rl", config))
    kill(disturbed, 3)
    resumed = running.start(disturbed.directory, "0002")
    assert resumed.wait()["outcome"] == "done"
    assert_same_from(resumed, undisturbed)
    for name in ("episode/success", "episode/steps", "samples"):
        same = undisturbed.curve(name)
        assert resumed.curve(name) == {step: value for step, value in same.items() if step in resumed.curve(name)}
    assert weights(resumed, 6) == weights(undisturbed, 6)


CHANGES: list[dict[str, Any]] = [
    {"trainer": "rloo"},
    {"generation": {"mode": "transformers", "dynamic_sampling": True}},
    {"grpo": {"max_steps": 2, "loss_type": "bnpo"}},
    {"grpo": {"max_steps": 2, "entropy_coef": 0.1}},
    {"grpo": {"learning_rate": 1e-3}},
    {"reward": {"name": "correct"}},
]


@pytest.mark.parametrize(
    ("change", "told"),
    list(
        zip(
            CHANGES,
            ["does not train on", "not episodes", "forward passes", "entropy_coef", "max_steps", "rewarded by episode"],
            strict=True,
        )
    ),
)
def test_what_cannot_be_done_right_is_refused(root: Path, change: dict[str, Any], told: str) -> None:
    from manager.run import Failed, Run
    from trainers import agents

    directory = running.add(root, "rl", playing.rl_config({"path": "/nowhere", "digest": "x"}, **change))
    run = Run(directory, directory.job(), directory.path / "attempts" / "0001")
    with pytest.raises(Failed, match=told) as refused:
        agents.main(run)
    assert refused.value.cause == "config"


def test_another_version_of_the_environment_is_refused(root: Path) -> None:
    from manager.run import Failed, Run
    from trainers import agents

    row = {**playing.environment(**playing.SMALL), "version": 99}
    directory = running.add(root, "rl", playing.rl_config({"path": "/nowhere", "digest": "x"}, row))
    run = Run(directory, directory.job(), directory.path / "attempts" / "0001")
    with pytest.raises(Failed, match="made for version 99"):
        agents.main(run)


@pytest.mark.slow
@pytest.mark.parametrize("zero", ["zero2", "zero3"])
def test_two_processes_play_and_resume(root: Path, policy: dict[str, str], zero: str) -> None:
    config = playing.rl_config(policy, deepspeed=zero, export_steps=6)
    undisturbed = running.start(running.add(root / "a", "rl", config, tasks_per_node=2), world_size=2)
    assert undisturbed.wait()["outcome"] == "done"
    disturbed = running.start(running.add(root / "b", "rl", config, tasks_per_node=2), world_size=2)
    kill(disturbed, 3)
    resumed = running.start(disturbed.directory, "0002", world_size=2)
    assert resumed.wait()["outcome"] == "done"
    assert_same_from(resumed, undisturbed)
    assert weights(resumed, 6) == weights(undisturbed, 6)
