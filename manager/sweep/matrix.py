"""The combinations of a sweep: every combination of the matrix, less `exclude`, plus `include`. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manager.sweep.mistakes import Mistakes, Place, shown, unknown
from manager.sweep.nodes import Node

MOST_COMBINATIONS = 200_000


@dataclass(frozen=True, slots=True)
class Written:
    """Where a value of the matrix is written. `value` is the one that stands for its equals (1, 1.0)."""

    place: Place
    key: str
    value: Any


@dataclass(frozen=True)
class Matrix:
    """`rows` hold one value for each of `keys`; `places` says where a value of a key is written."""

    keys: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    places: Mapping[tuple[str, Any], Written]
    groups: Mapping[str, tuple[str, ...]]  # a zipping key -> the keys of its mappings


@dataclass
class _Axis:
    """Keys that vary together: one key with its values, or the keys of a list of mappings."""

    keys: tuple[str, ...]
    values: list[tuple[Any, ...]]


def combinations(root: Node, reserved: Sequence[str], mistakes: Mistakes) -> Matrix:
    """The matrix of a document whose interpolations in these three keys are filled in."""
    entries = root.value
    places: dict[tuple[str, Any], Written] = {}
    groups: dict[str, tuple[str, ...]] = {}
    axes: list[_Axis] = []
    for key, node in _mapping(entries.get("matrix"), "matrix", mistakes).items():
        if node.value is None:
            continue
        axis = _axis(key, node, places, mistakes)
        if axis is None:
            continue
        taken = [name for name in axis.keys if name in reserved or any(name in other.keys for other in axes)]
        for name in taken:
            why = "is a key of the sweep itself" if name in reserved else "is twice in the matrix"
            mistakes.add(node.place, f"matrix.{key}", f"the name {name} {why}; choose another")
        if not taken:
            axes.append(axis)
            if axis.keys != (key,):
                groups[key] = axis.keys
    keys = tuple(name for axis in axes for name in axis.keys)
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_COMBINATIONS:
        place = entries["matrix"].place
        sizes = " x ".join(str(len(axis.values)) for axis in axes)
        mistakes.add(place, "matrix", f"{sizes} = {count:,} combinations; at most {MOST_COMBINATIONS:,}")
        return Matrix(keys, (), places, groups)
    rows = (tuple(itertools.chain(*parts)) for parts in itertools.product(*(axis.values for axis in axes)))
    kept = _excluded(rows, keys, entries.get("exclude"), mistakes)
    added = _included(keys, entries.get("include"), places, mistakes)
    return Matrix(keys, tuple(dict.fromkeys([*kept, *added])), places, groups)


def _mapping(node: Node | None, key: str, mistakes: Mistakes) -> dict[str, Node]:
    if node is None or node.value is None:
        return {}
    if not isinstance(node.value, dict):
        mistakes.add(node.place, key, "expected a mapping of names to lists of values")
        return {}
    return node.value


def _axis(key: str, node: Node, places: dict[tuple[str, Any], Written], mistakes: Mistakes) -> _Axis | None:
    items = node.value if isinstance(node.value, list) else [node]
    if not items:
        mistakes.add(node.place, f"matrix.{key}", "no values")
        return None
    if any(isinstance(item.value, dict) for item in items):
        return _zipped(key, items, places, mistakes)
    values: list[tuple[Any, ...]] = []
    for number, item in enumerate(items):
        at = f"matrix.{key}[{number}]" if isinstance(node.value, list) else f"matrix.{key}"
        if not _is_scalar(item, at, mistakes):
            continue
        if (key, item.value) in places:
            mistakes.add(item.place, at, f"the value {shown(item.value)} is there twice")
        places[key, item.value] = Written(item.place, at, item.value)
        values.append((item.value,))
    return _Axis((key,), values)


def _zipped(key: str, items: list[Node], places: dict[tuple[str, Any], Written], mistakes: Mistakes) -> _Axis | None:
    first = items[0].value if isinstance(items[0].value, dict) else {}
    names, rows = tuple(first), []
    for number, item in enumerate(items):
        at = f"matrix.{key}[{number}]"
        if not isinstance(item.value, dict):
            mistakes.add(item.place, at, "a list holds either values or mappings, not both")
        elif set(item.value) != set(names):
            differing = ", ".join(sorted(set(item.value) ^ set(names)))
            mistakes.add(item.place, at, f"every mapping of the list needs the same keys; differing: {differing}")
        elif _are_scalars(names, item, at, mistakes):
            rows.append(_row(names, item, at, places))
    return _Axis(names, rows) if rows else None


def _row(keys: tuple[str, ...], item: Node, at: str, places: dict[tuple[str, Any], Written]) -> tuple[Any, ...]:
    row = []
    for key in keys:
        node = item.value[key]
        row.append(places.setdefault((key, node.value), Written(node.place, f"{at}.{key}", node.value)).value)
    return tuple(row)


def _are_scalars(keys: tuple[str, ...], item: Node, at: str, mistakes: Mistakes) -> bool:
    return sum(not _is_scalar(item.value[key], f"{at}.{key}", mistakes) for key in keys) == 0


def _is_scalar(node: Node, at: str, mistakes: Mistakes) -> bool:
    if isinstance(node.value, float) and not math.isfinite(node.value):
        mistakes.add(node.place, at, f"{node.value} is not a finite number")
        return False
    if isinstance(node.value, str | int | float):
        return True
    mistakes.add(node.place, at, "a value of the matrix is a text, a number, true or false")
    return False


def _entries(node: Node | None, what: str, mistakes: Mistakes) -> list[tuple[str, Node]]:
    if node is None or node.value is None:
        return []
    if not isinstance(node.value, list):
        mistakes.add(node.place, what, "expected a list of mappings")
        return []
    found = []
    for number, item in enumerate(node.value):
        if isinstance(item.value, dict) and item.value:
            found.append((f"{what}[{number}]", item))
        else:
            mistakes.add(item.place, f"{what}[{number}]", "expected a mapping of matrix keys to values")
    return found


def _excluded(rows: Any, keys: tuple[str, ...], node: Node | None, mistakes: Mistakes) -> list[tuple[Any, ...]]:
    """The rows that no entry of `exclude` fits. An entry fits if all keys do; a list, by any value."""
    tests: list[list[tuple[int, list[Any]]]] = []
    for at, item in _entries(node, "exclude", mistakes):
        test = []
        for key, child in item.value.items():
            if key not in keys:
                mistakes.add(child.place, f"{at}.{key}", unknown("matrix key", key, keys))
                continue
            test.append((keys.index(key), child.plain() if isinstance(child.value, list) else [child.plain()]))
        if len(test) == len(item.value):
            tests.append(test)
    return [row for row in rows if not any(all(row[at] in values for at, values in test) for test in tests)]


def _included(
    keys: tuple[str, ...], node: Node | None, places: dict[tuple[str, Any], Written], mistakes: Mistakes
) -> list[tuple[Any, ...]]:
    """One row for each entry of `include`, which names every key of the matrix."""
    rows = []
    for at, item in _entries(node, "include", mistakes):
        for key, child in item.value.items():
            if key not in keys:
                mistakes.add(child.place, f"{at}.{key}", unknown("matrix key", key, keys))
        absent = [key for key in keys if key not in item.value]
        if absent:
            mistakes.add(item.place, at, f"needs a value for every key of the matrix; missing: {', '.join(absent)}")
        elif _are_scalars(keys, item, at, mistakes):
            rows.append(_row(keys, item, at, places))
    return rows
