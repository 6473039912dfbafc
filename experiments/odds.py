"""Odds ratios of trained against base, as published and as the pairing of the items asks for. Pure.

Published form: one 2 × 2 table (right, wrong) × (trained, base) for each benchmark, common odds ratio by
Mantel and Haenszel with the Robins-Breslow-Greenland interval, Cochran-Mantel-Haenszel test. It takes
every sample as independent. Beside it, the items as strata: conditional logistic regression, clustered by
item, whose score test for one sample an item is McNemar's. statsmodels computes what it has.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats
from statsmodels.stats.contingency_tables import StratifiedTable

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CommonOdds:
    """Mantel-Haenszel and Cochran-Mantel-Haenszel over the strata; None where undefined."""

    ratio: float | None
    low: float | None
    high: float | None
    cmh: float | None
    p: float | None
    cmh_corrected: float | None
    p_corrected: float | None
    breslow_day: float | None
    breslow_day_p: float | None
    strata: int
    n: int


@dataclass(frozen=True)
class PairedOdds:
    """Conditional logistic regression with every item a stratum; None where undefined."""

    ratio: float | None
    low: float | None
    high: float | None
    p: float | None  # Wald, standard error clustered by item
    better: int  # items where the trained model's share of right answers is higher
    worse: int
    mcnemar_p: float | None  # exact, on better against worse


def common_odds(tables: Sequence[Sequence[Sequence[float]]], level: float = 0.95) -> CommonOdds:
    """`tables`: [[trained right, trained wrong], [base right, base wrong]] for each stratum."""
    kept = [np.asarray(t, dtype=float) for t in tables]
    kept = [t for t in kept if t.sum() > 0 and (t.sum(axis=1) > 0).all()]
    n = int(sum(t.sum() for t in kept))
    # A stratum where all are right, or all wrong, says nothing of the ratio and breaks the homogeneity test.
    informative = [t for t in kept if (t.sum(axis=0) > 0).all()]
    if not informative:
        return CommonOdds(None, None, None, None, None, None, None, None, None, len(kept), n)
    fitted = StratifiedTable([t.copy() for t in informative])
    plain, corrected = fitted.test_null_odds(correction=False), fitted.test_null_odds(correction=True)
    ratio = low = high = None
    if all(sum(t[i, 0] * t[j, 1] / t.sum() for t in informative) > 0 for i, j in ((0, 1), (1, 0))):
        ratio = float(fitted.oddsratio_pooled)
        low, high = (float(v) for v in fitted.oddsratio_pooled_confint(alpha=1 - level))
    homogeneity: tuple[float | None, float | None] = (None, None)
    if ratio is not None and len(informative) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # an empty margin: the result is checked below
            tested = fitted.test_equal_odds()
        if np.isfinite(tested.statistic):
            homogeneity = (float(tested.statistic), float(tested.pvalue))
    return CommonOdds(
        ratio, low, high, float(plain.statistic), float(plain.pvalue), float(corrected.statistic),
        float(corrected.pvalue), homogeneity[0], homogeneity[1], len(kept), n,
    )  # fmt: skip


def paired_odds(
    trained_right: Floats, trained_n: Floats, base_right: Floats, base_n: Floats, level: float = 0.95
) -> PairedOdds:
    """One entry an item: how many of its samples are right, of how many, trained and base."""
    share = trained_right / trained_n - base_right / base_n
    better, worse = int((share > 1e-12).sum()), int((share < -1e-12).sum())
    mcnemar = float(stats.binomtest(better, better + worse).pvalue) if better + worse else None
    total = trained_right + base_right
    informative = (total > 0) & (total < trained_n + base_n)
    tables = np.stack([trained_right, trained_n, base_n, total], axis=1)[informative]
    extreme_low = np.maximum(0, tables[:, 3] - tables[:, 2]).sum()
    extreme_high = np.minimum(tables[:, 1], tables[:, 3]).sum()
    if not len(tables) or tables[:, 0].sum() in (extreme_low, extreme_high):
        return PairedOdds(None, None, None, None, better, worse, mcnemar)  # no finite estimate
    patterns, inverse = np.unique(tables[:, 1:], axis=0, return_inverse=True)
    observed = tables[:, 0]

    def score(log_ratio: float) -> float:
        mean, _ = _conditional_moments(patterns, log_ratio)
        return float((observed - mean[inverse]).sum())

    root = float(optimize.brentq(score, -30, 30, xtol=1e-13, rtol=1e-14))
    mean, variance = _conditional_moments(patterns, root)
    information = float(variance[inverse].sum())
    # Every item is one stratum, so its score is the cluster's; that is what is squared.
    se = float(np.sqrt(((observed - mean[inverse]) ** 2).sum())) / information
    z = stats.norm.ppf(0.5 + level / 2)
    p = float(2 * stats.norm.sf(abs(root) / se)) if se > 0 else None
    return PairedOdds(
        float(np.exp(root)),
        float(np.exp(root - z * se)),
        float(np.exp(root + z * se)),
        p,
        better,
        worse,
        mcnemar,
    )


def _conditional_moments(patterns: Floats, log_ratio: float) -> tuple[Floats, Floats]:
    """Mean and variance of the trained model's right answers, given the item's total (Fisher's law)."""
    trained_n, base_n, total = patterns[:, 0:1], patterns[:, 1:2], patterns[:, 2:3]
    k = np.arange(int(trained_n.max()) + 1)[None, :]
    possible = (k <= np.minimum(trained_n, total)) & (k >= np.maximum(0, total - base_n))
    k_in = np.where(possible, k, np.maximum(0, total - base_n))
    logs = _log_choose(trained_n, k_in) + _log_choose(base_n, total - k_in) + k_in * log_ratio
    logs = np.where(possible, logs, -np.inf)
    weight = np.exp(logs - logs.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    mean = (weight * k).sum(axis=1)
    return mean, (weight * (k - mean[:, None]) ** 2).sum(axis=1)


def _log_choose(n: Floats, k: Floats) -> Floats:
    out: Floats = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    return out
