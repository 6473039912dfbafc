"""What MLflow accepts as names and values, and how configs are written within it. Pure.

MLflow refuses "@" in metric names, so `math500/pass@1` is stored as `math500/pass_at_1`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_NAME = 250
MAX_PARAM_VALUE = 6000
MAX_TAG_VALUE = 5000  # what older servers accept too
_REFUSED = re.compile(r"[^/\w.\- :]")


def tracking_name(name: str) -> str:
    """The name under which MLflow keeps a metric, param or tag: the same one wherever it is accepted."""
    clean = _REFUSED.sub("_", name.replace("@", "_at_")).strip("/") or "_"
    # MLflow takes names for paths: "a//b", "./a" and "../a" are refused.
    clean = "/".join(part if part not in ("", ".", "..") else "_" for part in clean.split("/"))
    if len(clean) > MAX_NAME:
        clean = f"{clean[: MAX_NAME - 9]}-{_digest(name)}"
    return clean


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def tracking_names(names: Iterable[str]) -> dict[str, str]:
    """Each name's form in MLflow; two names that would become one are told apart by a digest."""
    result: dict[str, str] = {}
    owner: dict[str, str] = {}
    for name in sorted(names):
        clean = tracking_name(name)
        if owner.setdefault(clean, name) != name:
            clean = f"{clean[: MAX_NAME - 9]}-{_digest(name)}"
        result[name] = clean
    return result


@dataclass(frozen=True)
class Params:
    """Params of a run. What is too long for one is cut there and kept whole as a text artifact."""

    values: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)  # artifact path -> the whole value


def params_of(config: Mapping[str, Any]) -> Params:
    """A config as flat params: nested keys joined by dots, lists of named things by their names."""
    flat = dict(_flatten("", config))
    names = tracking_names(flat)
    values: dict[str, str] = {}
    texts: dict[str, str] = {}
    for name, value in flat.items():
        text = _text(value)
        if len(text) > MAX_PARAM_VALUE:
            artifact = f"params/{names[name].replace('/', '_')}.txt"
            texts[artifact] = text
            note = f"… (whole value: artifact {artifact})"
            text = text[: MAX_PARAM_VALUE - len(note)] + note
        values[names[name]] = text
    return Params(values, texts)


def _flatten(prefix: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping) and (value or not prefix):
        for key, inner in value.items():
            yield from _flatten(f"{prefix}.{key}" if prefix else str(key), inner)
    elif isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(v, Mapping) for v in value):
        for label, inner in zip(_labels(value), value, strict=True):
            yield from _flatten(f"{prefix}.{label}", inner)
    else:
        yield prefix, value


def _labels(values: Sequence[Any]) -> list[str]:
    """Names of the list's elements where all have different ones, else their numbers."""
    names = [str(v["name"]) for v in values if isinstance(v, Mapping) and "name" in v]
    if len(names) == len(values) == len(set(names)):
        return names
    return [str(number) for number in range(len(values))]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def tags_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Tags within MLflow's limits; None is left out, since MLflow has no undefined tag."""
    present = {name: value for name, value in values.items() if value is not None}
    names = tracking_names(present)
    return {names[name]: _shortened(_text(value)) for name, value in present.items()}


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_TAG_VALUE else text[: MAX_TAG_VALUE - 1] + "…"
