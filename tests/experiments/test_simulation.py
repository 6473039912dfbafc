"""False positives and power of the whole chain, by simulated studies whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.bootstrap import estimate
from experiments.comparison import Comparison
from experiments.effects import judged
from experiments.power import adjust
from experiments.transfer import ID, OOD, Settings, arm_estimands, arms, average_estimands, strata
from tests.experiments.test_statistics import paired, unit

DOMAINS = ("math", "code", "knowledge")


def study(rng, *, seeds, items, seed_sd, effect=0.0, samples=1):
    """Three arms of `seeds` runs on three benchmarks. `effect` is added to the chance inside the domain."""
    units = tuple(unit(d, s) for d in DOMAINS for s in range(seeds))
    benchmarks = []
    for domain in DOMAINS:
        chance = rng.beta(1.5, 1.5, items) * 0.7 + 0.1
        base = rng.binomial(samples, chance) / samples
        columns = []
        for one in units:
            shift = rng.normal(0, seed_sd) + (effect if domain in one.train_domains else 0.0)
            columns.append(rng.binomial(samples, np.clip(chance + shift, 0, 1)) / samples)
        control = np.repeat(base[:, None], len(units), axis=1)
        benchmarks.append(paired(f"{domain}-b", domain, np.stack(columns, axis=1), control))
    return Comparison(units, tuple(benchmarks), ())


def run(comparison, replicates=200):
    settings = Settings(replicates=replicates)
    found = arms(comparison.units)
    estimands = [
        e
        for e in [
            *arm_estimands(comparison, found, settings),
            *average_estimands(comparison, found, settings, pooled=False),
        ]
        if e.labels["kind"] in ("cell", "average") and e.labels["weighting"] == "items"
    ]
    return estimate(comparison, estimands, strata(comparison, found), replicates=replicates)


def false_positives(studies, **kind):
    """(share of cells with p < 0.05, share of studies with any after Holm, of intervals without 0, of averages)."""
    rng = np.random.default_rng(11)
    single, anywhere, intervals, averages = [], [], [], []
    for _ in range(studies):
        results = run(study(rng, **kind))
        cells = [r for r in results if r.labels["kind"] == "cell"]
        single += [r.p < 0.05 for r in cells]
        anywhere.append(min(adjust([r.p for r in cells], "holm")) < 0.05)
        intervals += [not r.low <= 0 <= r.high for r in cells]
        averages += [r.p < 0.05 for r in results if r.labels["kind"] == "average"]
    return [float(np.mean(v)) for v in (single, anywhere, intervals, averages)]


def nominal(studies, per_study=1):
    """0.05 and three standard errors, cells of a study taken as one because they share items."""
    return 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies)


def test_null_studies_are_rarely_called_changes():
    rates = false_positives(100, seeds=2, items=80, seed_sd=0.05)
    assert max(rates) <= nominal(100)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        {"seeds": 1, "items": 100, "seed_sd": 0.0},
        {"seeds": 2, "items": 100, "seed_sd": 0.0},
        {"seeds": 2, "items": 100, "seed_sd": 0.10},
        {"seeds": 3, "items": 100, "seed_sd": 0.05},
        {"seeds": 5, "items": 100, "seed_sd": 0.10},
        {"seeds": 3, "items": 30, "seed_sd": 0.05, "samples": 16},
    ],
    ids=lambda kind: " ".join(f"{k}={v}" for k, v in kind.items()),
)
def test_a_thousand_null_studies_stay_within_the_nominal_level(kind):
    single, anywhere, intervals, averages = false_positives(1000, **kind)
    print(f"{kind}: cells {single:.3f}, after Holm {anywhere:.3f}, intervals {intervals:.3f}, averages {averages:.3f}")
    assert single <= nominal(1000)
    assert anywhere <= nominal(1000)
    assert intervals <= nominal(1000) + 0.01  # 200 replicates: the endpoints are themselves random
    assert averages <= nominal(1000)


def power_at_the_detectable_change(studies, *, seeds, items, seed_sd):
    """How often a change of just the stated detectable size is found."""
    rng = np.random.default_rng(12)
    settings = Settings(replicates=100)
    sizes = []
    for _ in range(20):
        null = study(rng, seeds=seeds, items=items, seed_sd=seed_sd)
        table = judged(
            null, average_estimands(null, arms(null.units), settings, pooled=False), arms(null.units), settings
        )
        sizes.append(table[(table["evaluated"] == ID) & (table["weighting"] == "items")]["detectable_points"].iloc[0])
    effect = float(np.median(sizes)) / 100
    found = [
        next(r for r in run(study(rng, seeds=seeds, items=items, seed_sd=seed_sd, effect=effect), 100)
             if r.labels["kind"] == "average" and r.labels["evaluated"] == ID).p < 0.05
        for _ in range(studies)
    ]  # fmt: skip
    return effect, float(np.mean(found))


def test_a_planted_change_of_the_detectable_size_is_found_with_the_stated_power():
    effect, power = power_at_the_detectable_change(40, seeds=3, items=150, seed_sd=0.02)
    assert 0.01 < effect < 0.2
    assert power >= 0.8 - 3 * np.sqrt(0.8 * 0.2 / 40)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_power_over_many_studies(seeds):
    effect, power = power_at_the_detectable_change(500, seeds=seeds, items=200, seed_sd=0.03)
    print(f"{seeds} seeds: {100 * effect:.1f} points found in {100 * power:.0f} % of 500 studies (stated: 80 %)")
    assert power >= 0.8 - 3 * np.sqrt(0.8 * 0.2 / 500)


def test_no_transfer_is_shown_by_equivalence_where_the_data_suffice():
    """Large and quiet: outside the domain nothing happens, and the report can say so."""
    rng = np.random.default_rng(13)
    comparison = study(rng, seeds=5, items=4000, seed_sd=0.0, effect=0.1)
    settings = Settings(replicates=200, margin_points=4)
    found = arms(comparison.units)
    table = judged(comparison, average_estimands(comparison, found, settings, pooled=False), found, settings)
    table = table[table["weighting"] == "items"].set_index("evaluated")
    assert table.loc[ID, "verdict"] == "gain"
    assert table.loc[OOD, "verdict"] == "no change beyond the margin"
