"""The keys of the sweep itself (name, study, tracking, cluster) and the defaults of each kind. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manager.catalog import Catalog
from manager.job import Kind
from manager.store import SWEEP_NAME
from manager.sweep.document import merge
from manager.sweep.kinds import SCHEMAS
from manager.sweep.mistakes import Mistakes, shown, unknown
from manager.sweep.nodes import Node
from manager.sweep.values import Values, has_missing

KEYS = (
    "name",
    "study",
    "description",
    "extends",
    "values",
    "defaults",
    "matrix",
    "exclude",
    "include",
    "stages",
    "tracking",
    "cluster",
    "budget_gpu_hours",
)
SETTINGS = ("description", "tracking", "cluster", "budget_gpu_hours")


@dataclass(frozen=True)
class Top:
    name: str
    study: str | None
    settings: Mapping[str, Any]


def with_defaults(root: Node, mistakes: Mistakes) -> Node:
    """The document with `defaults.KIND` merged under every stage of that kind."""
    defaults, stages = root.value.get("defaults"), root.value.get("stages")
    if defaults is None or defaults.value is None:
        return root
    if not isinstance(defaults.value, dict):
        mistakes.add(defaults.place, "defaults", "expected a mapping of kinds to keys of their stages")
        return root
    kinds = [kind.value for kind in Kind]
    for kind, node in defaults.value.items():
        if kind not in kinds:
            mistakes.add(node.place, f"defaults.{kind}", unknown("kind", kind, kinds))
        elif node.value is not None and not isinstance(node.value, dict):
            mistakes.add(node.place, f"defaults.{kind}", "expected a mapping of keys of such a stage")
        else:
            valid = [key for key in SCHEMAS[Kind(kind)].keys if key not in ("kind", "needs")]
            for key, child in (node.value or {}).items():
                if key not in valid:
                    mistakes.add(child.place, f"defaults.{kind}.{key}", unknown("key", key, valid))
    if stages is None or not isinstance(stages.value, dict):
        return root
    merged = {name: _under(defaults.value, stage) for name, stage in stages.value.items()}
    return Node({**root.value, "stages": Node(merged, stages.place)}, root.place)


def _under(defaults: Mapping[str, Node], stage: Node) -> Node:
    if not isinstance(stage.value, dict) or "kind" not in stage.value:
        return stage
    below = defaults.get(str(stage.value["kind"].value))
    if below is None or not isinstance(below.value, dict):
        return stage
    if stage.value["kind"].value in list(Kind):
        known = SCHEMAS[Kind(stage.value["kind"].value)].keys  # others are told once, where they are written
        below = Node({key: node for key, node in below.value.items() if key in known}, below.place)
    return merge(below, stage)


def with_values(root: Node, keys: tuple[str, ...], values: Values) -> Node:
    """The document with the interpolations under these keys filled in."""
    entries = {key: _filled(node, (key,), values) if key in keys else node for key, node in root.value.items()}
    return Node(entries, root.place)


def _filled(node: Node, path: tuple[str | int, ...], values: Values) -> Node:
    if isinstance(node.value, dict):
        return Node({key: _filled(child, (*path, key), values) for key, child in node.value.items()}, node.place)
    if isinstance(node.value, list):
        return Node([_filled(child, (*path, n), values) for n, child in enumerate(node.value)], node.place)
    if isinstance(node.value, str) and "${" in node.value:
        value = values.compile(node, path).fill(())
        return _as_nodes(value if not has_missing(value) else "", node)
    return node


def _as_nodes(value: Any, node: Node) -> Node:
    """A value that an interpolation gave, with every part at the place of that interpolation."""
    if isinstance(value, dict):
        return Node({key: _as_nodes(child, node) for key, child in value.items()}, node.place)
    if isinstance(value, list):
        return Node([_as_nodes(child, node) for child in value], node.place)
    return Node(value, node.place)


def read_top(root: Node, name: str, catalog: Catalog, values: Values, mistakes: Mistakes) -> Top:
    entries: dict[str, Node] = root.value
    for key, node in entries.items():
        if key not in KEYS:
            mistakes.add(node.place, key, unknown("key", key, KEYS))
    settings = {
        key: values.compile(entries[key], (key,)).fill(())
        for key in SETTINGS
        if key in entries and entries[key].value is not None
    }
    _check_settings(entries, settings, mistakes)
    return Top(_name(entries, root, name, mistakes), _study(entries, catalog, mistakes), settings)


def _name(entries: Mapping[str, Node], root: Node, default: str, mistakes: Mistakes) -> str:
    node = entries.get("name")
    value = default if node is None or node.value is None else node.value
    if isinstance(value, str) and SWEEP_NAME.fullmatch(value):
        return value
    place = root.place if node is None else node.place
    mistakes.add(
        place,
        "name",
        f"{shown(value)} cannot be the name of a folder; use letters, digits, . _ - "
        "(at most 64, the first a letter or digit)",
    )
    return ""


def _study(entries: Mapping[str, Node], catalog: Catalog, mistakes: Mistakes) -> str | None:
    node = entries.get("study")
    if node is None or node.value is None:
        return None
    if not isinstance(node.value, str) or node.value not in catalog.studies:
        mistakes.add(node.place, "study", f"{shown(node.value)}: {unknown('study', node.value, catalog.studies)}")
    return str(node.value)


def _check_settings(entries: Mapping[str, Node], settings: Mapping[str, Any], mistakes: Mistakes) -> None:
    for key in ("tracking", "cluster"):
        if key in settings and not isinstance(settings[key], str | dict):
            mistakes.add(entries[key].place, key, f"expected a name or a mapping, not {shown(settings[key])}")
    budget = settings.get("budget_gpu_hours")
    good = isinstance(budget, int | float) and not isinstance(budget, bool) and math.isfinite(budget) and budget > 0
    if budget is not None and not good:
        mistakes.add(
            entries["budget_gpu_hours"].place,
            "budget_gpu_hours",
            f"expected a number above 0, not {shown(budget)}",
        )
    values = entries.get("values")
    if values is not None and not isinstance(values.value, dict | None):
        mistakes.add(values.place, "values", "expected a mapping of names to values")
