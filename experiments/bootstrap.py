"""Uncertainty of a weighted sum of changes: items drawn within benchmarks, runs within arms. Pure.

Every quantity of the report (a cell, an average, a gap, a slope) is an Estimand: a linear function of the
changes of pass@1 by unit and benchmark. One set of item draws serves all of them, so that what is shared
between cells (the items, the base's answers) stays shared.

- Items: within each benchmark N items are drawn with replacement; all units see the same draw. Deviations
  are scaled by sqrt(N / (N - 1)).
- Training runs: within each stratum (same base, data, algorithm) the k runs are drawn with replacement,
  rescaled by sqrt(k / (k - 1)) (Rao and Wu 1988), and added. With one run in a stratum nothing is known of
  the spread over seeds: `seeds_resampled` is False and the interval holds for that run only.
- Interval: percentile, expanded about the estimate by t(df) / z (the idea of Hesterberg 2015) with
  Satterthwaite's df over the two sources, because with two or three seeds a plain percentile interval is
  far too narrow.
- p: t test with the linearised standard error and the same df. Item noise is counted in both sources, so
  the result is on the safe side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from experiments.comparison import Comparison, Floats, Paired

CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Estimand:
    """A weighted sum of changes of pass@1. `weights` is units × benchmarks."""

    labels: Mapping[str, object]
    weights: Floats
    pooled: bool = False  # all runs are replicates of each other: models drawn from a population of models


@dataclass(frozen=True)
class Counts:
    """How much data an estimate rests on."""

    items: int = 0
    samples: int = 0  # of trained models
    seeds: int = 0  # training runs
    benchmarks: int = 0


@dataclass(frozen=True)
class Estimate:
    """A change with its uncertainty. What cannot be computed is None, never 0."""

    labels: Mapping[str, object]
    value: float | None
    low: float | None = None
    high: float | None = None
    se: float | None = None
    df: float | None = None
    p: float | None = None
    var_items: float | None = None
    var_seeds: float | None = None
    seeds_resampled: bool = False
    counts: Counts = Counts()
    draws: Floats | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class _Spread:
    """The parts of an estimand's variance with their degrees of freedom."""

    items: float
    seeds: float
    df: float
    resampled: bool


def estimate(
    comparison: Comparison,
    estimands: Sequence[Estimand],
    strata: Sequence[str],
    *,
    replicates: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
    keep_draws: bool = False,
) -> list[Estimate]:
    """Value, interval and p of every estimand. `strata` names, by unit, the arm whose runs are replicates."""
    deltas = np.stack([b.delta for b in comparison.benchmarks], axis=1)  # units × benchmarks
    usable = [_usable(e, deltas) for e in estimands]
    coefficients = np.stack([e.weights for e in estimands]) if estimands else np.zeros((0, *deltas.shape))
    filled = np.where(np.isfinite(deltas), deltas, 0.0)
    values = np.tensordot(coefficients, filled, axes=((1, 2), (0, 1)))
    rng = np.random.default_rng(seed)
    draws = _item_draws(comparison.benchmarks, coefficients, replicates, rng)
    variances = _item_variances(comparison.benchmarks, coefficients)
    runs = [unit.run or unit.model for unit in comparison.units]
    results = []
    for index, (estimand, usable_one) in enumerate(zip(estimands, usable, strict=True)):
        if not usable_one:
            results.append(Estimate(estimand.labels, None))
            continue
        groups = _run_values(estimand.weights, filled, runs, [""] * len(runs) if estimand.pooled else strata)
        spread = _spread(variances[index], groups)
        draw = values[index] + draws[index] + _seed_draws(groups, replicates, rng)
        counts = _counts(estimand.weights, comparison, runs)
        results.append(
            _finish(estimand.labels, float(values[index]), draw, spread, counts, level, keep_draws)
        )
    return results


def _usable(estimand: Estimand, deltas: Floats) -> bool:
    """Every change that it weighs is known; missing ones are never taken for 0."""
    used = estimand.weights != 0
    return bool(used.any() and np.isfinite(deltas[used]).all())


