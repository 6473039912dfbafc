"""The values in which two jobs differ, also deep inside the jobs that they need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manager.job import Job
from manager.store import Store

ABSENT = "(absent)"


@dataclass(frozen=True)
class Difference:
    place: str
    a: Any
    b: Any


def differences(store: Store, a: Job, b: Job) -> list[Difference]:
    """Every differing leaf; an empty list for the same job."""
    return list(_jobs(store, a, b, ""))


def _jobs(store: Store, a: Job, b: Job, place: str) -> Iterator[Difference]:
    if a.id == b.id:
        return
    if a.kind != b.kind:
        yield Difference(f"{place}kind", a.kind.value, b.kind.value)
    yield from _values(a.config, b.config, f"{place}config")
    if len(a.needs) != len(b.needs):
        yield Difference(f"{place}needs", list(a.needs), list(b.needs))
        return
    for index, (need_a, need_b) in enumerate(zip(a.needs, b.needs, strict=True)):
        if need_a != need_b:
            yield from _jobs(store, store.run(need_a).job(), store.run(need_b).job(), f"{place}needs[{index}].")


def _values(a: Any, b: Any, place: str) -> Iterator[Difference]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in sorted({*a, *b}):
            yield from _values(a.get(key, ABSENT), b.get(key, ABSENT), f"{place}.{key}")
    elif _is_list(a) and _is_list(b) and len(a) == len(b):
        for index, (left, right) in enumerate(zip(a, b, strict=True)):
            yield from _values(left, right, f"{place}[{index}]")
    elif a != b:
        yield Difference(place, a, b)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
