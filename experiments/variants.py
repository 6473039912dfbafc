"""How the modelling choices of agents' trainings are called: what is usual has no name of its own. Pure.

An arm is called by what sets it apart. The usual warm-up and length are those of most runs from the same base; the size
of an augmentation is told only where one environment was trained under two sizes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from experiments.comparison import Unit
from experiments.lineage import AUGMENT_SIZE
from experiments.transfer import Arm

BY_BASE = ("warmup", "length")  # what is usual there differs between bases
PLAIN: Mapping[str, str] = {
    "augment": "not augmented", "thinking": "thinking", "warmup": "usual warm-up", "length": "usual length",
}  # fmt: skip
CHOICES = tuple(PLAIN)


def named(units: Sequence[Unit]) -> tuple[Unit, ...]:
    """The same units, the usual choices without a name."""
    usual = {name: _usual(units, name) for name in BY_BASE}
    sized = _told_with_size(units)
    return tuple(
        replace(
            unit,
            augment=unit.augment if _place(unit) in sized else _share(unit),
            warmup="" if unit.warmup == usual["warmup"][unit.base] else unit.warmup or "no warm-up",
            length="" if unit.length == usual["length"][unit.base] else unit.length or "length not told",
        )
        for unit in units
    )


def plain_first(found: Sequence[Arm]) -> list[Arm]:
    """The same arms, those without a name of their own before the others, a smaller augmentation before a larger."""
    return sorted(found, key=lambda arm: [(len(arm.group.get(name, "")), arm.group.get(name, "")) for name in CHOICES])


def _usual(units: Sequence[Unit], name: str) -> dict[str, str]:
    """By base, the value that most of its runs have; of two equally frequent ones the first by name."""
    runs = {(unit.base, unit.run, str(getattr(unit, name))) for unit in units}
    found: dict[str, str] = {}
    for base in {unit.base for unit in units}:
        counts = Counter(value for of, _, value in runs if of == base)
        found[base] = min(counts, key=lambda value: (-counts[value], value))
    return found


def _place(unit: Unit) -> tuple[str, str, str]:
    return unit.base, unit.train_domain, _share(unit)


def _share(unit: Unit) -> str:
    return unit.augment.partition(AUGMENT_SIZE)[0]


def _told_with_size(units: Sequence[Unit]) -> set[tuple[str, str, str]]:
    sizes: dict[tuple[str, str, str], set[str]] = {}
    for unit in units:
        sizes.setdefault(_place(unit), set()).add(unit.augment)
    return {place for place, found in sizes.items() if len(found) > 1}
