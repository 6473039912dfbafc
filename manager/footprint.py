"""What memory and disk a sweep's jobs will take, told before anything runs. Estimates; runs nothing.

The sizes of a model are read from its folder, from the hub's cache on this machine or from the catalogue; a
model whose sizes are in none of these is named as not known, never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manager.cost import base_job
from manager.job import Job, Kind, SweepJob
from manager.model_folder import architecture, in_cache
from trainers import context, fit
from trainers.batch import STEPS_IN_A_PASS, BatchError, episodes_in_words, in_words, split_rl, split_sft
from trainers.checkpoints import KEEP
from trainers.fit import Fit, ModelFacts, Training
from trainers.worlds import zero_stage

# Longest example of supervised training where `sft.max_length` is not there: TRL's limit; of trajectories, which have
# none, what the study gives to the longest prompt and answer.
EXAMPLE_TOKENS, PAIR_TOKENS = 1024, 5120
# Of a GPU's memory that vLLM takes where nothing is said: beside the trainer by TRL, on its own by itself.
TRL_SHARE, VLLM_SHARE = 0.3, 0.9

Architectures = Mapping[str, Mapping[str, Any]]  # config.json by catalogue name


@dataclass(frozen=True)
class Memory:
    """One kind of training of the sweep: how many jobs, how its batch is split, whether it fits."""

    stage: str
    model: str
    jobs: int
    batch: str
    fit: Fit | None  # None: on the CPU, or the model's sizes are not known


@dataclass
class Disk:
    """GB that jobs will write: weights that stay, and states that `manager clean` may free afterwards."""

    weights_gb: float = 0.0
    states_gb: float = 0.0
    unknown_jobs: int = 0
    unknown_models: set[str] = field(default_factory=set)

    def text(self) -> str:
        text = (
            f"disk: {size(self.weights_gb + self.states_gb)} ({size(self.weights_gb)} of exported weights, "
            f"{size(self.states_gb)} of training states, {KEEP} of each job, until `manager clean`; there is a third "
            "while it is written)"
        )
        if self.unknown_jobs:
            names = ", ".join(sorted(self.unknown_models))
            text += f"; not known for {self.unknown_jobs} jobs ({names or 'no max_steps'})"
        return text

    def to_json(self) -> dict[str, Any]:
        return {
            "weights_gb": self.weights_gb,
            "training_states_gb": self.states_gb,
            "jobs_not_known": self.unknown_jobs,
        }


def size(gigabytes: float) -> str:
    return f"{gigabytes:,.1f} GB" if gigabytes >= 0.1 else f"{1000 * gigabytes:,.1f} MB"


def model_facts(model: Mapping[str, Any], architectures: Architectures) -> ModelFacts | None:
    """The sizes of a model as job.json names it; None where nothing on this machine tells them."""
    config: Mapping[str, Any] | None = None
    if "scratch" in model:
        config = _scratch(model["scratch"])
    elif "path" in model:
        config = architecture(Path(model["path"]))
    elif "hub" in model:
        cached = in_cache(model["hub"], model.get("revision"))
        config = (architecture(cached) if cached else None) or architectures.get(str(model.get("name")))
    try:
        return ModelFacts.from_config(config) if config else None
    except KeyError:
        return None  # not a dense decoder with the usual keys


def _scratch(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    names = {"layers": "num_hidden_layers", "heads": "num_attention_heads", "kv_heads": "num_key_value_heads"}
    config = {names.get(key, key): value for key, value in spec.items()}
    # The tokenizer that is made with it has one token a byte and a few special ones.
    return {"model_type": spec.get("architecture"), "vocab_size": 259, "tie_word_embeddings": True, **config}


def disk(entries: Iterable[SweepJob], jobs: Mapping[str, Job], architectures: Architectures) -> Disk:
    """What these jobs will write: each exported step's weights and the last full states."""
    total = Disk()
    for entry in entries:
        job = entry.job
        if job.kind not in (Kind.SFT, Kind.RL):
            continue
        origin = _origin(job, jobs)
        facts = model_facts(origin, architectures)
        exports = _exports(job)
        if facts is None or exports is None:
            total.unknown_jobs += 1
            if facts is None:
                total.unknown_models.add(str(origin.get("name") or origin.get("hub") or origin.get("path")))
            continue
        precision = {"zero_stage": zero_stage(job.config.get("deepspeed")), "bf16": _bf16(job)}
        total.weights_gb += exports * fit.exported_gb(facts, **precision)
        total.states_gb += KEEP * fit.state_gb(facts, _lora(job, facts), **precision)
    return total


def _origin(job: Job, jobs: Mapping[str, Job]) -> Mapping[str, Any]:
    """The model whose sizes this job's model has."""
    first = base_job(job, jobs)
    return first.config["model"] if first else {}


def _exports(job: Job) -> int | None:
    settings = _settings(job)
    steps, every = settings.get("max_steps"), job.config.get("export_steps")
    if not steps or steps < 0:
        return None
    if isinstance(every, list):
        return len({*every, steps})
    return math.ceil(steps / every) if every else 1


