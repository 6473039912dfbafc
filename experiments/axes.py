"""The axes of the environments, from probe stages, and how they go with the OOD scores of the sources.

With three or four training environments a correlation can hardly be told from chance: every p is that of all
permutations, and the smallest p that so many environments can reach at all stands beside it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from experiments.comparison import ASKED, Comparison, Floats
from experiments.lineage import model_identity, model_name
from experiments.ood_scores import Scored
from experiments.outcomes import Source

# The axes by the names that a probe gives them.
AXES: Mapping[str, str] = {
    "chars": "state information richness (characters)",
    "tokens": "state information richness (tokens)",
    "length": "planning complexity (steps, a failure counting as the cap)",
    "reach": "goal reachability",
}
CORRELATED = ("chars", "length", "reach")  # tokens say the same as characters
EXACT_MOST = 8  # environments whose permutations are all tried: 40,320
DRAWN = 20_000
LEAST = 3


def axes_table(source: Source) -> pd.DataFrame:
    """One row an environment and probed policy; empty where nothing was probed."""
    rows = []
    for job in source.probes:
        result = source.store.run(job.id).result()
        if result is None or "environments" not in result:
            continue
        policy = model_identity(job, lambda one: (source.store.run(one).result() or {}).get("last_step"))
        for name, found in result["environments"].items():
            rows.append({"environment": name, "policy": model_name(job, source.jobs), "policy_id": policy, **found})
    return pd.DataFrame(rows)


def measured(axes: pd.DataFrame, start: str, root: str) -> pd.DataFrame:
    """By environment, as the policy that these arms started from met it; else that of their root, else the only one."""
    chosen = axes if axes["policy_id"].nunique() == 1 else axes.iloc[:0]
    for wanted in (root, start.partition(ASKED)[0]):
        found = axes[axes["policy_id"] == wanted]
        chosen = found if len(found) else chosen
    return chosen.drop_duplicates("environment").set_index("environment")


@dataclass(frozen=True)
class Correlation:
    """A rank or product-moment correlation of few pairs. Undefined is None."""

    method: str
    value: float | None
    p: float | None  # two-sided, over all permutations
    smallest_p: float | None  # what a perfect correlation of these values would have
    n: int


def correlations(x: Sequence[float], y: Sequence[float]) -> list[Correlation]:
    """Spearman's, Pearson's and Kendall's (τ-b), each with its permutation p."""
    first, second = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    forms = {
        "Spearman": (_centred(stats.rankdata(first)), _centred(stats.rankdata(second))),
        "Pearson": (_centred(first), _centred(second)),
        "Kendall": (_signs(first), _signs(second)),
    }
    return [_correlation(method, *both, len(first)) for method, both in forms.items()]


def _centred(values: Floats) -> Floats:
    return values - values.mean() if len(values) else values


def _signs(values: Floats) -> Floats:
    """Of every ordered pair, which is larger: τ-b is the cosine of two such matrices."""
    return np.sign(values[:, None] - values[None, :])


def _correlation(method: str, x: Floats, y: Floats, n: int) -> Correlation:
    size = math.sqrt(float((x**2).sum() * (y**2).sum()))
    if n < LEAST or size <= 1e-12:
        return Correlation(method, None, None, None, n)
    orders, exact = _orders(n)
    shuffled = y[orders] if y.ndim == 1 else y[orders[:, :, None], orders[:, None, :]]
    every = np.abs((shuffled * x).reshape(len(orders), -1).sum(axis=1)) / size
    value = float((x * y).sum()) / size
    as_far = int((every >= abs(value) - 1e-9).sum())
    most = int((every >= every.max() - 1e-9).sum())
    if exact:
        return Correlation(method, value, as_far / len(orders), most / len(orders), n)
    return Correlation(method, value, (1 + as_far) / (1 + len(orders)), None, n)


def _orders(n: int) -> tuple[np.ndarray[Any, np.dtype[np.int64]], bool]:
    if n <= EXACT_MOST:
        return np.array(list(itertools.permutations(range(n)))), True
    rng = np.random.default_rng(0)
    return np.stack([rng.permutation(n) for _ in range(DRAWN)]), False


def correlation_table(found: Sequence[Scored], axes: pd.DataFrame, final: Comparison) -> pd.DataFrame:
    """Every axis against the OOD score, for every group of arms whose sources have scores and were probed."""
    if axes.empty:
        return pd.DataFrame()
    roots = {unit.base: unit.root for unit in final.units}
    rows = []
    for one in found:
        by_name = measured(axes, one.start, roots.get(one.group.get("base", ""), ""))
        chosen = [
            (number, score) for number, score in enumerate(one.scores)
            if score.score is not None and score.source in by_name.index
        ]  # fmt: skip
        if len(chosen) < LEAST:
            continue
        for axis in CORRELATED:
            mean = by_name[f"{axis}_mean"].astype(float).to_dict()
            x = [mean[score.source] for _, score in chosen]
            for made in correlations(x, [float(score.score) for _, score in chosen if score.score is not None]):
                rows.append({
                    **one.group, "axis": AXES[axis], "method": made.method, "correlation": made.value,
                    "p": made.p, "smallest_p": made.smallest_p,
                    "same_sign_percent": _same_sign(made, x, one, [number for number, _ in chosen]),
                    "n_environments": made.n, "policy": str(by_name["policy"].iloc[0]),
                    "sources": ", ".join(score.source for _, score in chosen),
                })  # fmt: skip
    return pd.DataFrame(rows)


def _same_sign(made: Correlation, x: Sequence[float], one: Scored, columns: Sequence[int]) -> float | None:
    """How often redrawn tasks and runs give a correlation of the same sign. Says nothing about other environments."""
    if made.value is None or not made.value or one.draws is None or made.method != "Spearman":
        return None
    ranks = _centred(stats.rankdata(np.asarray(x)))
    drawn = one.draws[:, list(columns)]
    centred = stats.rankdata(drawn, axis=1)
    signs = (centred - centred.mean(axis=1, keepdims=True)) @ ranks
    return 100 * float((np.sign(signs) == np.sign(made.value)).mean())

