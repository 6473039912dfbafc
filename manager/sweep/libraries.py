"""What a stage hands to DeepSpeed, peft and a model from scratch: names and values that these would trip over. Pure.

The libraries own their names. Checked is what would silently be another training (a misspelt key that DeepSpeed
overlooks), what they refuse only when the job has started, and what the job decides itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manager.sweep.bounds import out_of_bounds
from manager.sweep.mistakes import nearest, shown, unknown
from manager.sweep.part import Part
from manager.sweep.values import MISSING

GATHERED = "stage3_gather_16bit_weights_on_model_save"
BATCH_KEYS = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
# Of DeepSpeed's first level: those that a training is likely to set. Others pass, unless they are nearly one of these.
DEEPSPEED_KEYS = (
    *BATCH_KEYS, "zero_optimization", "bf16", "fp16", "gradient_clipping", "optimizer", "scheduler", "steps_per_print",
    "wall_clock_breakdown", "communication_data_type", "zero_allow_untested_optimizer", "zero_force_ds_cpu_optimizer",
    "activation_checkpointing", "checkpoint", "aio", "prescale_gradients", "data_types", "flops_profiler",
    "comms_logger", "torch_autocast", "tensor_parallel", "sequence_parallel_size", "compile", "zenflow",
)  # fmt: skip
# As trainers/adapters.py: what exported weights would be without.
NOT_PLAIN = ("use_dora", "lora_bias", "target_parameters", "trainable_token_indices", "layer_replication", "use_qalora")
PEFT_BOUNDS = {"r": {"least": 1, "whole": True}, "lora_alpha": {"above": 0}, "lora_dropout": {"least": 0, "below": 1}}
SCRATCH_WHOLE = ("hidden_size", "intermediate_size", "layers", "heads", "kv_heads", "context")


def deepspeed(part: Part) -> dict[str, Any]:
    """A name of ours, or what would be in DeepSpeed's file, as a mapping."""
    value = part.get("deepspeed")
    if value is None:
        return {"deepspeed": None}
    if isinstance(value, dict):
        found = part.passed(("deepspeed",))
        _check_deepspeed(part, found)
        return {"deepspeed": found}
    names = part.catalog.deepspeed
    if isinstance(value, str) and (value.endswith(".json") or "/" in value):
        part.wrong(
            ("deepspeed",),
            f"{shown(value)}: the content of a DeepSpeed file is written here as a mapping, because it decides the "
            f"result; or one of: {', '.join(names)}",
        )
        return {"deepspeed": None}
    return {"deepspeed": part.choice(("deepspeed",), names, "DeepSpeed configuration")}


def _check_deepspeed(part: Part, given: Mapping[str, Any]) -> None:
    for key in given:
        if key not in DEEPSPEED_KEYS and (close := nearest(key, DEEPSPEED_KEYS)):
            part.wrong(("deepspeed", key), f"DeepSpeed has no such key, did you mean {close[0]}")
    for key in BATCH_KEYS:
        if given.get(key, "auto") not in ("auto", MISSING):
            part.wrong(("deepspeed", key), "follows from batch and resources; write auto or leave it out")
    zero = given.get("zero_optimization")
    if zero is None or zero is MISSING:
        return
    at = ("deepspeed", "zero_optimization")
    if not isinstance(zero, dict):
        part.wrong(at, f"expected a mapping, not {shown(zero)}")
        return
    fields = part.catalog.trainer_fields.get("DeepSpeedZeroConfig", {})
    for key in zero:
        if fields and key not in fields:
            part.wrong((*at, key), unknown("key", key, fields))
    if (stage := zero.get("stage", 0)) is not MISSING and (isinstance(stage, bool) or stage not in (0, 1, 2, 3)):
        part.wrong((*at, "stage"), f"{shown(stage)} is no stage of ZeRO; valid: 0, 1, 2, 3")
    if stage == 3 and zero.get(GATHERED) is False:
        part.wrong((*at, GATHERED), "exports need whole weights; write true or leave it out")


def peft(part: Part) -> dict[str, Any]:
    """`peft`: to LoraConfig unchanged, and `type`, which is lora."""
    from manager.sweep.training import misfit

    given = part.passed(("peft",))
    fields = part.catalog.trainer_fields.get("LoraConfig", {})
    for key, value in given.items():
        if value is MISSING:
            continue
        if key in ("type", "peft_type"):
            if str(value).lower() != "lora":
                part.wrong(("peft", key), f"{shown(value)}: adapters are exported as plain weights; valid: lora")
        elif key == "task_type":
            part.wrong(("peft", key), "is set by the system; leave it out")
        elif key in NOT_PLAIN and value:
            part.wrong(("peft", key), "exported weights would be without it; leave it out")
        elif fields and key not in fields:
            part.wrong(("peft", key), unknown("key", key, fields))
        elif problem := misfit(value, fields.get(key, "any")) or out_of_bounds(value, PEFT_BOUNDS.get(key, {})):
            part.wrong(("peft", key), problem)
    return {"peft": given or None}


def scratch(part: Part, given: Mapping[str, Any]) -> None:
    """The sizes of a model from scratch; other keys go to the architecture's config class."""
    at = ("model", "scratch")
    for key in SCRATCH_WHOLE:
        if given.get(key) is not None:
            part.whole((*at, key))
    architecture = given.get("architecture")
    known = part.catalog.trainer_fields.get("architectures", {})
    if known and architecture not in (None, MISSING) and str(architecture) not in known:
        part.wrong((*at, "architecture"), f"{shown(architecture)}: {unknown('model type', architecture, known)}")
    for key in given:
        if key != "architecture" and key not in SCRATCH_WHOLE and (close := nearest(key, SCRATCH_WHOLE)):
            part.wrong((*at, key), f"unknown key, did you mean {close[0]}")
    hidden, heads = given.get("hidden_size"), given.get("heads")
    if part.ok and isinstance(hidden, int) and isinstance(heads, int) and hidden % heads:
        part.wrong((*at, "heads"), f"hidden_size {hidden} does not divide into {heads} heads")
