"""Negative controls: comparisons in which nothing was trained, so that any change found is false. Pure.

The base against itself: its evaluations under two evaluation seeds, or, where an item has several samples,
its even samples against its odd ones. Judged by exactly the code that judges trained models.
"""

from __future__ import annotations

import pandas as pd

from experiments.bootstrap import Estimate, estimate
from experiments.comparison import compare
from experiments.transfer import Settings, arm_estimands, arms, strata

BASE_AGAIN = "the base again"


def base_against_base(frame: pd.DataFrame) -> pd.DataFrame:
    """A table in which half of each base's answers are called trained; empty where there is one answer an item."""
    base = frame[(frame["arm"] == "base") & frame["finished"]]
    parts = []
    for model, rows in base.groupby("model", observed=True):
        seeds = sorted(rows["evaluation_seed"].dropna().unique())
        if len(seeds) > 1:
            first, second = rows[rows["evaluation_seed"] == seeds[0]], rows[rows["evaluation_seed"] == seeds[1]]
        else:
            first, second = rows[rows["sample"] % 2 == 0], rows[rows["sample"] % 2 == 1]
        if len(first) and len(second):
            again = second.assign(
                arm="trained", model=f"{model}#again", run=f"{model}#again", train_domain=BASE_AGAIN,
                train_domains="", path=BASE_AGAIN, path_domains="", algorithm="none", reward="none",
                base_model=str(model), root_model=str(model), stages=0,
            )  # fmt: skip
            parts += [first, again]
    return pd.concat(parts, ignore_index=True) if parts else frame.iloc[:0]


def negative_controls(frame: pd.DataFrame, settings: Settings) -> list[Estimate]:
    """Estimates of the base's change against itself by domain; empty where it cannot be made."""
    doubled = base_against_base(frame)
    if doubled.empty:
        return []
    comparison = compare(doubled)
    if not comparison.units or not comparison.benchmarks:
        return []
    found = arms(comparison.units)
    estimands = [
        e
        for e in arm_estimands(comparison, found, settings)
        if e.labels["kind"] == "cell" and e.labels["weighting"] == settings.weighting
    ]
    return estimate(
        comparison,
        estimands,
        strata(comparison, found),
        replicates=settings.replicates,
        level=settings.level,
        seed=settings.seed,
    )
