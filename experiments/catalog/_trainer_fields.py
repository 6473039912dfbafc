"""Writes trainer_fields.json: the settings of TRL's, peft's and DeepSpeed's config classes and their types.

    python -m experiments.catalog._trainer_fields

Run after an upgrade of TRL. The file lets a sweep be checked on a machine without these libraries; a test compares it
with what is installed.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("trainer_fields.json")
CLASSES = ("GRPOConfig", "RLOOConfig", "SFTConfig")
SIMPLE = {
    int: "int",
    float: "float",
    bool: "bool",
    str: "str",
    list: "list",
    dict: "dict",
    type(None): "null",
}


def described() -> dict[str, Any]:
    """{"trl": version, "classes": {class: {field: type}}}, from what is installed."""
    import peft
    import trl
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    classes = {name: _fields(getattr(trl, name)) for name in CLASSES}
    classes["LoraConfig"] = _fields(peft.LoraConfig)
    # DeepSpeed's own class turns values into what it needs: names alone. Both of a field that has two are taken.
    zero = DeepSpeedZeroConfig.model_fields
    names = {name for field, one in zero.items() for name in (field, one.alias) if name}
    classes["DeepSpeedZeroConfig"] = dict.fromkeys(sorted(names), "any")
    classes["architectures"] = dict.fromkeys(sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES), "any")
    return {"trl": trl.__version__, "classes": classes}


def _fields(config_class: type) -> dict[str, str]:
    kinds = typing.get_type_hints(config_class)
    return {name: _named(kinds[name]) for name in sorted(field.name for field in dataclasses.fields(config_class))}


def _named(kind: Any) -> str:
    """`float|null`; `any` as soon as one alternative is not a plain JSON type."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        parts = {_named(part) for part in typing.get_args(kind)}
        return "any" if "any" in parts else "|".join(sorted(parts))
    return SIMPLE.get(origin or kind, "any")


def main() -> None:
    TARGET.write_text(json.dumps(described(), indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
