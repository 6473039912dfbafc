"""What is logged of a step: that all of it is there and adds up, the GPU's utilisation, the weights on their way."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet
import pytest

from evaluators.benchmark import Outcome
from tests.trainers import running

DOCUMENT = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


class Told:
    def __init__(self) -> None:
        self.events: list[str] = []

    def event(self, name: str, message: str = "", **_: Any) -> None:
        self.events.append(name)


def callback(tmp_path: Path) -> Any:
    from trainers.callbacks import RunCallback

    return RunCallback(Told(), tmp_path, 1, ("prompts", 8))  # type: ignore[arg-type]


def test_the_utilisation_of_the_gpu_is_a_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 37)
    assert callback(tmp_path)._utilisation("cuda:0") == {"gpu/utilisation": 0.37}


def test_where_it_cannot_be_asked_that_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def without(device: Any) -> int:
        raise ModuleNotFoundError("pynvml does not seem to be installed")

    monkeypatch.setattr(torch.cuda, "utilization", without)
    one = callback(tmp_path)
    assert [one._utilisation("cuda:0"), one._utilisation("cuda:0")] == [{}, {}]
    assert one.run.events == ["gpu_utilisation_unknown"]


def test_the_time_that_new_weights_take_is_counted() -> None:
    from trainers.policy import Timed, Times

    trainer = Timed()
    trainer.times = Times()
    trainer.prepare_engine()  # without vLLM there is nothing to count
    trainer.vllm_generation = SimpleNamespace(model=None, sync_weights=lambda: time.sleep(0.01))  # type: ignore[attr-defined]
    trainer.prepare_engine()
    trainer.vllm_generation.sync_weights()  # type: ignore[attr-defined]
    assert trainer.times.take()["weight_sync"] >= 0.01


def test_a_training_without_vllm_logs_no_weight_sync(root: Path, model: dict[str, str]) -> None:
    grpo = {"max_steps": 2, "max_completion_length": 4, "learning_rate": 1e-3}
    attempt = running.start(running.add(root, "rl", running.rl_config(model, grpo=grpo, export_steps=None)))
    assert attempt.wait()["outcome"] == "done"
    assert attempt.curve("time/step_s")
    assert not attempt.curve("time/weight_sync_s")


def test_the_tokens_of_a_batch_are_shared_by_the_steps_that_learn_from_it(tmp_path: Path) -> None:
    from trainers.callbacks import RunCallback

    one = RunCallback(Told(), tmp_path, 4, ("prompts", 8))  # type: ignore[arg-type]
    one.trainer = SimpleNamespace(args=SimpleNamespace(device=SimpleNamespace(type="cpu")))
    found = [one._timing(values, 10.0)["tokens_per_s"] for values in ({"num_tokens": 800.0}, {}, {}, {})]
    assert found == [20.0] * 4
    assert one._timing({"num_tokens": 1200.0}, 5.0)["tokens_per_s"] == 20.0


LOGGED = {
    "reward", "kl", "entropy", "completions/mean_length", "completions/clipped_ratio", "groups_without_signal",
    "clip_ratio/region_mean", "grad_norm", "learning_rate", "loss", "num_tokens", "prompts_seen", "tokens_per_s",
    "time/step_s", "time/generation_s", "time/reward_s", "time/preparing_s", "time/training_s",
    *(f"outcome/{outcome}" for outcome in Outcome),
    *(f"rewards/{part}/{of}" for part in ("correct", "format_only") for of in ("mean", "math", "knowledge")),
    "score/math", "score/knowledge",
}  # fmt: skip


def test_all_that_is_promised_of_a_step_is_logged_and_adds_up(root: Path, model: dict[str, str]) -> None:
    """Two processes with ZeRO-2, two optimiser steps a generated batch; compared with the table of completions."""
    sources = [{"benchmark": f"mini_{name}", "split": "train", "weight": 1, "domain": name}
               for name in ("math", "knowledge")]  # fmt: skip
    config = running.rl_config(
        model, data={"name": "both", "domain": ["math", "knowledge"], "seed": 0, "size": 64, "sources": sources},
        batch={"prompts": 8, "samples": 4, "mini_batch": 4}, reward=["correct", "format_only"], deepspeed="zero2",
        grpo={"max_steps": 4, "learning_rate": 1e-3, "max_completion_length": 6, "beta": 0.01,
              "reward_weights": [1.0, 0.25]}, export_steps=[2],
    )  # fmt: skip
    attempt = running.start(running.add(root, "rl", config), world_size=2)
    assert attempt.wait()["outcome"] == "done"
    logged = attempt.metrics()
    rows = [row for path in sorted((attempt.directory.path / "artifacts" / "completions").glob("*.parquet"))
            for row in pyarrow.parquet.read_table(path).to_pylist()]  # fmt: skip
    before = 0.0
    for step in (1, 3):  # those that generate
        values, batch = logged[step], [row for row in rows if row["step"] == step]
        assert LOGGED - set(values) == set()
        assert len(batch) == 32
        worth = [row["reward_correct"] + 0.25 * row["reward_format_only"] for row in batch]
        assert values["reward"] == pytest.approx(sum(worth) / 32)
        parts = values["rewards/correct/mean"], values["rewards/format_only/mean"]
        assert values["reward"] == pytest.approx(parts[0] + 0.25 * parts[1])
        assert sum(values[f"outcome/{outcome}"] for outcome in Outcome) == pytest.approx(1.0)
        groups = [worth[place : place + 4] for place in range(0, 32, 4)]
        assert values["groups_without_signal"] == sum(len(set(group)) == 1 for group in groups) / 8
        assert values["completions/mean_length"] == pytest.approx(sum(row["tokens"] for row in batch) / 32)
        whole = values["time/preparing_s"] + values["time/training_s"]
        assert whole == pytest.approx(values["time/step_s"])
        assert values["time/generation_s"] + values["time/reward_s"] <= values["time/preparing_s"]
        for each in (values, logged[step + 1]):  # the batch's tokens, by the two steps that learn from it
            assert each["tokens_per_s"] * each["time/step_s"] == pytest.approx((values["num_tokens"] - before) / 2)
        before = values["num_tokens"]
        domains = {name: [row["reward_correct"] for row in batch if row["benchmark"] == f"mini_{name}"]
                   for name in ("math", "knowledge")}  # fmt: skip
        for name, given in domains.items():
            assert values[f"rewards/correct/{name}"] == pytest.approx(sum(given) / len(given))
    assert [logged[step]["prompts_seen"] for step in (1, 2, 3, 4)] == [8, 8, 16, 16]
    for step in (2, 4):
        assert {"kl_to_base/math", "kl_to_base/code", "kl_to_base/knowledge"} <= set(logged[step])
    for name in sorted(LOGGED):  # and each is explained, by its name or as `outcome/<outcome>`
        word = name.partition("/")[0] if name.startswith(("outcome/", "rewards/", "score/", "clip_ratio/")) else name
        assert f"`{word}" in DOCUMENT, name
