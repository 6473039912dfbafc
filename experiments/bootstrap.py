"""Uncertainty of a weighted sum of changes: items drawn within benchmarks, runs within arms. Pure.

Every quantity of the report (a cell, an average, a gap, a slope) is an Estimand: a linear function of the
changes of pass@1 by unit and benchmark. One set of item draws serves all of them, so that what is shared
between cells (the items, the base's answers) stays shared.

- Items: within each benchmark N items are drawn with replacement; all units see the same draw. Deviations
  are scaled by sqrt(N / (N - 1)).
  Where few answers differ, resampling sees almost no spread: one that differs by half an answer up and down
  is added for each unit and benchmark, as Agresti and Min (2005) do for paired proportions.
- Training runs: the spread of an arm's k runs (same base, data, algorithm) is taken from all arms together,
  or from the arm itself where that is larger: two or three runs alone often agree by chance, and an interval
  made from them alone is then far too narrow. Residuals of the runs, rescaled by sqrt(k / (k - 1)) (Rao and
  Wu 1988), are drawn with replacement and added. Where no arm has two runs nothing is known of the spread
  over seeds: `seeds_resampled` is False and the interval holds for those runs only.
- Interval: percentile, expanded about the estimate by t(df) / z (the idea of Hesterberg 2015) with
  Satterthwaite's df over the two sources, because with two or three seeds a plain percentile interval is
  far too narrow.
- p: t test with the linearised standard error and the same df. Item noise is counted in both sources, so
  the result is on the safe side.
"""

from __future__ import annotations

import zlib
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
class _Seeds:
    """What is known of the spread over runs within one stratum, for one estimand."""

    name: str
    runs: int
    variance: float  # of one run's value
    df: int
    residuals: Floats  # from all arms that could be used


def estimate(
    comparison: Comparison,
    estimands: Sequence[Estimand],
    strata: Sequence[str],
    *,
    replicates: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
    keep_draws: bool = False,
    added: float = 1.0,
) -> list[Estimate]:
    """Value, interval and p of every estimand. `strata` names, by unit, the arm whose runs are replicates; a unit
    without a name is no training run and has no spread over seeds.

    `added` is the number of differing answers added to the spread of each unit and benchmark.
    """
    deltas = np.stack([b.delta for b in comparison.benchmarks], axis=1)  # units × benchmarks
    usable = [_usable(e, deltas) for e in estimands]
    coefficients = np.stack([e.weights for e in estimands]) if estimands else np.zeros((0, *deltas.shape))
    filled = np.where(np.isfinite(deltas), deltas, 0.0)
    values = np.tensordot(coefficients, filled, axes=((1, 2), (0, 1)))
    draws = _item_draws(comparison.benchmarks, coefficients, replicates, np.random.default_rng(seed))
    variances = _item_variances(comparison.benchmarks, coefficients)
    extra = added * _added_variances(comparison.benchmarks, coefficients)
    noise = np.random.default_rng([seed, 1]).standard_normal(replicates)
    runs = [f"{unit.run or unit.model} {unit.prompting}" for unit in comparison.units]
    own_strata, one_stratum = _by_stratum(runs, strata), _by_stratum(runs, ["all"] * len(runs))
    picks: dict[tuple[str, int, int], NDArray[np.int64]] = {}
    results = []
    for index, (estimand, usable_one) in enumerate(zip(estimands, usable, strict=True)):
        if not usable_one:
            results.append(Estimate(estimand.labels, None))
            continue
        seeds = _seeds(estimand.weights, deltas, one_stratum if estimand.pooled else own_strata)
        draw = values[index] + draws[index] + _seed_draws(seeds, replicates, seed, picks)
        draw += noise * np.sqrt(extra[index].sum())
        items = [(variance + extra[index, b], n) for b, variance, n in variances[index]]
        counts = _counts(estimand.weights, comparison, runs)
        value = float(values[index])
        results.append(_finish(estimand.labels, value, draw, items, seeds, counts, level, keep_draws))
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
    # 64 bits: bincount would copy anything narrower, which takes longer than drawing.
    drawn = rng.integers(0, items, size=(replicates, items), dtype=np.int64)
    drawn += (np.arange(replicates) * items)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=replicates * items)
    return counts.reshape(replicates, items).astype(np.float32)


def _item_variances(benchmarks: Sequence[Paired], coefficients: Floats) -> list[list[tuple[int, float, int]]]:
    """By estimand: (benchmark, variance of its part in it, number of items), by linearisation."""
    parts: list[list[tuple[int, float, int]]] = [[] for _ in range(coefficients.shape[0])]
    for column, benchmark in enumerate(benchmarks):
        with np.errstate(invalid="ignore", divide="ignore"):
            influence = np.where(benchmark.mask, (benchmark.difference - benchmark.delta) / benchmark.n_items, 0.0)
        rows = np.flatnonzero(benchmark.mask.any(axis=1))
        influence = influence[rows]
        weights = coefficients[:, :, column]
        covariance = influence.T @ influence
        for index in np.flatnonzero((weights != 0).any(axis=1)):
            used = np.flatnonzero(weights[index])
            n = int(benchmark.mask[:, used].any(axis=1).sum())
            w = weights[index, used]
            variance = float(w @ covariance[np.ix_(used, used)] @ w) * n / (n - 1) if n > 1 else np.nan
            parts[index].append((column, max(variance, 0.0), n))
    return parts


