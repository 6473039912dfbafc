"""Writes trainer_fields.json: the settings of TRL's config classes and their types. Run after a TRL upgrade:

    python -m experiments.catalog._trainer_fields

The file lets a sweep be checked on a machine without TRL; a test compares it with the installed TRL.
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
    """{"trl": version, "classes": {class: {field: type}}}, from the installed TRL."""
    import trl

    classes = {name: _fields(getattr(trl, name)) for name in CLASSES}
    return {"trl": trl.__version__, "classes": classes}


def _fields(config_class: type) -> dict[str, str]:
    return {field.name: _named(field.type) for field in sorted(dataclasses.fields(config_class), key=lambda f: f.name)}


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