def memory(
    entries: Iterable[SweepJob], jobs: Mapping[str, Job], architectures: Architectures, gpu_gb: float
) -> list[Memory]:
    """One row for each different way of training in these jobs."""
    found: dict[tuple[str, str, str, Fit | None], int] = {}
    for entry in entries:
        job = entry.job
        if job.kind not in (Kind.SFT, Kind.RL):
            continue
        origin = _origin(job, jobs)
        facts = model_facts(origin, architectures) if job.resources.gpus_per_node else None
        name = str(origin.get("name") or origin.get("hub") or origin.get("path"))
        split = split_rl if job.kind is Kind.RL else split_sft
        micro = job.resources.micro_batch
        plays = "environments" in (job.config.get("data") or {})
        try:
            parts = split(job.config["batch"], job.resources.training_processes, None if plays else micro)
        except BatchError as error:
            key = (entry.stage, name, str(error), None)
        else:
            rows = (micro or STEPS_IN_A_PASS) if plays else parts.per_device
            estimate = fit.estimate(facts, _training(job, facts, rows), gpu_gb) if facts else None
            batch = job.config["batch"]
            words = episodes_in_words(batch, parts, micro) if plays else in_words(batch, parts)
            if job.resources.server_gpus:
                words += f"; {job.resources.server_gpus} more GPUs generate, with a vLLM server"
            key = (entry.stage, name, words, estimate)
        found[key] = found.get(key, 0) + 1
    return [Memory(stage, model, number, batch, fits) for (stage, model, batch, fits), number in found.items()]


def _training(job: Job, facts: ModelFacts, micro_batch: int) -> Training:
    config, settings = job.config, _settings(job)
    generation = config.get("generation") or {}
    vllm = {key.removeprefix("vllm_"): value for key, value in generation.items()}
    apart = generation.get("mode") == "server" and bool(job.resources.server_gpus)
    default = VLLM_SHARE if apart else TRL_SHARE
    data, rl = config.get("data") or {}, job.kind is Kind.RL
    longest = PAIR_TOKENS if "trajectories" in data else EXAMPLE_TOKENS
    answer = context.answer_tokens(config) if rl else settings.get("max_length", longest)
    prompt = context.prompt_tokens(data) if rl else 0
    return Training(
        world_size=job.resources.training_processes,
        zero_stage=zero_stage(config.get("deepspeed")),
        offload=_offloaded(config.get("deepspeed"), "offload_optimizer"),
        offload_weights=_offloaded(config.get("deepspeed"), "offload_param"),
        micro_batch=micro_batch,
        tokens=prompt + answer,
        checkpointing=bool(settings.get("gradient_checkpointing", True)),
        reference=bool(settings.get("beta", 0.0)),
        lora_parameters=_lora(job, facts),
        vllm_share=float(vllm.get("gpu_memory_utilization", default)) if apart or vllm.get("mode") == "colocate" else 0,
        vllm_apart=apart,
        tensor_parallel=int(vllm.get("tensor_parallel_size") or 1),
        served_tokens=int(vllm.get("max_model_length") or 0) or None,
        sleep=bool(vllm.get("enable_sleep_mode", True)),
    )


def _offloaded(deepspeed: Any, what: str) -> bool:
    """Whether `what` (offload_optimizer, offload_param) is kept out of the GPU's memory."""
    if isinstance(deepspeed, str):
        return deepspeed.endswith("offload")
    setting = (deepspeed or {}).get("zero_optimization", {}).get(what) or {}
    return bool(setting.get("device", "none") != "none")


def _bf16(job: Job) -> bool:
    return bool(_settings(job).get("bf16", job.resources.gpus_per_node > 0))


def _settings(job: Job) -> Mapping[str, Any]:
    settings: Mapping[str, Any] = job.config["grpo" if job.kind is Kind.RL else "sft"]
    return settings


def _lora(job: Job, facts: ModelFacts) -> int | None:
    """The number of parameters that an adapter trains; None without one."""
    peft = job.config.get("peft")
    return lora_parameters(peft, facts) if peft else None


def lora_parameters(peft: Mapping[str, Any], facts: ModelFacts) -> int:
    """The parameters of a LoRA adapter on the linear layers that it names."""
    hidden, inner = facts.hidden_size, facts.intermediate_size
    queries, keys = facts.heads * facts.head_dim, facts.kv_heads * facts.head_dim
    widths = {
        "q_proj": hidden + queries, "k_proj": hidden + keys, "v_proj": hidden + keys, "o_proj": queries + hidden,
        "gate_proj": hidden + inner, "up_proj": hidden + inner, "down_proj": inner + hidden,
    }  # fmt: skip
    targets = peft.get("target_modules") or ["q_proj", "v_proj"]  # peft's default for these models
    chosen = [width for name, width in widths.items() if targets == "all-linear" or name in targets]
    trained: int = int(peft.get("r", 8)) * facts.layers * sum(chosen)
    return trained
