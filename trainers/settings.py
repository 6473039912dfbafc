"""What is handed to GRPOConfig, RLOOConfig and SFTConfig: our defaults, the user's keys, then what the job decides.

The libraries own their names: `grpo:` and `sft:` go through unchanged. Only the keys in RESERVED are decided
by the job (batch, seed, places, logging), so that the same job means the same training on any machine.
Torch-free: the control plane may check settings with it.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainers.batch import Split

PASS_THROUGH = {"grpo": "grpo", "rloo": "grpo", "sft": "sft"}

# Decided by the job; the value says where to set it instead.
RESERVED = {
    "output_dir": "the run directory",
    "seed": "the stage's seed",
    "data_seed": "the stage's seed",
    "num_generations": "batch.samples",
    "generation_batch_size": "batch.prompts",
    "steps_per_generation": "batch.prompts and batch.mini_batch",
    "per_device_train_batch_size": "batch and resources.micro_batch",
    "gradient_accumulation_steps": "batch and resources.micro_batch",
    "deepspeed": "the stage's deepspeed",
    "report_to": "tracking",
    "logging_steps": "nothing: every step is logged",
    "logging_strategy": "nothing: every step is logged",
    "use_vllm": "generation",
    "vllm_mode": "generation",
    "logging_nan_inf_filter": "nothing: an undefined loss stops the run",
    "save_strategy": "nothing: states are always saved",
    "save_total_limit": "nothing: the last two states are kept",
    "save_only_model": "nothing: full states are needed to resume",
    "resume_from_checkpoint": "nothing: a job resumes by itself",
    "push_to_hub": "nothing: models stay in the run directory",
    "auto_find_batch_size": "resources.micro_batch",
    "load_best_model_at_end": "nothing: every exported model is evaluated",
    "eval_strategy": "an evaluate stage",
}


# Under ZeRO-3 DeepSpeed gives out whole weights only where this is set.
GATHERED = "stage3_gather_16bit_weights_on_model_save"

# Keys of `generation:` that are not vLLM's.
OURS_IN_GENERATION = ("mode", "dynamic_sampling")


class SettingsError(ValueError):
    """A setting that contradicts the job: one line with the key and what to do."""


def check(section: str, given: Mapping[str, Any]) -> None:
    """Refuse keys that the job decides."""
    for key in given:
        if key in RESERVED:
            raise SettingsError(f"{section}.{key} is decided by the job; set {RESERVED[key]}")


def _save_steps(given: Mapping[str, Any], boundary: int) -> int:
    """Full states every so many steps: the user's number, else a fifth of the run, at most 100."""
    asked = given.get("save_steps")
    if asked is None:
        total = given.get("max_steps", 0)
        asked = min(100, total // 5) if total and total > 0 else 100
        return max(boundary, asked - asked % boundary)
    if not isinstance(asked, int) or asked < 1:
        raise SettingsError(f"save_steps is {asked!r}; it must be a whole number of steps")
    if asked % boundary:
        raise SettingsError(
            f"save_steps {asked} is no multiple of {boundary}, the optimiser steps of one generated batch; "
            "a state saved in between could not be resumed exactly"
        )
    return asked


def arguments(trainer: str, config: Mapping[str, Any], split: Split, output_dir: Path, *, gpu: bool) -> dict[str, Any]:
    """The keyword arguments of the trainer's config class, without `deepspeed`."""
    section = PASS_THROUGH[trainer]
    given = dict(config.get(section) or {})
    check(section, given)
    defaults: dict[str, Any] = {"lr_scheduler_type": "constant", "bf16": gpu, "gradient_checkpointing": gpu}
    decided: dict[str, Any] = {
        "output_dir": str(output_dir),
        "seed": config.get("seed", 0),
        "per_device_train_batch_size": split.per_device,
        "gradient_accumulation_steps": split.accumulation,
        "report_to": "none",
        "disable_tqdm": True,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": _save_steps(given, split.boundary * (given.get("num_iterations") or 1)),
        "save_total_limit": None,
    }
    if not gpu:
        decided |= {"use_cpu": True, "dataloader_pin_memory": False}
    if trainer != "sft":
        defaults |= {"temperature": 1.0, "beta": 0.0}
        decided |= {"num_generations": config["batch"]["samples"], "steps_per_generation": split.steps_per_generation}
        decided |= generation_arguments(config.get("generation"))
    asked = given.get("model_init_kwargs") or {}
    if loading := _loading(config.get("model") or {}, json.loads(asked) if isinstance(asked, str) else asked, gpu=gpu):
        decided["model_init_kwargs"] = loading
    return {**defaults, **given, **decided}


def _loading(model: Mapping[str, Any], given: Mapping[str, Any], *, gpu: bool) -> dict[str, Any]:
    """What `from_pretrained` is told: the model is the one of the job's identity, at its revision."""
    if "scratch" in model:
        return dict(given)
    fast = {"attn_implementation": "flash_attention_2"} if gpu and importlib.util.find_spec("flash_attn") else {}
    pinned = {"revision": model["revision"]} if model.get("revision") else {}
    return {**fast, **given, **pinned}


def generation_arguments(generation: Mapping[str, Any] | None) -> dict[str, Any]:
    """Where completions come from: `mode` as TRL names it; every other key is TRL's own, with or without `vllm_`."""
    mode = (generation or {}).get("mode", "transformers")
    if mode == "transformers":
        return {"use_vllm": False}
    if mode not in ("colocate", "server"):
        raise SettingsError(f"generation.mode is {mode!r}; valid: transformers, colocate, server")
    keys = {key: value for key, value in (generation or {}).items() if key not in OURS_IN_GENERATION}
    given = {f"vllm_{key.removeprefix('vllm_')}": value for key, value in keys.items()}
    # Beside the trainer on the same GPU, vLLM's memory is given back while gradients are computed.
    sleep = {"vllm_enable_sleep_mode": True} if mode == "colocate" else {}
    return {"use_vllm": True, "vllm_mode": mode, **sleep, **given}


def dynamic_sampling(config: Mapping[str, Any], world_size: int) -> bool:
    """Whether groups without signal are replaced; SettingsError where that cannot be."""
    if not (config.get("generation") or {}).get("dynamic_sampling"):
        return False
    if config.get("trainer", "grpo") != "grpo":
        raise SettingsError("generation.dynamic_sampling is GRPO's; leave it out with trainer: rloo")
    prompts = config["batch"]["prompts"]
    if prompts % world_size:
        raise SettingsError(
            f"generation.dynamic_sampling needs whole groups on every process: batch.prompts {prompts} does not "
            f"divide over {world_size} processes"
        )
    return True


def export_steps(wanted: int | list[int] | None, total: int, boundary: int) -> tuple[int, ...]:
    """The steps after which weights are exported; the last step always is."""
    if wanted is None:
        steps: set[int] = set()
    elif isinstance(wanted, int):
        steps = set(range(wanted, total + 1, wanted)) if wanted > 0 else set()
    else:
        steps = {step for step in wanted if step <= total}
    bad = sorted(step for step in steps if step % boundary and step != total)
    if bad:
        raise SettingsError(
            f"export_steps: {bad[0]} is no multiple of {boundary}, the optimiser steps of one generated batch"
        )
    return tuple(sorted(steps | {total}))


def deepspeed_config(setting: str | Mapping[str, Any] | None, *, gpu: bool) -> dict[str, Any] | None:
    """The DeepSpeed config of a shipped name (zero1, zero2, zero3, zero3_offload), a path or a mapping."""
    if setting is None:
        return None
    value = dict(setting) if isinstance(setting, Mapping) else _read_deepspeed(setting)
    zero = dict(value.get("zero_optimization") or {})
    if zero.get("stage") == 3:
        if zero.get(GATHERED) is False:
            raise SettingsError(f"deepspeed.zero_optimization.{GATHERED} is false; exports need whole weights: true")
        zero[GATHERED] = True
    if not gpu and zero:
        # Overlap needs streams; a CPU has none. The rest is the same on both.
        zero["overlap_comm"] = False
    return {**value, "zero_optimization": zero} if zero else value


def _read_deepspeed(name: str) -> dict[str, Any]:
    folder = Path(__file__).parent / "deepspeed"
    shipped = sorted(path.stem for path in folder.glob("*.json"))
    path = folder / f"{name}.json" if name in shipped else Path(name)
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"deepspeed: {name!r} is neither a file nor one of {', '.join(shipped)}") from error
    except json.JSONDecodeError as error:
        raise SettingsError(f"deepspeed: {path}: {error}") from error
    return value
