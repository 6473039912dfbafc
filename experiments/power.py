"""Equivalence, what could have been detected, and how much more data it takes. Pure; points are percent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from experiments.bootstrap import Estimate


class Verdict(StrEnum):
    """What a change and its uncertainty allow to say."""

    GAIN = "gain"
    LOSS = "loss"
    EQUIVALENT = "no change beyond the margin"
    OPEN = "undecided"
    UNKNOWN = "not computable"


MOST_SEEDS = 1000  # beyond that no plan is of use


@dataclass(frozen=True)
class Needed:
    """What it takes to find an effect of the given size; None where no amount of that alone suffices."""

    detectable: float | None  # the smallest change found with the stated power
    seeds: int | None  # runs per arm, items as they are
    items_factor: float | None  # times the present number of items, runs as they are


def equivalence_p(estimate: Estimate, margin: float) -> float | None:
    """TOST: the larger of the two one-sided p values against a change of `margin` either way."""
    if estimate.value is None or estimate.se is None or estimate.df is None:
        return None
    lower = stats.t.sf((estimate.value + margin) / estimate.se, estimate.df)
    upper = stats.t.cdf((estimate.value - margin) / estimate.se, estimate.df)
    return float(max(lower, upper))


def verdict(estimate: Estimate, p: float | None, equivalent: float | None, level: float) -> Verdict:
    """A change needs p below 1 - level; "no change" needs the equivalence test's p so, never a large p."""
    if estimate.value is None or p is None or equivalent is None:
        return Verdict.UNKNOWN
    if p < 1 - level:
        return Verdict.GAIN if estimate.value > 0 else Verdict.LOSS
    return Verdict.EQUIVALENT if equivalent < 1 - level else Verdict.OPEN


def needed(estimate: Estimate, *, target: float, arms: int = 1, power: float = 0.8, level: float = 0.95) -> Needed:
    """The detectable change now, and the seeds or items for a change of `target`.

    Variances scale as 1 / seeds and 1 / items; more seeds also give more degrees of freedom. `arms` is the
    number of strata that the runs are spread over.
    """
    if estimate.se is None or estimate.df is None or estimate.var_items is None:
        return Needed(None, None, None)
    detectable = _quantile(estimate.df, power, level) * estimate.se
    items, seeds, runs = estimate.var_items, estimate.var_seeds, estimate.counts.seeds / arms
    if seeds is None:
        factor = items * (_quantile(estimate.df, power, level) / target) ** 2
        return Needed(detectable, None, max(1.0, factor))
    return Needed(
        detectable,
        _seeds(items, seeds, runs, estimate, target, arms, power, level),
        _items(items, seeds, estimate.df, target, power, level),
    )


def _quantile(df: float, power: float, level: float) -> float:
    return float(stats.t.ppf(0.5 + level / 2, df) + stats.t.ppf(power, df))


def _seeds(
    items: float,
    seeds: float,
    runs: float,
    estimate: Estimate,
    target: float,
    arms: int,
    power: float,
    level: float,
) -> int | None:
    def enough(k: int) -> bool:
        variance = items + seeds * runs / k
        share = (seeds * runs / k) ** 2 / (arms * (k - 1)) + items**2 / max(estimate.counts.items - 1, 1)
        df = variance**2 / share if share > 0 else math.inf
        return _quantile(df, power, level) * math.sqrt(variance) <= target

    low, high = max(2, math.ceil(runs)) - 1, MOST_SEEDS
    if not enough(high):
        return None
    while high - low > 1:  # more seeds are never worse
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _items(items: float, seeds: float, df: float, target: float, power: float, level: float) -> float | None:
    allowed = (target / _quantile(df, power, level)) ** 2 - seeds
    return max(1.0, items / allowed) if allowed > 0 else None


def adjust(values: Sequence[float | None], method: str) -> list[float | None]:
    """Adjusted p over the family (`holm` or `fdr_bh`); undefined ones are no members of it."""
    known = [i for i, p in enumerate(values) if p is not None]
    out: list[float | None] = [None] * len(values)
    if known:
        family = np.array([values[i] for i in known], dtype=np.float64)
        adjusted = stats.false_discovery_control(family, method="bh") if method == "fdr_bh" else holm(family)
        for i, p in zip(known, adjusted, strict=True):
            out[i] = float(p)
    return out


def holm(family: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's step-down. statsmodels' collects garbage at each call, which took most of a report's time."""
    order = np.argsort(family, kind="stable")
    steps = np.maximum.accumulate(family[order] * np.arange(len(family), 0, -1))
    out = np.empty_like(family)
    out[order] = np.minimum(steps, 1.0)
    return out
