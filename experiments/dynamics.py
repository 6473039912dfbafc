"""What training logged at each evaluated checkpoint, and whether KL to the base predicts forgetting.

Reads the training journals; the regression itself is statsmodels', clustered by run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats

from experiments.comparison import Comparison
from experiments.transfer import OOD, Arm, arm_weights, sides
from manager.store import Store

# The names under which trainers log a quantity; the first that is there is taken.
LOGGED: Mapping[str, Sequence[str]] = {
    "kl": ("kl_to_base", "kl/all", "kl"),
    "entropy": ("entropy",),
    "reward": ("reward",),
    "completion_tokens": ("completions/mean_length", "completion_length"),
    "cut_share": ("completions/clipped_ratio", "clipped_share"),
}
MIN_RUNS = 3  # clusters below which a regression over runs says nothing


@dataclass(frozen=True)
class Regression:
    """Change outside the training domain on KL: points per unit of KL; None where it cannot be fitted."""

    slope: float | None
    low: float | None
    high: float | None
    p: float | None
    r_squared: float | None
    n_checkpoints: int
    n_runs: int
    why: str = ""


def dynamics(comparison: Comparison, found: Sequence[Arm], store: Store, unit_of: str, weighting: str) -> pd.DataFrame:
    """One row a checkpoint: what was logged up to its step, and its change outside the training domain."""
    deltas = np.stack([b.delta for b in comparison.benchmarks], axis=1)
    rows = []
    series: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for arm in found:
        outside = sides(comparison, arm, unit_of)[OOD]
        for index in arm.units:
            unit = comparison.units[index]
            if unit.step is None or not store.run(unit.run).exists():
                continue
            if unit.run not in series:
                series[unit.run] = _series(store, unit.run)
            weights = arm_weights(comparison, Arm(arm.group, arm.train_domain, (index,)), outside, weighting)
            change = None if weights is None else float(np.nansum(weights * np.nan_to_num(deltas))) * 100
            logged = {name: _last(series[unit.run], names, unit.step) for name, names in LOGGED.items()}
            rows.append({
                "base": unit.base, "algorithm": unit.algorithm, "reward_kind": unit.reward,
                "train_domain": unit.train_domain, "seed": unit.seed, "step": unit.step, "run": unit.run,
                **logged, "outside_points": change,
            })  # fmt: skip
    return pd.DataFrame(rows)


def _series(store: Store, job_id: str) -> dict[str, list[tuple[int, float]]]:
    """Logged values by metric and step; a step that a restart did again counts in its later form."""
    found: dict[str, dict[int, float]] = {}
    for record in store.run(job_id).journal():
        if record.get("type") == "metrics":
            for name, value in record["values"].items():
                found.setdefault(name, {})[int(record["step"])] = float(value)
    return {name: sorted(values.items()) for name, values in found.items()}


def _last(series: Mapping[str, list[tuple[int, float]]], names: Sequence[str], step: int) -> float | None:
    """The last value logged at or before a step."""
    for name in names:
        before = [value for at, value in series.get(name, ()) if at <= step]
        if before:
            return before[-1]
    return None


def forgetting(table: pd.DataFrame, level: float = 0.95) -> Regression:
    """Regress the change outside the training domain on KL to the base, clustered by run."""
    empty: dict[str, Any] = {"slope": None, "low": None, "high": None, "p": None, "r_squared": None}
    if table.empty or "kl" not in table or table["kl"].isna().all():
        return Regression(**empty, n_checkpoints=0, n_runs=0, why="no KL to the base was logged")
    used = table.dropna(subset=["kl", "outside_points"])
    runs = int(used["run"].nunique())
    counts: dict[str, Any] = {"n_checkpoints": len(used), "n_runs": runs}
    if runs < MIN_RUNS:
        return Regression(**empty, **counts, why=f"{runs} runs; at least {MIN_RUNS} are needed")
    if used["kl"].astype(float).std() < 1e-12:
        return Regression(**empty, **counts, why="KL does not vary")
    x = sm.add_constant(used["kl"].astype(float).to_numpy())
    y = used["outside_points"].astype(float).to_numpy()
    groups = pd.factorize(used["run"])[0]
    fitted = sm.OLS(y, x).fit(cov_type="cluster", cov_kwds={"groups": groups, "df_correction": True}, use_t=True)
    slope, se = float(fitted.params[1]), float(fitted.bse[1])
    half = float(stats.t.ppf(0.5 + level / 2, runs - 1)) * se
    p = float(2 * stats.t.sf(abs(slope) / se, runs - 1)) if se > 0 else None
    return Regression(slope, slope - half, slope + half, p, float(fitted.rsquared), **counts)
