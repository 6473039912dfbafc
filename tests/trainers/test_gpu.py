"""The training on GPUs, end to end, with its figures: one command on a machine that has one.

    python -m pytest tests/trainers/test_gpu.py -m gpu -s

A model of half a billion parameters is made on the spot and trained with bf16 and ZeRO-2 on all GPUs of the machine,
first on demonstrations and then by reinforcement learning, with vLLM beside the trainer where it is installed. The
same test trains a tiny model on two processes of a CPU, so that what runs there is known to run.
Prints one line of JSON: tokens and seconds per step, memory measured and as `manager plan` estimates it, how far the
exported model's log-probabilities in the evaluation engine are from the trainer's.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from manager.footprint import lora_parameters
from manager.store import RunDirectory
from tests.trainers import running
from tests.trainers.test_resume import kill
from trainers import checkpoints
from trainers.fit import ModelFacts, Training, estimate

STEPS, KILLED_AFTER = 8, 5
HALF_A_BILLION = {
    "architecture": "qwen2", "hidden_size": 1024, "intermediate_size": 4096, "layers": 36, "heads": 16, "kv_heads": 4,
    "context": 1024,
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """What is trained and on what: the same settings in both cases but for sizes."""

    gpu: bool
    scratch: dict[str, Any]
    world: int
    micro_batch: int
    answer_tokens: int
    vllm: bool
    apart: float  # the most that log-probabilities of the engine may be from the trainer's, on average


def shape_of(device: str) -> Shape:
    if device == "cpu":
        return Shape(False, running.TINY, 2, 4, 4, False, 0.05)
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    vllm = importlib.util.find_spec("vllm") is not None
    return Shape(True, HALF_A_BILLION, torch.cuda.device_count(), 8, 128, vllm, 0.05)


def trained(shape: Shape, directory: RunDirectory, *, logits: bool = False) -> running.Attempt:
    attempt = running.start(directory, world_size=shape.world, logits=logits, gpu=shape.gpu)
    assert attempt.wait()["outcome"] == "done", attempt.out()
    return attempt


def figures(attempt: running.Attempt) -> dict[str, Any]:
    """The median of the steps after the first: what a step takes."""
    steps = [values for step, values in attempt.metrics().items() if step > min(attempt.metrics())]

    def median(name: str) -> float | None:
        known = [values[name] for values in steps if name in values]
        return statistics.median(known) if known else None

    names = ("time/step_s", "time/generation_s", "time/training_s", "time/weight_sync_s", "tokens_per_s")
    memory = [values["gpu/memory_peak_gb"] for values in attempt.metrics().values() if "gpu/memory_peak_gb" in values]
    return {name: median(name) for name in names} | {"memory_peak_gb": max(memory, default=None)}


def planned_gb(directory: RunDirectory, shape: Shape, tokens: int) -> float:
    """What the estimate says of the trainer's part: without vLLM's, which it asks for as a share."""
    facts = ModelFacts.from_config(json.loads((directory.model_dir("last") / "config.json").read_text()))
    peft = directory.job().config.get("peft")
    return estimate(
        facts,
        Training(
            world_size=shape.world, zero_stage=2, micro_batch=shape.micro_batch, tokens=tokens, checkpointing=True,
            lora_parameters=lora_parameters(peft, facts) if peft else None,
        ),
    ).needed_gb  # fmt: skip


def distance(directory: RunDirectory, attempt: running.Attempt) -> tuple[float, float]:
    """(mean distance of log-probabilities, share of places with the same most likely token): engine and trainer."""
    from evaluators.engine import EngineSettings
    from evaluators.engines import hf

    probe = torch.load(attempt.folder / "logits.pt")
    engine = hf.load(EngineSettings(str(directory.model_dir(STEPS)), None, {}, 0))
    with torch.no_grad():
        theirs = engine._model(probe["ids"].to(engine._model.device)).logits.float().cpu()
    ours, theirs = (torch.log_softmax(one, dim=-1) for one in (probe["logits"], theirs))
    same = (ours.argmax(-1) == theirs.argmax(-1)).float().mean()
    return float((ours - theirs).abs().mean()), float(same)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_bf16_with_zero2_trains_resumes_and_exports_what_the_engine_loads(root: Path, device: str) -> None:
    shape = shape_of(device)
    common = {"bf16": True, "gradient_checkpointing": True, "max_steps": STEPS}
    sft = running.sft_config(
        model={"name": "scratch", "scratch": shape.scratch},
        batch={"examples": shape.micro_batch * shape.world * 2},
        sft={**common, "learning_rate": 3e-4, "save_steps": STEPS, "max_length": 256},
        deepspeed="zero2",
    )
    resources = {"tasks_per_node": shape.world, "micro_batch": shape.micro_batch}
    base = running.add(root, "sft", sft, **resources)
    warmed = trained(shape, base)

    vllm = {"mode": "colocate", "vllm_gpu_memory_utilization": 0.3}
    rl = running.rl_config(
        {"need": 0, "checkpoint": "last"},
        batch={"prompts": shape.micro_batch * shape.world, "samples": 4},
        grpo={**common, "learning_rate": 1e-6, "max_completion_length": shape.answer_tokens, "save_steps": 2},
        generation=vllm if shape.vllm else {"mode": "transformers"},
        deepspeed="zero2",
        export_steps=[STEPS],
    )
    tuned = running.add(root, "rl", rl, needs=(base.id,), **resources)
    first = running.start(tuned, world_size=shape.world, gpu=shape.gpu)
    kill(first, KILLED_AFTER)
    again = running.start(tuned, "0002", world_size=shape.world, logits=True, gpu=shape.gpu)
    assert again.wait()["outcome"] == "done", again.out()
    assert again.events()["resumed"]["step"] >= KILLED_AFTER - 1
    assert max(again.metrics()) == STEPS
    assert all("loss" in values for step, values in again.metrics().items())
    assert checkpoints.problem(tuned.model_dir(STEPS)) is None

    mean, same = distance(tuned, again)
    facts = ModelFacts.from_config(json.loads((tuned.model_dir(STEPS) / "config.json").read_text()))
    told = {
        "device": torch.cuda.get_device_name() if shape.gpu else "cpu",
        "processes": shape.world,
        "parameters": facts.parameters,
        "vllm": shape.vllm,
        "sft": figures(warmed) | {"planned_gb": planned_gb(base, shape, 256)},
        "rl": figures(first) | {"planned_gb": planned_gb(tuned, shape, 64 + shape.answer_tokens)},
        "log_probability_distance": mean,
        "same_most_likely_token": same,
    }
    print("\n" + json.dumps(told))
    assert mean < shape.apart
    if shape.gpu:
        assert facts.parameters >= 500_000_000
        assert told["rl"]["tokens_per_s"]
        # A plan that says less than is needed lets jobs run out of memory. vLLM's share may be counted by torch.
        share = 0.3 * torch.cuda.get_device_properties(0).total_memory / 1e9 if shape.vllm else 0.0
        assert told["sft"]["memory_peak_gb"] < 1.1 * told["sft"]["planned_gb"], told
        assert told["rl"]["memory_peak_gb"] < 1.1 * (told["rl"]["planned_gb"] + share), told
