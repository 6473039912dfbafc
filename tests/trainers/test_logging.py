"""What is measured beside a step: the GPU's utilisation and the weights on their way to vLLM."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.trainers import running


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