def _added_variances(benchmarks: Sequence[Paired], coefficients: Floats) -> Floats:
    """The variance of one differing answer for every unit and benchmark: estimands × benchmarks."""
    columns = []
    for column, benchmark in enumerate(benchmarks):
        with np.errstate(invalid="ignore", divide="ignore"):
            samples = np.where(benchmark.mask, benchmark.trained_count, 0).sum(axis=0) / benchmark.n_items
            one = 1 / (benchmark.n_items.astype(float) ** 2 * samples)
        columns.append((coefficients[:, :, column] ** 2) @ np.where(np.isfinite(one), one, 0.0))
    return np.stack(columns, axis=1)


def _by_stratum(runs: Sequence[str], strata: Sequence[str]) -> dict[str, list[NDArray[np.int64]]]:
    """The units of every run, by stratum; a run's units are its checkpoints, in order."""
    found: dict[str, dict[str, list[int]]] = {}
    for unit, (run, stratum) in enumerate(zip(runs, strata, strict=True)):
        if not stratum:
            continue
        found.setdefault(stratum, {}).setdefault(run, []).append(unit)
    return {name: [np.array(units) for units in by_run.values()] for name, by_run in found.items()}


def _seeds(weights: Floats, deltas: Floats, by_stratum: Mapping[str, list[NDArray[np.int64]]]) -> list[_Seeds]:
    """The spread of the runs in every stratum that the estimand weighs."""
    out = []
    for name, runs in by_stratum.items():
        used = [units for units in runs if (weights[units] != 0).any()]
        if not used:
            continue
        # Each run's own weights, times k: its value as if it alone stood for the stratum.
        own = np.array([(weights[u] * np.nan_to_num(deltas[u])).sum() for u in used]) * len(used)
        profile = np.mean([weights[u] for u in used], axis=0) * len(used) if _alike(used) else None
        groups = [own] if len(used) > 1 else []
        if profile is not None and len(by_stratum) > 1:
            groups += [
                values for other, members in by_stratum.items()
                if other != name and len(values := _values(profile, deltas, members)) > 1
            ]  # fmt: skip
        df = sum(len(g) - 1 for g in groups)
        if df == 0:
            out.append(_Seeds(name, len(used), 0.0, 0, np.zeros(0)))
            continue
        together = sum((len(g) - 1) * float(np.var(g, ddof=1)) for g in groups) / df
        variance = max(together, float(np.var(own, ddof=1)) if len(own) > 1 else 0.0)
        residuals = np.concatenate([(g - g.mean()) * np.sqrt(len(g) / (len(g) - 1)) for g in groups])
        out.append(_Seeds(name, len(used), variance, df, residuals))
    return out


def _alike(runs: Sequence[NDArray[np.int64]]) -> bool:
    return len({len(units) for units in runs}) == 1


def _values(profile: Floats, deltas: Floats, runs: Sequence[NDArray[np.int64]]) -> Floats:
    """The same quantity for the runs of another stratum, where they have all that it needs."""
    found = []
    for units in runs:
        if len(units) == len(profile) and np.isfinite(deltas[units][profile != 0]).all():
            found.append(float((profile * np.nan_to_num(deltas[units])).sum()))
    return np.array(found)


def _seed_draws(
    seeds: Sequence[_Seeds], replicates: int, seed: int, picks: dict[tuple[str, int, int], NDArray[np.int64]]
) -> Floats:
    """Deviations of the mean of k runs. Which runs are drawn is shared by all quantities of a stratum."""
    total = np.zeros(replicates)
    for stratum in seeds:
        square = float((stratum.residuals**2).mean()) if len(stratum.residuals) else 0.0
        if square <= 0:
            continue
        key = (stratum.name, stratum.runs, len(stratum.residuals))
        if key not in picks:
            own = np.random.default_rng([seed, zlib.crc32(stratum.name.encode()), *key[1:]])
            picks[key] = own.integers(0, key[2], size=(replicates, stratum.runs))
        scale = np.sqrt(stratum.variance / square) / stratum.runs
        total += stratum.residuals[picks[key]].sum(axis=1) * scale
    return total


def _degrees(items: Sequence[tuple[float, int]], seeds: Sequence[_Seeds]) -> float:
    """Satterthwaite's df. With a single degree for the runs it cannot be trusted: that one is used."""
    parts = [(variance, n - 1) for variance, n in items]
    parts += [(s.variance / s.runs, s.df) for s in seeds if s.variance > 0]
    if any(s.df == 1 and s.variance > 0 for s in seeds) and len(seeds) == 1:
        return 1.0
    below = sum(v**2 / df for v, df in parts if df > 0)
    return float(sum(v for v, _ in parts) ** 2 / below) if below > 0 else np.inf


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
    items: Sequence[tuple[float, int]],
    seeds: Sequence[_Seeds],
    counts: Counts,
    level: float,
    keep_draws: bool,
) -> Estimate:
    item_variance = sum(variance for variance, _ in items)
    seed_variance = sum(s.variance / s.runs for s in seeds)
    resampled = bool(seeds) and all(s.df > 0 for s in seeds)
    variance, df = item_variance + seed_variance, _degrees(items, seeds)
    if not np.isfinite(variance) or variance <= 1e-15:
        # A single item: there is no spread to judge by.
        return Estimate(labels, value, seeds_resampled=resampled, counts=counts)
    se = float(np.sqrt(variance))
    tail = (1 - level) / 2
    expansion = stats.t.ppf(1 - tail, df) / stats.norm.ppf(1 - tail)
    low, high = np.quantile(draw, [tail, 1 - tail])
    return Estimate(
        labels=labels,
        value=value,
        low=value + (float(low) - value) * float(expansion),
        high=value + (float(high) - value) * float(expansion),
        se=se,
        df=df,
        p=float(2 * stats.t.sf(abs(value) / se, df)),
        var_items=item_variance,
        var_seeds=seed_variance if resampled else None,
        seeds_resampled=resampled,
        draws=draw if keep_draws else None,
        counts=counts,
    )
