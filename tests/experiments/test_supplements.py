"""Published arithmetic, indices, sensitivity, trajectories, forgetting, reasoning, controls."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from experiments import transferability as ti
from experiments.bootstrap import estimate
from experiments.comparison import Comparison
from experiments.controls import base_against_base
from experiments.dynamics import forgetting
from experiments.effects import judged
from experiments.mixed import ItemCounts, item_counts, mixed_odds, negative_log_likelihood
from experiments.reasoning import ChosenTexts, Strategy, classify
from experiments.trajectory import at_steps, common_steps, trajectory_estimands
from experiments.transfer import GAP, ID, OOD, Settings, arms, average_estimands, strata
from tests.experiments.test_statistics import paired, simulate, unit

DOMAINS = ("math", "code", "knowledge")


def exact(change, items=10_000):
    """A column of items whose mean change is exactly `change` (a multiple of 1 / items)."""
    count = round(abs(change) * items)
    return np.r_[np.full(count, np.sign(change)), np.zeros(items - count)]


@pytest.mark.parametrize(
    ("inside", "outside", "gap"),
    [(3.13, -1.81, 4.94), (6.47, 1.41, 5.06), (3.96, -1.27, 5.23)],
)
def test_the_published_gap_arithmetic(inside, outside, gap):
    """From cells with the published averages, ours gives the published gap."""
    units = tuple(unit(d, 0) for d in DOMAINS)
    benchmarks = []
    for domain in DOMAINS:
        change = np.stack([exact((inside if u.train_domain == domain else outside) / 100) for u in units], axis=1)
        base = np.where(change < 0, 1.0, 0.0)
        benchmarks.append(paired(domain, domain, base + change, base))
    comparison = Comparison(units, tuple(benchmarks), ())
    found = arms(units)
    results = estimate(
        comparison, average_estimands(comparison, found, Settings(), pooled=False), strata(comparison, found),
        replicates=100,
    )  # fmt: skip
    values = {r.labels["evaluated"]: 100 * r.value for r in results if r.labels["weighting"] == "items"}
    assert values[ID] == pytest.approx(inside, abs=1e-9)
    assert values[OOD] == pytest.approx(outside, abs=1e-9)
    assert values[GAP] == pytest.approx(gap, abs=1e-9)


# Transferability Index


def test_the_index_by_hand():
    base, trained = [40.0, 70.0, 90.0], [50.0, 72.0, 91.0]
    change = np.array([10.0, 2.0, 1.0])
    spread = change.std()
    weights = np.array([60.0, 30.0, 10.0]) / 100
    assert ti.domain_index(base, trained).value == pytest.approx((weights * np.sqrt(change / spread)).sum())
    fallen = ti.domain_index(trained, base)
    assert fallen.value < 0
    assert ti.transferability(ti.Index(2.0), ti.Index(-1.0)).value == -50.0


def test_the_index_is_undefined_not_zero():
    assert ti.domain_index([50.0], [60.0]).value is None
    assert "one benchmark" in ti.domain_index([50.0], [60.0]).why
    assert ti.domain_index([50.0, 40.0], [55.0, 45.0]).value is None  # no spread
    assert ti.domain_index([100.0, 100.0], [90.0, 95.0]).value is None  # no headroom
    near = ti.transferability(ti.Index(0.05), ti.Index(1.0))
    assert near.value is None
    assert "near 0" in near.why


# Mixed effects


def test_the_likelihood_agrees_with_numerical_integration():
    counts = ItemCounts(*(np.array(v, float) for v in ([2, 0], [3, 3], [1, 0], [2, 1], [0, 1])))
    effect, sd, intercepts = 0.4, 1.3, (-0.2, 0.5)

    def item(i):
        def density(x):
            base = 1 / (1 + np.exp(-(intercepts[int(counts.stratum[i])] + sd * x)))
            trained = 1 / (1 + np.exp(-(intercepts[int(counts.stratum[i])] + sd * x + effect)))
            return (
                trained ** counts.trained[i] * (1 - trained) ** (counts.trained_n[i] - counts.trained[i])
                * base ** counts.base[i] * (1 - base) ** (counts.base_n[i] - counts.base[i]) * stats.norm.pdf(x)
            )  # fmt: skip

        return integrate.quad(density, -12, 12, epsabs=1e-13)[0]

    expected = -sum(np.log(item(i)) for i in range(2))
    value, gradient = negative_log_likelihood(np.array([effect, np.log(sd), *intercepts]), counts)
    assert value == pytest.approx(expected, abs=1e-9)
    moved, _ = negative_log_likelihood(np.array([effect + 1e-6, np.log(sd), *intercepts]), counts)
    assert (moved - value) / 1e-6 == pytest.approx(gradient[0], abs=1e-4)


def test_a_planted_odds_ratio_is_recovered_by_the_mixed_model():
    comparison = simulate(np.random.default_rng(21), seeds=2, items=2500, effect=0.8)
    fitted = mixed_odds(item_counts(comparison, arms(comparison.units)[0], [0]))
    assert fitted.low < np.exp(0.8) < fitted.high
    assert fitted.item_sd == pytest.approx(1.5, abs=0.2)


def test_the_mixed_model_is_undefined_where_nothing_varies():
    ones = np.ones(5)
    assert mixed_odds(ItemCounts(ones, ones, np.zeros(5), ones, np.zeros(5))).ratio is None


# Along training


def test_a_growing_gap_is_found_and_a_constant_one_is_not():
    rng = np.random.default_rng(22)

    def table(effects):
        units = tuple(unit(d, s, step) for d in ("math", "code") for s in range(3) for step in effects)
        benchmarks = []
        for domain in ("math", "code"):
            difficulty = rng.normal(0, 1, 600)
            base = (rng.random(600) < 1 / (1 + np.exp(-difficulty))).astype(float)
            columns = []
            for one in units:
                shift = effects[one.step] if domain in one.train_domains else 0.0
                columns.append((rng.random(600) < 1 / (1 + np.exp(-difficulty - shift))).astype(float))
            benchmarks.append(paired(domain, domain, np.stack(columns, axis=1), np.tile(base[:, None], len(units))))
        comparison = Comparison(units, tuple(benchmarks), ())
        steps = common_steps(comparison)
        kept = at_steps(comparison, steps)
        settings = Settings(replicates=300)
        group_by = ("base", "algorithm", "reward")
        made = trajectory_estimands(kept, steps, group_by, settings)
        result = judged(kept, made, arms(kept.units, group_by), settings)
        return result[(result["kind"] == "slope") & (result["evaluated"] == GAP)].iloc[0], result

    growing, everything = table({100: 0.2, 200: 0.7, 300: 1.2})
    assert growing["verdict"] == "gain"
    by_step = everything[(everything["kind"] == "step") & (everything["weighting"] == "items")]
    assert sorted(set(by_step["step"].dropna())) == [100, 200, 300]
    steps = by_step[by_step["evaluated"] == GAP].set_index("step")["delta_points"]
    fitted = np.polyfit([1.0, 2.0, 3.0], [steps[100], steps[200], steps[300]], 1)[0]
    assert growing["delta_points"] == pytest.approx(fitted, abs=1e-6)
    constant, _ = table({100: 0.8, 200: 0.8, 300: 0.8})
    assert constant["verdict"] != "gain"
    assert constant["low_points"] < 0 < constant["high_points"]


def test_steps_that_not_every_run_has_are_not_averaged():
    units = (unit("math", 0, 100), unit("math", 0, 200), unit("math", 1, 100), unit("math", 1, 150))
    assert common_steps(Comparison(units, (), ())) == [100]


# Forgetting


def test_forgetting_is_regressed_on_kl_and_clustered_by_run():
    rng = np.random.default_rng(23)
    rows = [
        {"run": f"r{r}", "kl": 0.1 * s, "outside_points": -20 * 0.1 * s + offset + rng.normal(0, 0.3)}
        for r, offset in enumerate(rng.normal(0, 0.5, 8))
        for s in range(1, 5)
    ]
    fit = forgetting(pd.DataFrame(rows))
    assert fit.low < -20 < fit.high
    assert fit.p < 0.01
    assert (fit.n_checkpoints, fit.n_runs) == (32, 8)


def test_forgetting_without_kl_or_runs_is_undefined():
    assert forgetting(pd.DataFrame()).slope is None
    few = pd.DataFrame({"run": ["a", "b"], "kl": [0.1, 0.2], "outside_points": [1.0, 2.0]})
    assert "at least" in forgetting(few).why


# Reasoning


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("So x = 3. Let me check: 3 + 4 = 7, right.", Strategy.VERIFICATION),
        ("Plugging this back into the equation gives 0.", Strategy.VERIFICATION),
        ("Wait, that can't be.", Strategy.BACKTRACKING),
        ("Let me try a different approach.", Strategy.BACKTRACKING),
        ("Step 1: find the area.\nStep 2: halve it.", Strategy.SUBGOALS),
        ("We break this down into two parts.", Strategy.SUBGOALS),
        ("Case 1: n is even. Case 2: n is odd.", Strategy.ENUMERATION),
        ("If n = 1 it fails; if n = 2 it fails; if n = 3 it works.", Strategy.ENUMERATION),
        ("def f(x):\n    return x", Strategy.CODE),
        ("By Fermat's theorem the order divides 12.", Strategy.RECALL),
        ("Guidelines recommend a beta blocker here.", Strategy.RECALL),
    ],
)
def test_kinds_of_reasoning(text, kind):
    assert kind in classify(text)


@pytest.mark.parametrize("text", ["", None, "42", "The answer is B.", "A patient waits in a check-in line."])
def test_plain_answers_show_no_kind(text):
    assert classify(text) == frozenset()


def test_a_long_completion_is_classified_quickly_and_wholly_bounded():
    """Rules that look ahead must not become quadratic on repeated text."""
    assert Strategy.BACKTRACKING in classify("wait, " * 200_000)
    classify("first we " * 100_000)
    classify("case 1 " * 100_000)
    classify("if n = 1 " * 100_000)


def test_the_same_items_are_classified_for_every_model():
    items = [f"i{n}" for n in range(50)]

    def kept(order, limit):
        texts = ChosenTexts(limit)
        for item in order:
            texts.offer(item, 0, "wait, no")
            texts.offer(item, 0, "42")  # the later record of a sample counts
            texts.offer(item, 1, None)
        return texts.classified(classify)

    assert kept(items, 10) == kept(reversed(items), 10)
    assert set(kept(items, 10).values()) == {""}
    assert len(kept(items, 10)) == 10
    assert len(kept(items, 100)) == 50
    assert kept(items, 0) == {}


# Negative controls


def test_the_base_is_split_into_two_answers_of_the_same_items():
    frame = pd.DataFrame({
        "arm": "base", "finished": True, "model": "m", "evaluation_seed": 0, "sample": [0, 1, 0, 1],
        "item": ["a", "a", "b", "b"], "value": [1.0, 0.0, 1.0, 1.0],
    })  # fmt: skip
    doubled = base_against_base(frame)
    assert sorted(doubled["arm"]) == ["base", "base", "trained", "trained"]
    assert doubled.loc[doubled["arm"] == "trained", "value"].tolist() == [0.0, 1.0]
    assert base_against_base(frame[frame["sample"] == 0]).empty
