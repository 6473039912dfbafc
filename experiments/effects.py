"""Changes as a table: every estimand with its interval, adjusted tests and what could have been detected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.bootstrap import Estimand, Estimate, estimate
from experiments.comparison import Comparison
from experiments.power import adjust, equivalence_p, needed, verdict
from experiments.study import Study
from experiments.transfer import GAP, Arm, Settings, arm_estimands, average_estimands, strata


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as mappings; whatever is undefined is None."""
    return [
        {str(k): (None if v is pd.NA or (isinstance(v, float) and not np.isfinite(v)) else v) for k, v in row.items()}
        for row in table.to_dict("records")
    ]


def effects(comparison: Comparison, found: Sequence[Arm], study: Study, settings: Settings) -> pd.DataFrame:
    """Every change that is asked about, with interval, tests and what could have been detected."""
    if not comparison.units or not comparison.benchmarks:
        return pd.DataFrame(columns=EFFECT_COLUMNS)
    estimands = [
        *arm_estimands(comparison, found, settings),
        *average_estimands(comparison, found, settings, pooled=study.models_are_replicates),
    ]
    return judged(comparison, estimands, found, settings)


def judged(
    comparison: Comparison, estimands: Sequence[Estimand], found: Sequence[Arm], settings: Settings
) -> pd.DataFrame:
    """These changes, estimated with the settings' bootstrap, as a table."""
    if not estimands or not comparison.benchmarks:
        return pd.DataFrame(columns=EFFECT_COLUMNS)
    results = estimate(
        comparison, estimands, strata(comparison, found),
        replicates=settings.replicates, level=settings.level, seed=settings.seed,
    )  # fmt: skip
    return effect_table(results, settings)


EFFECT_COLUMNS = (
    "kind", "train_domain", "evaluated", "in_domain", "weighting", "delta_points", "low_points",
    "high_points", "se_points", "df", "p", "p_holm", "p_bh", "p_equivalent", "p_equivalent_holm", "verdict",
    "detectable_points", "seeds_needed",
    "items_factor_needed", "seeds_resampled", "n_items", "n_samples", "n_seeds", "n_benchmarks", "arms",
)  # fmt: skip


def effect_table(results: Sequence[Estimate], settings: Settings) -> pd.DataFrame:
    """Estimates in points, with p adjusted within each family (same kind and weighting)."""
    families: dict[tuple[object, ...], list[int]] = {}
    for index, result in enumerate(results):
        labels = result.labels
        family = (labels["kind"], labels["weighting"], labels["evaluated"] == GAP)
        families.setdefault(family, []).append(index)
    margin = settings.margin_points / 100
    plain = [result.p for result in results]
    equivalent = [equivalence_p(result, margin) for result in results]
    holm, bh = _within(families, plain, "holm"), _within(families, plain, "fdr_bh")
    equivalent_holm = _within(families, equivalent, "holm")
    tests = [
        {"p": p, "p_holm": h, "p_bh": b, "p_equivalent": e, "p_equivalent_holm": eh}
        for p, h, b, e, eh in zip(plain, holm, bh, equivalent, equivalent_holm, strict=True)
    ]
    rows = [_effect_row(result, test, settings) for result, test in zip(results, tests, strict=True)]
    return pd.DataFrame(rows)


def _within(
    families: Mapping[tuple[object, ...], Sequence[int]], values: Sequence[float | None], method: str
) -> list[float | None]:
    """The values adjusted within each family."""
    out: list[float | None] = [None] * len(values)
    for members in families.values():
        for index, value in zip(members, adjust([values[i] for i in members], method), strict=True):
            out[index] = value
    return out


def _effect_row(result: Estimate, tests: Mapping[str, float | None], settings: Settings) -> dict[str, Any]:
    margin = settings.margin_points / 100
    arm_count = int(str(result.labels.get("arms", 1))) or 1
    more = needed(result, target=margin, arms=arm_count, power=settings.power, level=settings.level)
    return {
        **result.labels,
        "delta_points": _points(result.value), "low_points": _points(result.low),
        "high_points": _points(result.high), "se_points": _points(result.se), "df": result.df,
        **tests, "verdict": str(verdict(result, tests["p_holm"], tests["p_equivalent_holm"], settings.level)),
        "detectable_points": _points(more.detectable), "seeds_needed": more.seeds,
        "items_factor_needed": more.items_factor, "seeds_resampled": result.seeds_resampled,
        "n_items": result.counts.items, "n_samples": result.counts.samples,
        "n_seeds": result.counts.seeds, "n_benchmarks": result.counts.benchmarks,
    }  # fmt: skip


def _points(value: float | None) -> float | None:
    return None if value is None else 100 * value
