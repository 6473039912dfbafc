"""Levels of one factor set against each other: algorithms, rewards, bases by size, choices for agents. Pure.

A contrast is the difference of two arms' changes for the same training domains, so it is again a weighted
sum of changes; what both arms share (the items, the base's answers) cancels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from experiments.bootstrap import Estimand
from experiments.comparison import Comparison, Floats
from experiments.transfer import GAP, ID, OOD, Arm, Settings, arm_weights, sides
from experiments.variants import PLAIN

# What the others are measured against, if it is there; else the first by name.
REFERENCE = {"algorithm": "grpo", "reward": "correct"}
# Another way of being asked follows from having been trained so: arms that differ in both still differ in one thing.
FOLLOWS = {"thinking": ("prompting",)}

Pair = tuple[Arm, Arm]


def contrast_estimands(
    comparison: Comparison,
    found: Sequence[Arm],
    factor: str,
    settings: Settings,
    sizes: Mapping[str, float],
) -> list[Estimand]:
    """Each level against the reference, inside, outside and their gap, the rest of the arm held equal."""
    out: list[Estimand] = []
    for level, reference, pairs in matched_levels(found, factor, sizes):
        for side in (ID, OOD, GAP):
            weights = [w for pair in pairs if (w := _difference(comparison, *pair, side, settings)) is not None]
            if weights:
                labels = {
                    "kind": "contrast", "train_domain": "", "factor": factor, "level": level,
                    "reference": reference, "evaluated": side, "weighting": settings.weighting,
                    "arms": 2 * len(weights), "matched": len(weights),
                }  # fmt: skip
                out.append(Estimand(labels, np.mean(weights, axis=0)))
    return out


def matched_levels(
    found: Sequence[Arm], factor: str, sizes: Mapping[str, float]
) -> Iterator[tuple[str, str, list[Pair]]]:
    """Every level of the factor with the reference, by their names, and the arms that differ in it alone."""
    levels = sorted({arm.group[factor] for arm in found})
    # Bases by size, smallest first; else what is usual (it has no name, or is known) before the others.
    levels.sort(key=lambda level: (sizes.get(level, float("inf")), level != REFERENCE.get(factor), bool(level), level))
    for level in levels[1:]:
        pairs = _matched(found, factor, level, levels[0])
        if pairs:
            yield level or PLAIN[factor], levels[0] or PLAIN[factor], pairs


def _matched(found: Sequence[Arm], factor: str, level: str, reference: str) -> list[Pair]:
    """Arms that differ in the factor only."""
    free = (factor, *FOLLOWS.get(factor, ()))

    def rest(arm: Arm) -> tuple[str, ...]:
        return (*(v for k, v in arm.group.items() if k not in free), arm.train_domain)

    base = {rest(arm): arm for arm in found if arm.group[factor] == reference}
    return [(arm, base[rest(arm)]) for arm in found if arm.group[factor] == level and rest(arm) in base]


def _difference(comparison: Comparison, one: Arm, other: Arm, side: str, settings: Settings) -> Floats | None:
    values = [_side(comparison, arm, side, settings) for arm in (one, other)]
    return None if values[0] is None or values[1] is None else values[0] - values[1]


def _side(comparison: Comparison, arm: Arm, side: str, settings: Settings) -> Floats | None:
    parts = sides(comparison, arm, settings.in_domain)
    if side == GAP:
        inside, outside = (arm_weights(comparison, arm, parts[s], settings.weighting) for s in (ID, OOD))
        return None if inside is None or outside is None else inside - outside
    return arm_weights(comparison, arm, parts[side], settings.weighting)


def trend_estimands(
    comparison: Comparison, found: Sequence[Arm], sizes: Mapping[str, float], settings: Settings
) -> list[Estimand]:
    """Slope of each side against the doubling of the base's size, averaged over training domains."""
    out: list[Estimand] = []
    for side in (ID, OOD, GAP):
        slopes = []
        for domain in dict.fromkeys(arm.train_domain for arm in found):
            points = [
                (np.log2(sizes[arm.group["base"]]), w)
                for arm in found
                if arm.train_domain == domain
                and arm.group["base"] in sizes
                and (w := _side(comparison, arm, side, settings)) is not None
            ]
            times = np.array([time for time, _ in points])
            if len(set(times.tolist())) > 1:
                factors = (times - times.mean()) / ((times - times.mean()) ** 2).sum()
                slopes.append(np.sum([f * w for f, (_, w) in zip(factors, points, strict=True)], axis=0))
        if slopes:
            labels = {
                "kind": "trend", "train_domain": "", "factor": "base size, per doubling", "level": "",
                "reference": "", "evaluated": side, "weighting": settings.weighting,
                "arms": len(found), "matched": len(slopes),
            }  # fmt: skip
            out.append(Estimand(labels, np.mean(slopes, axis=0)))
    return out
