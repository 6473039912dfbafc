"""Trainings that cannot go well stop with their cause, before they harm what is there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet
import pytest

from tests.trainers import running
from trainers import checkpoints, disk
from trainers.callbacks import WITHOUT_SIGNAL, likely_cause

TOLD = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


def test_an_undefined_loss_stops_at_the_last_good_state(root: Path) -> None:
    settings = {"max_steps": 50, "learning_rate": 1e-3, "save_steps": 2, "max_grad_norm": 0.0}
    # The rate is raised far beyond anything sensible after a few good steps.
    schedule = {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 40, "learning_rate": 1e36}
    directory = running.add(root, "sft", running.sft_config(sft={**settings, **schedule}))
    attempt = running.start(directory)
    out = attempt.wait()
    assert out["outcome"] == "failed"
    assert out["cause"] == "undefined_loss"
    assert not out["retryable"]
    assert "no state was saved before" in out["message"] or "checkpoint-" in out["message"]
    [record] = [record for record in attempt.records() if record.get("undefined")]
    assert f"at step {record['step']}" in out["message"]
    steps = [step for step, path in checkpoints.states(directory.path / "checkpoints") if checkpoints.is_complete(path)]
    assert all(step < record["step"] for step in steps)


def test_a_state_that_does_not_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: SimpleNamespace(free=20 * 10**9))
    assert disk.problem(tmp_path, disk.Sizes(10**8, 10**8), step=10) is None
    assert disk.problem(tmp_path, disk.Sizes(10**9, 10**9, zero_stage=2, bf16=True), step=10) is None  # 16 and 2 bytes
    told = disk.problem(tmp_path, disk.Sizes(10**9, 10**9, zero_stage=2), step=10)
    assert told is not None
    # Weights twice, master weights and two moments are 20 bytes, a tenth more to be sure, and the export 4.
    assert "needs 26.07 GB, 20.00 GB are free; nothing was written" in told[0]
    assert told[1] == pytest.approx(26.07e9, rel=1e-3)  # known to `manager sweep`, which goes on when they are free


def test_half_a_state_gives_its_room_to_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torn = tmp_path / "torn-checkpoint-4"
    torn.mkdir()
    (torn / "model.safetensors").touch()
    usage = SimpleNamespace(free=0)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: usage if torn.exists() else SimpleNamespace(free=10**9))
    assert disk.problem(tmp_path, disk.Sizes(1000, 1000), step=8) is None
    assert not torn.exists()


def test_equal_rewards_for_many_steps_are_told_with_the_likely_cause(root: Path, model: dict[str, str]) -> None:
    config = running.rl_config(
        model,
        reward={"name": "random", "p": 0.0},
        grpo={"max_steps": 2 * WITHOUT_SIGNAL, "learning_rate": 1e-4, "max_completion_length": 4},
        export_steps=None,
    )
    attempt = running.start(running.add(root, "rl", config))
    assert attempt.wait()["outcome"] == "done"
    told = [record for record in attempt.records() if record.get("name") == "no_learning_signal"]
    assert len(told) == 1
    assert "all rewards of a group were equal" in told[0]["message"]


def test_the_cause_is_read_from_the_outcomes() -> None:
    assert "raise grpo.max_completion_length" in likely_cause({"outcome/truncated": 0.9, "outcome/right": 0.1})
    assert "too easy" in likely_cause({"outcome/right": 1.0})
    mixed = likely_cause({"outcome/right": 0.55, "outcome/wrong": 0.45})
    assert mixed.startswith("55% right, 45% wrong: the answers to a prompt are alike")
    assert "too easy" not in mixed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"grpo": {"max_steps": 2, "num_generations": 3}}, "set batch.samples"),
        ({"reward": "corect"}, "unknown name 'corect'"),
        ({"deepspeed": "zero9"}, "zero1, zero2, zero3"),
        ({"batch": {"prompts": 4, "samples": 4, "mini_batch": 3}}, "does not divide batch.prompts 4"),
    ],
)
def test_a_config_that_cannot_run_is_told_before_torch_is_needed(root: Path, change: dict, words: str) -> None:
    from manager.run import Failed, Run
    from trainers import grpo

    directory = running.add(root, "rl", running.rl_config({"path": "/nowhere", "digest": ""}, **change))
    with pytest.raises(Failed, match=words) as failed:
        grpo.main(Run(directory, directory.job(), root / "attempt"))
    assert failed.value.cause == "config"


def test_a_model_that_is_not_there_is_told_in_one_line() -> None:
    from manager.run import Failed
    from trainers.training import load_tokenizer

    with pytest.raises(Failed, match="/nowhere/model could not be loaded") as failed:
        load_tokenizer("/nowhere/model", None)
    assert failed.value.cause == "model_unreachable"
    assert "\n" not in str(failed.value)


def test_a_model_without_a_chat_template_is_told(model: dict[str, str], tmp_path: Path) -> None:
    import shutil

    from manager.run import Failed
    from trainers.training import load_tokenizer

    shutil.copytree(model["path"], tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").unlink()
    with pytest.raises(Failed, match="has no chat template"):
        load_tokenizer(str(tmp_path / "model"), None)


# Every name that docs/training.md promises for each step with a generated batch; on a GPU there are two more.
LOGGED = {
    "reward", "rewards/correct/mean", "rewards/format_only/mean", "rewards/correct/knowledge",
    "rewards/format_only/knowledge", "score/knowledge", "outcome/right", "outcome/truncated", "kl", "entropy",
    "completions/mean_length", "completions/clipped_ratio", "clip_ratio/region_mean", "frac_reward_zero_std",
    "groups_without_signal", "grad_norm", "learning_rate", "loss", "num_tokens", "prompts_seen", "tokens_per_s",
    "time/step_s", "time/generation_s", "time/reward_s", "time/preparing_s", "time/training_s",
}  # fmt: skip


def test_every_completion_has_its_rewards_in_the_table(root: Path, model: dict[str, str]) -> None:
    settings = {**running.rl_config(model)["grpo"], "beta": 0.001}
    config = running.rl_config(model, reward=["correct", "format_only"], grpo=settings)
    directory = running.add(root, "rl", config)
    attempt = running.start(directory)
    assert attempt.wait()["outcome"] == "done"
    told = [record["path"] for record in attempt.records() if record["type"] == "artifact"]
    rows = [row for path in told for row in pyarrow.parquet.read_table(directory.path / path).to_pylist()]
    assert sorted({row["step"] for row in rows}) == [1, 3, 5, 7], "two optimiser steps for each generated batch"
    assert len(rows) == 4 * 16
    for step, values in attempt.metrics().items():
        if "reward" in values:
            mine = [row for row in rows if row["step"] == step]
            assert sum(row["reward_correct"] for row in mine) / 16 == pytest.approx(values["rewards/correct/mean"])
            assert {row["outcome"] for row in mine} <= {"right", "wrong", "no_answer", "truncated"}
            assert all(row["completion"] is not None for row in mine)
    assert {"kl_to_base/math", "kl_to_base/code", "kl_to_base/knowledge"} <= set(attempt.metrics()[8])
    steps = attempt.metrics()
    shown = [values for values in steps.values() if "reward" in values]
    assert len(shown) == 4
    assert all(set(values) >= LOGGED for values in shown), [LOGGED - set(values) for values in shown]
    assert [steps[step]["prompts_seen"] for step in sorted(steps)] == [4, 4, 8, 8, 12, 12, 16, 16]
    for name in sorted(LOGGED):
        assert f"`{name}`" in TOLD or name.startswith(("rewards/", "score/", "outcome/", "clip_ratio/")), name


def test_an_answer_that_ends_in_another_of_the_models_ways_is_not_cut_off(
    root: Path, tmp_path: Path, model: dict[str, str]
) -> None:
    """Generation stops at every id that the model's generation config names, not at the tokenizer's one alone."""
    import json
    import shutil

    from transformers import AutoTokenizer

    folder = tmp_path / "model"
    shutil.copytree(model["path"], folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    letters = [tokenizer(letter)["input_ids"][0] for letter in "ABCD"]
    config = json.loads((folder / "generation_config.json").read_text())
    config["eos_token_id"] = [tokenizer.eos_token_id, *letters]
    (folder / "generation_config.json").write_text(json.dumps(config))
    grpo = {"max_steps": 2, "learning_rate": 1e-6, "max_completion_length": 4}
    directory = running.add(root, "rl", running.rl_config({"path": str(folder), "digest": ""}, grpo=grpo))
    attempt = running.start(directory)
    assert attempt.wait()["outcome"] == "done"
    told = [record["path"] for record in attempt.records() if record["type"] == "artifact"]
    rows = [row for path in told for row in pyarrow.parquet.read_table(directory.path / path).to_pylist()]
    ended = [row for row in rows if row["tokens"] < 4]
    assert ended
    assert not [row for row in ended if row["outcome"] == "truncated"]
