"""Statistics against the same quantities by other means: hand arithmetic, statsmodels, simulation."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.discrete.conditional_models import ConditionalLogit
from statsmodels.stats.contingency_tables import StratifiedTable
from statsmodels.stats.weightstats import DescrStatsW

from experiments.bootstrap import Counts, Estimand, Estimate, estimate
from experiments.comparison import Comparison, Paired, Unit
from experiments.odds import common_odds, paired_odds
from experiments.power import Verdict, adjust, equivalence_p, needed, verdict
from experiments.transfer import GAP, ID, OOD, Settings, arm_estimands, arms, average_estimands, strata
from manager.errors import UserError


def unit(domain="math", seed=0, step=100, **other):
    values = {
        "model": f"{domain}-{seed}-{step}", "name": "m", "base": "b", "run": f"{domain}-{seed}",
        "train_domain": domain, "train_domains": (domain,), "train_subdomains": (), "algorithm": "grpo",
        "reward": "correct", "seed": seed, "step": step, "stages": 1,
    }  # fmt: skip
    return Unit(**values | other)


def paired(name, domain, trained, control, n_trained=1, n_control=1, subdomain=""):
    """trained and control: items × units of right answers; NaN where there is none."""
    trained, control = np.atleast_2d(np.asarray(trained, float)), np.atleast_2d(np.asarray(control, float))
    known, known_base = np.isfinite(trained), np.isfinite(control)
    return Paired(
        name, domain, subdomain, tuple(map(str, range(len(trained)))),
        np.where(known, trained, 0), known * float(n_trained),
        np.where(known_base, control, 0), known_base * float(n_control), ("c",) * trained.shape[1],
    )  # fmt: skip


def simulate(rng, *, seeds=3, items=200, effect=0.0, seed_sd=0.0, domains=("math", "code"), train=("math",)):
    units = [unit(d, s) for d in train for s in range(seeds)]
    benchmarks = []
    for domain in domains:
        difficulty = rng.normal(0, 1.5, items)
        base = (rng.random(items) < 1 / (1 + np.exp(-difficulty))).astype(float)
        columns = []
        for one in units:
            shift = rng.normal(0, seed_sd) + (effect if domain in one.train_domains else 0)
            columns.append((rng.random(items) < 1 / (1 + np.exp(-difficulty - shift))).astype(float))
        control = np.repeat(base[:, None], len(units), axis=1)
        benchmarks.append(paired(f"{domain}-b", domain, np.stack(columns, axis=1), control))
    return Comparison(tuple(units), tuple(benchmarks), ())


# Odds ratios


TABLES = [[[30, 20], [22, 28]], [[10, 90], [4, 96]], [[45, 5], [40, 10]]]


def test_common_odds_agree_with_statsmodels_and_with_the_formula():
    ours, theirs = common_odds(TABLES), StratifiedTable([np.array(t, float) for t in TABLES])
    a, b, c, d = (np.array([t[i][j] for t in TABLES], float) for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
    n = a + b + c + d
    assert ours.ratio == pytest.approx((a * d / n).sum() / (b * c / n).sum(), abs=1e-12)
    assert ours.ratio == pytest.approx(theirs.oddsratio_pooled, abs=1e-9)
    p, q, r, s = (a + d) / n, (b + c) / n, a * d / n, b * c / n
    variance = (
        (p * r).sum() / (2 * r.sum() ** 2)
        + (p * s + q * r).sum() / (2 * r.sum() * s.sum())
        + (q * s).sum() / (2 * s.sum() ** 2)
    )
    assert ours.low == pytest.approx(ours.ratio * np.exp(-1.959963984540054 * np.sqrt(variance)), abs=1e-9)
    assert ours.high == pytest.approx(ours.ratio * np.exp(1.959963984540054 * np.sqrt(variance)), abs=1e-9)
    expected = (a + b) * (a + c) / n
    spread = (a + b) * (c + d) * (a + c) * (b + d) / (n**2 * (n - 1))
    deviation = abs((a - expected).sum())
    assert ours.cmh == pytest.approx(deviation**2 / spread.sum(), abs=1e-9)
    assert ours.cmh_corrected == pytest.approx((deviation - 0.5) ** 2 / spread.sum(), abs=1e-9)
    assert ours.breslow_day == pytest.approx(theirs.test_equal_odds().statistic, abs=1e-9)


def test_common_odds_are_undefined_not_zero_or_one():
    assert common_odds([]).ratio is None
    assert common_odds([[[5, 0], [5, 0]]]).ratio is None
    assert common_odds([[[5, 5], [0, 10]]]).ratio is None  # infinite
    assert common_odds([[[5, 5], [0, 10]]]).p is not None  # but the test exists
    assert common_odds([[[5, 5], [0, 0]], [[3, 2], [2, 3]]]).strata == 1  # a stratum without a base


def test_paired_odds_of_single_samples_are_mcnemars():
    rng = np.random.default_rng(1)
    trained, base = (rng.random(300) < 0.6).astype(float), (rng.random(300) < 0.5).astype(float)
    one = np.ones(300)
    ours = paired_odds(trained, one, base, one)
    better, worse = int(((trained == 1) & (base == 0)).sum()), int(((trained == 0) & (base == 1)).sum())
    assert (ours.better, ours.worse) == (better, worse)
    assert ours.ratio == pytest.approx(better / worse, abs=1e-9)
    table = [[0, better], [worse, 0]]
    exact = sm.stats.mcnemar(np.array(table), exact=True).pvalue
    assert ours.mcnemar_p == pytest.approx(exact, abs=1e-9)


def test_paired_odds_with_repeated_samples_agree_with_conditional_logit():
    rng = np.random.default_rng(2)
    items, n = 25, 4
    difficulty = rng.normal(0, 1, items)
    trained = rng.binomial(n, 1 / (1 + np.exp(-difficulty - 0.7))).astype(float)
    base = rng.binomial(n, 1 / (1 + np.exp(-difficulty))).astype(float)
    rows = []
    for i in range(items):
        rows += [(i, 1, k < trained[i]) for k in range(n)] + [(i, 0, k < base[i]) for k in range(n)]
    frame = pd.DataFrame(rows, columns=["item", "arm", "right"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # items without variation carry no information
        fitted = ConditionalLogit(frame["right"].astype(float), frame[["arm"]].astype(float), groups=frame["item"]).fit(
            method="newton", maxiter=100, tol=1e-13, disp=False
        )
    ours = paired_odds(trained, np.full(items, n, float), base, np.full(items, n, float))
    assert np.log(ours.ratio) == pytest.approx(float(fitted.params.iloc[0]), abs=1e-9)


def test_paired_odds_without_discordance_are_undefined():
    one = np.ones(4)
    assert paired_odds(np.array([1.0, 1, 0, 0]), one, np.array([1.0, 1, 0, 0]), one).ratio is None
    assert paired_odds(one, one, np.zeros(4), one).ratio is None  # infinite


def test_repeated_samples_do_not_make_the_interval_narrower_than_the_items_allow():
    """16 copies of the same answer are one answer: the clustered interval does not shrink."""
    rng = np.random.default_rng(3)
    trained, base = (rng.random(60) < 0.6).astype(float), (rng.random(60) < 0.45).astype(float)
    one, many = np.ones(60), np.full(60, 16.0)
    single = paired_odds(trained, one, base, one)
    copied = paired_odds(trained * 16, many, base * 16, many)
    assert copied.p > 0.25 * single.p
    naive = common_odds([[[trained.sum() * 16, (1 - trained).sum() * 16], [base.sum() * 16, (1 - base).sum() * 16]]])
    assert naive.p < copied.p


# Changes, weights, averages


def test_change_on_a_domain_is_weighted_by_items_or_equally():
    big = paired("big", "math", np.r_[np.ones(3), np.zeros(7)][:, None], np.zeros((10, 1)))
    small = paired("small", "math", np.ones((2, 1)), np.zeros((2, 1)))
    comparison = Comparison((unit(),), (big, small), ())
    found = arms(comparison.units)
    results = estimate(comparison, arm_estimands(comparison, found, Settings()), [found[0].key], replicates=100)
    cells = {r.labels["weighting"]: r.value for r in results if r.labels["kind"] == "cell"}
    assert cells["items"] == pytest.approx((3 + 2) / 12)
    assert cells["benchmarks"] == pytest.approx((0.3 + 1.0) / 2)


def test_pass_at_1_is_the_mean_over_items_of_the_mean_over_samples():
    trained = Paired("b", "math", "", ("0", "1"), np.array([[8.0], [1.0]]), np.array([[16.0], [1.0]]),
                     np.zeros((2, 1)), np.ones((2, 1)), ("c",))  # fmt: skip
    assert trained.rate("trained")[0] == pytest.approx(0.75)
    assert trained.delta[0] == pytest.approx(0.75)


def test_gap_is_inside_minus_outside_and_missing_cells_stay_missing():
    rng = np.random.default_rng(4)
    comparison = simulate(rng, train=("math", "code"))
    found = arms(comparison.units)
    estimands = average_estimands(comparison, found, Settings(), pooled=False)
    values = {
        e.labels["evaluated"]: e.value
        for e in estimate(comparison, estimands, strata(comparison, found), replicates=100)
        if e.labels["weighting"] == "items"
    }
    assert values[GAP] == pytest.approx(values[ID] - values[OOD])
    only_math = Comparison(comparison.units, comparison.benchmarks[:1], ())
    results = estimate(
        only_math, arm_estimands(only_math, found, Settings()), strata(comparison, found), replicates=100
    )
    code = [r for r in results if r.labels["train_domain"] == "math" and r.labels["evaluated"] == OOD]
    assert code
    assert all(r.value is None and r.low is None and r.p is None for r in code)


def test_a_benchmark_that_one_seed_lacks_is_left_out_for_the_whole_arm():
    full = paired("full", "math", [[1, 0], [1, 1]], [[0, 0], [1, 1]])
    part = paired("part", "math", [[1, np.nan], [1, np.nan]], [[0, 0], [0, 0]])
    comparison = Comparison((unit(seed=0), unit(seed=1)), (full, part), ())
    found = arms(comparison.units)
    results = estimate(comparison, arm_estimands(comparison, found, Settings()), ["a", "a"], replicates=100)
    cell = next(r for r in results if r.labels["kind"] == "cell")
    assert cell.value == pytest.approx(0.25)
    assert cell.counts == Counts(items=2, samples=4, seeds=2, benchmarks=1)


def test_subdomain_as_the_unit_of_in_domain():
    law = paired("law", "knowledge", [[1]], [[0]], subdomain="law")
    medicine = paired("med", "knowledge", [[0]], [[0]], subdomain="medicine")
    trained = unit("knowledge", train_subdomains=("law",))
    comparison = Comparison((trained,), (law, medicine), ())
    found = arms(comparison.units)

    def inside(unit_of):
        made = arm_estimands(comparison, found, Settings(in_domain=unit_of))
        return next(e for e in made if e.labels["kind"] == "arm" and e.labels["evaluated"] == ID).weights

    assert (inside("domain") > 0).tolist() == [[True, True]]
    assert (inside("subdomain") > 0).tolist() == [[True, False]]


# Uncertainty


def test_item_interval_agrees_with_the_paired_t_interval():
    """With one run the bootstrap is that of a paired difference of means."""
    comparison = simulate(np.random.default_rng(5), seeds=1, items=400, effect=0.8)
    weights = np.array([[1.0, 0.0]])
    result = estimate(comparison, [Estimand({}, weights)], ["a"], replicates=20_000, added=0)[0]
    described = DescrStatsW(comparison.benchmarks[0].difference[:, 0])
    low, high = described.tconfint_mean()
    assert result.se == pytest.approx(described.std_mean, abs=1e-9)
    assert result.p == pytest.approx(described.ttest_mean()[1], abs=1e-9)
    assert result.low == pytest.approx(low, abs=0.006)
    assert result.high == pytest.approx(high, abs=0.006)
    assert not result.seeds_resampled


def test_seeds_widen_the_interval_and_few_seeds_widen_it_more():
    rng = np.random.default_rng(6)
    widths = {}
    for k in (2, 8):
        comparison = simulate(rng, seeds=k, items=1000, seed_sd=0.5, train=("math", "code", "knowledge"))
        found = arms(comparison.units)
        weights = np.zeros((3 * k, 2))
        weights[:k, 0] = 1 / k
        result = estimate(comparison, [Estimand({}, weights)], strata(comparison, found), replicates=2000)[0]
        assert result.var_seeds > result.var_items
        assert result.seeds_resampled
        widths[k] = result.high - result.low
        apart = [str(i) for i in range(3 * k)]
        items_only = estimate(comparison, [Estimand({}, weights)], apart, replicates=2000)[0]
        assert not items_only.seeds_resampled
        assert items_only.high - items_only.low < widths[k]
    assert widths[2] > 1.5 * widths[8]


def test_two_runs_that_agree_by_chance_borrow_the_spread_of_other_arms():
    same = np.r_[np.ones(50), np.zeros(50)]
    columns = [same, same, np.ones(100), np.zeros(100)]
    units = (unit("math", 0), unit("math", 1), unit("code", 0), unit("code", 1))
    one = paired("b", "math", np.stack(columns, axis=1), np.tile(np.r_[np.ones(40), np.zeros(60)][:, None], 4))
    comparison = Comparison(units, (one,), ())
    weights = np.array([[0.5], [0.5], [0.0], [0.0]])
    result = estimate(comparison, [Estimand({}, weights)], ["m", "m", "c", "c"], replicates=500)[0]
    assert result.var_seeds == pytest.approx(np.var([1.0, 0.0], ddof=1) / 2 / 2)  # the mean of 0 and 0.5, over k


def test_the_same_seed_gives_the_same_interval():
    comparison = simulate(np.random.default_rng(7))
    estimand = Estimand({}, np.repeat([[1 / 3, 0.0]], 3, axis=0))
    one, two, other = (estimate(comparison, [estimand], ["a"] * 3, replicates=500, seed=s)[0] for s in (1, 1, 2))
    assert (one.low, one.high) == (two.low, two.high)
    assert (one.low, one.high) != (other.low, other.high)


def test_masked_items_count_neither_in_sum_nor_in_number():
    rng = np.random.default_rng(8)
    values = (rng.random((300, 1)) < 0.5).astype(float)
    holes = values.copy()
    holes[200:] = np.nan
    whole = Comparison((unit(),), (paired("b", "math", values[:200], np.zeros((200, 1))),), ())
    masked = Comparison((unit(),), (paired("b", "math", holes, np.zeros((300, 1))),), ())
    estimand = Estimand({}, np.ones((1, 1)))
    one, two = (estimate(c, [estimand], ["a"], replicates=4000)[0] for c in (whole, masked))
    assert one.value == two.value
    assert one.se == pytest.approx(two.se)
    assert two.high - two.low == pytest.approx(one.high - one.low, rel=0.1)


def test_a_single_item_gives_no_interval():
    one = Comparison((unit(),), (paired("b", "math", [[1]], [[0]]),), ())
    result = estimate(one, [Estimand({}, np.ones((1, 1)))], ["a"], replicates=100)[0]
    assert result.value == 1.0
    assert result.low is None
    assert result.p is None


def test_answers_that_all_agree_do_not_prove_that_nothing_changed():
    """60 items of which none changed leave room for a change of several points; 6,000 do not."""
    for items, least, most in ((60, 2.0, 8.0), (6000, 0.01, 0.2)):
        same = np.tile([[1.0], [0.0]], (items // 2, 1))
        comparison = Comparison((unit(),), (paired("b", "math", same, same),), ())
        result = estimate(comparison, [Estimand({}, np.ones((1, 1)))], ["a"], replicates=2000)[0]
        assert result.value == 0.0
        assert least < 100 * result.high < most
        assert least < -100 * result.low < most
        assert result.p == 1.0


# Tests over families, equivalence, power


def test_adjusted_p_agree_with_hand_arithmetic():
    values = [0.01, None, 0.04, 0.03]
    assert adjust(values, "holm") == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    assert adjust(values, "fdr_bh") == [pytest.approx(0.03), None, pytest.approx(0.04), pytest.approx(0.04)]
    assert adjust([None], "holm") == [None]


@pytest.mark.parametrize("method", ["holm", "fdr_bh"])
def test_adjusted_p_agree_with_statsmodels(method):
    values = list(np.random.default_rng(10).random(40) ** 3)
    theirs = sm.stats.multipletests(values, method=method)[1]
    assert adjust(values, method) == pytest.approx(list(theirs), abs=1e-12)


def test_equivalence_agrees_with_statsmodels():
    comparison = simulate(np.random.default_rng(9), seeds=1, items=900)
    result = estimate(comparison, [Estimand({}, np.array([[1.0, 0.0]]))], ["a"], replicates=200, added=0)[0]
    difference = comparison.benchmarks[0].difference[:, 0]
    theirs = sm.stats.ttost_paired(difference, np.zeros(900), -0.05, 0.05)[0]
    assert equivalence_p(result, 0.05) == pytest.approx(theirs, abs=1e-9)


def test_a_large_p_is_undecided_unless_equivalence_is_shown():
    wide = Estimate({}, 0.001, low=-0.1, high=0.1, se=0.05, df=100, p=0.98)
    tight = Estimate({}, 0.001, low=-0.004, high=0.006, se=0.0025, df=100, p=0.69)
    assert verdict(wide, wide.p, equivalence_p(wide, 0.02), 0.95) == Verdict.OPEN
    assert verdict(tight, tight.p, equivalence_p(tight, 0.02), 0.95) == Verdict.EQUIVALENT
    assert verdict(Estimate({}, 0.1, se=0.01, df=50, p=0.001), 0.001, 1.0, 0.95) == Verdict.GAIN
    assert verdict(Estimate({}, None), None, None, 0.95) == Verdict.UNKNOWN


def test_needed_seeds_and_items_are_enough_when_had():
    base = {"value": 0.0, "low": -0.1, "high": 0.1, "p": 1.0, "seeds_resampled": True}
    seeds_rule = Estimate({}, se=np.sqrt(0.0002 + 0.0001), df=5, var_items=0.0001, var_seeds=0.0002,
                          counts=Counts(500, 1500, 3, 1), **base)  # fmt: skip
    more = needed(seeds_rule, target=0.04)
    assert more.seeds is not None
    assert more.seeds > 3
    k = more.seeds
    spread = 0.0002 * 3 / k
    then = Estimate({}, se=np.sqrt(spread + 0.0001), df=1000, var_items=0.0001, var_seeds=spread,
                    counts=Counts(500, 500 * k, k, 1), **base)  # fmt: skip
    assert needed(then, target=0.04).detectable <= 0.04
    assert needed(seeds_rule, target=0.02).items_factor is None  # seeds alone are already too noisy


def test_settings_tell_what_is_valid():
    with pytest.raises(UserError, match=r"unknown key 'weigting'; valid are .*weighting"):
        Settings.of({"weigting": "items"})
    with pytest.raises(UserError, match="valid are domain, subdomain"):
        Settings.of({"in_domain": "x"})
    with pytest.raises(UserError, match="replicates"):
        Settings.of({"replicates": "many"})
    assert Settings.of({"margin_points": 3}).margin_points == 3