def _item_draws(
    benchmarks: Sequence[Paired], coefficients: Floats, replicates: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Deviations of every estimand under resampled items: estimands × replicates."""
    total = np.zeros((coefficients.shape[0], replicates), dtype=np.float32)
    for column, benchmark in enumerate(benchmarks):
        weights = np.ascontiguousarray(coefficients[:, :, column])
        units = np.flatnonzero((weights != 0).any(axis=0))
        items = np.flatnonzero(benchmark.mask[:, units].any(axis=1))
        if len(items) < 2 or not len(units):
            continue
        # An item that is missing for a unit counts neither in its sum nor in its number.
        mask = benchmark.mask[np.ix_(items, units)]
        difference = benchmark.difference[np.ix_(items, units)].astype(np.float32)
        stacked = difference if mask.all() else np.hstack([difference, mask.astype(np.float32)])
        centre = benchmark.delta[units]
        scale = np.sqrt(len(items) / (len(items) - 1))
        chunk = max(1, CHUNK_BYTES // (len(items) * 16))
        for start in range(0, replicates, chunk):
            stop = min(start + chunk, replicates)
            sums = _draw_counts(len(items), stop - start, rng) @ stacked
            size = sums[:, len(units) :] if stacked is not difference else np.float32(len(items))
            with np.errstate(invalid="ignore", divide="ignore"):
                deviation = (sums[:, : len(units)] / size - centre) * scale
            total[:, start:stop] += (np.nan_to_num(deviation) @ weights[:, units].T.astype(np.float32)).T
    return total


def _draw_counts(items: int, replicates: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """How often each item is drawn: replicates × items."""
    drawn = rng.integers(0, items, size=(replicates, items), dtype=np.int32)
    drawn += (np.arange(replicates, dtype=np.int32) * items)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=replicates * items)
    return counts.reshape(replicates, items).astype(np.float32)


def _item_variances(benchmarks: Sequence[Paired], coefficients: Floats) -> list[list[tuple[float, int]]]:
    """By estimand: (variance of its part in a benchmark, number of items), by linearisation."""
    parts: list[list[tuple[float, int]]] = [[] for _ in range(coefficients.shape[0])]
    for column, benchmark in enumerate(benchmarks):
        with np.errstate(invalid="ignore", divide="ignore"):
            influence = np.where(
                benchmark.mask, (benchmark.difference - benchmark.delta) / benchmark.n_items, 0.0
            )
        rows = np.flatnonzero(benchmark.mask.any(axis=1))
        influence = influence[rows]
        weights = coefficients[:, :, column]
        covariance = influence.T @ influence
        for index in np.flatnonzero((weights != 0).any(axis=1)):
            used = np.flatnonzero(weights[index])
            n = int(benchmark.mask[:, used].any(axis=1).sum())
            w = weights[index, used]
            variance = float(w @ covariance[np.ix_(used, used)] @ w) * n / (n - 1) if n > 1 else np.nan
            parts[index].append((max(variance, 0.0), n))
    return parts


def _run_values(weights: Floats, deltas: Floats, runs: Sequence[str], strata: Sequence[str]) -> list[Floats]:
    """What each run adds to the estimand, by stratum."""
    by_unit = (weights * deltas).sum(axis=1)
    groups: dict[str, dict[str, float]] = {}
    for unit in np.flatnonzero((weights != 0).any(axis=1)):
        group = groups.setdefault(strata[unit], {})
        group[runs[unit]] = group.get(runs[unit], 0.0) + float(by_unit[unit])
    return [np.array(list(group.values())) for group in groups.values()]


def _spread(items: Sequence[tuple[float, int]], groups: Sequence[Floats]) -> _Spread:
    parts = [(variance, n - 1) for variance, n in items]
    item_variance = sum(variance for variance, _ in parts)
    seeds = [(len(g) * float(np.var(g, ddof=1)), len(g) - 1) for g in groups if len(g) > 1]
    # k runs that add r_j each: the sum's variance is k times the variance of r_j.
    seed_variance = sum(variance for variance, _ in seeds)
    below = sum(v**2 / df for v, df in [*parts, *seeds] if df > 0)
    total = item_variance + seed_variance
    df = total**2 / below if below > 0 else np.inf
    return _Spread(item_variance, seed_variance, df, bool(groups) and all(len(g) > 1 for g in groups))


def _seed_draws(groups: Sequence[Floats], replicates: int, rng: np.random.Generator) -> Floats:
    """Deviations under resampled runs, rescaled so that few runs do not look too alike."""
    total = np.zeros(replicates)
    for values in groups:
        k = len(values)
        if k > 1:
            times = rng.multinomial(k, np.full(k, 1 / k), size=replicates)
            total += (times - 1) @ values * np.sqrt(k / (k - 1))
    return total


def _counts(weights: Floats, comparison: Comparison, runs: Sequence[str]) -> Counts:
    """How much data an estimand rests on: distinct items, samples of trained models, training runs."""
    items = samples = 0
    units: set[int] = set()
    for column, benchmark in enumerate(comparison.benchmarks):
        used = np.flatnonzero(weights[:, column])
        if len(used):
            mask = benchmark.mask[:, used]
            items += int(mask.any(axis=1).sum())
            samples += int(benchmark.trained_count[:, used][mask].sum())
            units |= set(used.tolist())
    return Counts(items, samples, len({runs[i] for i in units}), int((weights != 0).any(axis=0).sum()))


def _finish(
    labels: Mapping[str, object],
    value: float,
    draw: Floats,
    spread: _Spread,
    counts: Counts,
    level: float,
    keep_draws: bool,
) -> Estimate:
    variance = spread.items + spread.seeds
    if not np.isfinite(variance) or variance <= 1e-15:
        # One item, or no item changed at all: there is no spread to judge by.
        return Estimate(labels, value, seeds_resampled=spread.resampled, counts=counts)
    se = float(np.sqrt(variance))
    tail = (1 - level) / 2
    expansion = stats.t.ppf(1 - tail, spread.df) / stats.norm.ppf(1 - tail)
    low, high = np.quantile(draw, [tail, 1 - tail])
    return Estimate(
        labels=labels,
        value=value,
        low=value + (float(low) - value) * float(expansion),
        high=value + (float(high) - value) * float(expansion),
        se=se,
        df=float(spread.df),
        p=float(2 * stats.t.sf(abs(value) / se, spread.df)),
        var_items=spread.items,
        var_seeds=spread.seeds if spread.resampled else None,
        seeds_resampled=spread.resampled,
        draws=draw if keep_draws else None,
        counts=counts,
    )
