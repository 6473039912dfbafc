"""Mixed-effects logistic regression as a sensitivity analysis: every item has a random intercept. Pure.

logit P(right) = benchmark + item + β·trained, item ~ N(0, σ²), by maximum likelihood; the item is integrated out
by Gauss-Hermite quadrature. (statsmodels offers variational Bayes only, whose intervals are too narrow and
which takes minutes for 1,500 items.) Runs are pooled: the spread over seeds is the bootstrap's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from experiments.comparison import Comparison, Floats
from experiments.transfer import Arm

_X, _W = np.polynomial.hermite.hermgauss(81)
NODES: Floats = np.sqrt(2) * _X
LOG_WEIGHTS: Floats = np.log(_W) - 0.5 * np.log(np.pi)


@dataclass(frozen=True)
class MixedOdds:
    """The odds ratio of trained against base for a given item; None, and why, where it cannot be fitted."""

    ratio: float | None
    low: float | None
    high: float | None
    p: float | None
    item_sd: float | None
    n_items: int
    why: str = ""


@dataclass(frozen=True)
class ItemCounts:
    """One entry an item: right answers and samples, trained (all runs) and base, and its benchmark's number."""

    trained: Floats
    trained_n: Floats
    base: Floats
    base_n: Floats
    stratum: Floats


def item_counts(comparison: Comparison, arm: Arm, benchmarks: Sequence[int]) -> ItemCounts | None:
    """The counts of the items that every run of the arm and the base answered; None for partial scores."""
    units = list(arm.units)
    parts = []
    for number, index in enumerate(benchmarks):
        one = comparison.benchmarks[index]
        rows = one.mask[:, units].all(axis=1)
        right, count = one.trained_sum[rows][:, units].sum(axis=1), one.trained_count[rows][:, units].sum(axis=1)
        base, base_n = one.control_sum[rows, units[0]], one.control_count[rows, units[0]]
        parts.append(np.stack([right, count, base, base_n, np.full(rows.sum(), float(number))]))
    together = np.concatenate(parts, axis=1) if parts else np.zeros((5, 0))
    if not together.shape[1] or np.mod(together[[0, 2]], 1).any():
        return None
    return ItemCounts(*together)


def mixed_odds(counts: ItemCounts, level: float = 0.95) -> MixedOdds:
    """Fit by maximum likelihood; Wald interval from the observed information."""
    n = len(counts.trained)
    for right, of in ((counts.trained, counts.trained_n), (counts.base, counts.base_n)):
        if right.sum() in (0, of.sum()):
            return MixedOdds(None, None, None, None, None, n, "all right or all wrong")
    strata = int(counts.stratum.max()) + 1
    start = np.zeros(strata + 2)
    fitted = optimize.minimize(negative_log_likelihood, start, args=(counts,), jac=True, method="BFGS",
                               options={"gtol": 1e-5 * n**0.5, "maxiter": 200})  # fmt: skip
    curvature = _curvature(fitted.x, counts)
    if not np.isfinite(fitted.fun) or np.linalg.eigvalsh(curvature).min() <= 0 or np.abs(fitted.x).max() > 20:
        return MixedOdds(None, None, None, None, None, n, "the likelihood has no clear maximum")
    effect, se = float(fitted.x[0]), float(np.sqrt(np.linalg.inv(curvature)[0, 0]))
    z = float(stats.norm.ppf(0.5 + level / 2))
    low, middle, high = (float(np.exp(effect + side * z * se)) for side in (-1, 0, 1))
    return MixedOdds(middle, low, high, float(2 * stats.norm.sf(abs(effect) / se)), float(np.exp(fitted.x[1])), n)


def negative_log_likelihood(parameters: Floats, counts: ItemCounts) -> tuple[float, Floats]:
    """Of (β, log σ, one intercept a benchmark), with its gradient."""
    effect, sd = parameters[0], np.exp(parameters[1])
    stratum = counts.stratum.astype(int)
    base = parameters[2:][stratum][:, None] + sd * NODES[None, :]
    trained = base + effect
    t, tn, b, bn = (v[:, None] for v in (counts.trained, counts.trained_n, counts.base, counts.base_n))
    logs = t * trained - tn * np.logaddexp(0, trained) + b * base - bn * np.logaddexp(0, base) + LOG_WEIGHTS
    total = special.logsumexp(logs, axis=1)
    posterior = np.exp(logs - total[:, None])
    from_trained = posterior * (t - tn * special.expit(trained))
    both = from_trained + posterior * (b - bn * special.expit(base))
    intercepts = np.bincount(stratum, weights=both.sum(axis=1), minlength=len(parameters) - 2)
    gradient = np.concatenate([[from_trained.sum(), (both * NODES * sd).sum()], intercepts])
    return -float(total.sum()), -gradient


def _curvature(parameters: Floats, counts: ItemCounts) -> Floats:
    """Second derivatives, by central differences of the exact gradient."""
    step = 1e-4
    rows = []
    for index in range(len(parameters)):
        move = np.zeros(len(parameters))
        move[index] = step
        above = negative_log_likelihood(parameters + move, counts)[1]
        below = negative_log_likelihood(parameters - move, counts)[1]
        rows.append((above - below) / (2 * step))
    matrix = np.array(rows)
    return np.asarray((matrix + matrix.T) / 2)
