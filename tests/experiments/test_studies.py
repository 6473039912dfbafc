"""Every study makes its report from a sweep of its own shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from experiments import report, study
from experiments.analysis import analyse
from experiments.catalog import load
from experiments.findings import findings
from experiments.outcomes import source, table
from experiments.pairs import catalogue_pairs, pairs_of
from experiments.transfer import Settings
from manager.errors import UserError
from manager.job import Job, Kind, Sweep
from tests.experiments.synthetic import Plan, Writer, evaluate_job, rl_job, write

STUDIES = ("algorithms", "cascade", "interventional", "longitudinal", "observational", "rewards", "scale")
TWO_EACH = {"math": ("gsm8k", "math500"), "code": ("mbpp", "humaneval"), "knowledge": ("medqa", "pubmedqa")}


def test_the_studies_are_those_that_sweeps_may_name():
    assert set(STUDIES) <= set(study.names())
    assert set(load().studies) <= set(study.names())
    for name in study.names():
        assert study.get(name).name == name


@dataclass(frozen=True)
class Judged:
    """What a report would say, without drawing it."""

    tables: Mapping[str, pd.DataFrame]
    findings: list[str]


def judged(store, name):
    made = source(store, name)
    settings = Settings.of({k: v for k, v in made.settings.items() if k != "pairs"})
    analysis = analyse(made, table(made), study.get(made.study), settings)
    return Judged(analysis.tables, findings(analysis))


def finish(writer, name, study_name, settings=None):
    evaluations = tuple(e.job.id for e in writer.entries if e.job.kind == Kind.EVALUATE)
    config = {"study": study_name, "settings": {"replicates": 300, **(settings or {})},
              "inputs": [{"stage": "evaluate", "needs": list(range(len(evaluations)))}]}  # fmt: skip
    writer.add("report", {}, Job(Kind.REPORT, config, evaluations), None)
    writer.store.write_sweep(Sweep(name, study_name, tuple(writer.entries), {}, ""))
    return writer.store


def test_observational(tmp_path):
    """Published models by their catalogue names, bases evaluated once, one pair with two domains."""
    writer = Writer(tmp_path / "s", Plan(domains=TWO_EACH, items=60))
    chosen = ["deepscaler-1.5b-preview", "open-rs3", "deepcoder-1.5b-preview", "skywork-or1-7b", "fino1-8b"]
    pairs = {pair.model: pair for pair in catalogue_pairs()}
    bases = {pairs[name].base for name in chosen}
    for base in bases:
        for names in TWO_EACH.values():
            for b in names:
                writer.difficulty[base, b] = writer.rng.normal(0, 1.5, 60)
        job = evaluate_job(writer.plan, {"name": base, "hub": f"org/{base}", "revision": None}, ())
        writer.add("baseline", {"model": base}, job, {})
        writer.outcomes(job, base, {})
    for name in chosen:
        job = evaluate_job(writer.plan, {"name": name, "hub": f"org/{name}", "revision": None}, ())
        writer.add("evaluate", {"model": name}, job, {})
        writer.outcomes(job, pairs[name].base, dict.fromkeys(pairs[name].domains, 1.2))
    result = judged(finish(writer, "observed", "observational"), "observed")
    average = result.tables["effects"].query("kind == 'average' and weighting == 'items'").set_index("evaluated")
    assert average.loc["in-domain", "n_seeds"] == 5
    assert average.loc["gap", "verdict"] == "gain"
    assert average.loc["in-domain", "seeds_resampled"]
    assert set(result.tables["pairs"]["model"]) == set(chosen)
    assert result.tables["pairs"]["provenance"].str.contains("inferred").any()
    assert any("over 5 models" in sentence for sentence in result.findings)
    cells = result.tables["effects"].query("kind == 'cell' and name == 'skywork-or1-7b' and weighting == 'items'")
    assert cells.set_index("evaluated")["in_domain"].to_dict() == {"math": True, "code": True, "knowledge": False}


def test_pairs_of_ones_own_are_added_in_the_settings():
    own = {"model": "mine", "base": "llama-3.1-8b-instruct", "domains": ["math"]}
    assert any(pair.model == "mine" for pair in pairs_of({"pairs": [own]}))
    with pytest.raises(UserError, match="domains are needed"):
        pairs_of({"pairs": [{"model": "mine", "base": "b"}]})


def test_longitudinal(tmp_path):
    plan = Plan(items=150, steps=(50, 100, 150), inside=1.6, seeds=(0, 1, 2), kl=True, study="longitudinal")
    result = report.build(write(tmp_path / "s", plan), "synthetic", tmp_path / "r")
    assert "trajectory" in result.figures
    assert "forgetting" in result.figures
    assert any("the gap between inside and outside grows" in sentence for sentence in result.findings)
    assert any("KL to the base" in sentence for sentence in result.findings)


def test_algorithms(tmp_path):
    plan = Plan(items=60, algorithms=("grpo", "dapo", "dr_grpo"), study="algorithms")
    result = judged(write(tmp_path / "s", plan), "synthetic")
    contrasts = result.tables["contrasts"]
    assert set(contrasts["level"]) == {"dapo", "dr_grpo"}
    assert set(contrasts["reference"]) == {"grpo"}
    effects = result.tables["effects"].query("kind == 'average' and weighting == 'items' and evaluated == 'gap'")
    by_algorithm = effects.set_index("algorithm")["delta_points"]
    gap = contrasts.query("evaluated == 'gap'").set_index("level")["delta_points"]
    assert gap["dapo"] == pytest.approx(by_algorithm["dapo"] - by_algorithm["grpo"])


def test_rewards(tmp_path):
    """A random reward is the placebo: the right one beats it inside the domain."""
    writer = Writer(tmp_path / "s", Plan(items=200))
    base = {"name": "b", "hub": "org/b", "revision": "1"}
    for names in writer.plan.domains.values():
        for b in names:
            writer.difficulty["b", b] = writer.rng.normal(0, 1.5, 200)
    first = evaluate_job(writer.plan, base, ())
    writer.add("baseline", {}, first, {})
    writer.outcomes(first, "b", {})
    for reward, effect in ((None, 1.5), ({"name": "random"}, 0.0)):
        for seed in (0, 1, 2):
            job = rl_job(writer.plan, base, (), "math", seed, "grpo")
            job = Job(Kind.RL, {**job.config, **({"reward": reward} if reward else {})})
            writer.add("train", {"seed": seed}, job, {"last_step": 100})
            evaluation = evaluate_job(writer.plan, {"need": 0, "checkpoint": "last"}, (job.id,))
            writer.add("evaluate", {"seed": seed}, evaluation, {})
            writer.outcomes(evaluation, "b", {"math": effect})
    result = judged(finish(writer, "rewards", "rewards"), "rewards")
    inside = result.tables["contrasts"].query("evaluated == 'in-domain'").iloc[0]
    assert (inside["level"], inside["reference"]) == ("random", "correct")
    assert inside["verdict"] == "loss"
    assert any(s.startswith("random against correct, inside") and "less" in s for s in result.findings)


def test_scale(tmp_path):
    """Contrasts and a trend over sizes that the catalogue knows."""
    bases = ("qwen2.5-1.5b-instruct", "qwen2.5-7b-instruct", "qwen2.5-14b-instruct")
    plan = Plan(items=60, bases=bases, study="scale")
    result = judged(write(tmp_path / "s", plan), "synthetic")
    contrasts = result.tables["contrasts"]
    assert set(contrasts.query("kind == 'contrast'")["reference"]) == {"qwen2.5-1.5b-instruct"}
    trend = contrasts.query("kind == 'trend' and evaluated == 'in-domain'").iloc[0]
    averages = result.tables["effects"].query("kind == 'average' and evaluated == 'in-domain' and weighting == 'items'")
    values = averages.set_index("base").loc[list(bases), "delta_points"].to_numpy(float)
    fitted = np.polyfit(np.log2([1.54, 7.62, 14.8]), values, 1)[0]
    assert trend["delta_points"] == pytest.approx(fitted, abs=1e-6)


def test_cascade(tmp_path):
    """math, then code: the whole path is judged against the start, the last stage against the one before."""
    writer = Writer(tmp_path / "s", Plan(items=250))
    base = {"name": "b", "hub": "org/b", "revision": "1"}
    for names in writer.plan.domains.values():
        for b in names:
            writer.difficulty["b", b] = writer.rng.normal(0, 1.5, 250)
    first = evaluate_job(writer.plan, base, ())
    writer.add("baseline", {}, first, {})
    writer.outcomes(first, "b", {})
    for seed in (0, 1, 2):
        previous, effect = None, {}
        for domain in ("math", "code"):
            model = base if previous is None else {"need": 0, "checkpoint": "last"}
            needs = () if previous is None else (previous.id,)
            job = rl_job(writer.plan, model, needs, domain, seed, "grpo")
            writer.add("train", {"seed": seed}, job, {"last_step": 100})
            effect = {k: v - 1.0 for k, v in effect.items()} | {domain: 1.8}  # each stage costs the one before
            evaluation = evaluate_job(writer.plan, {"need": 0, "checkpoint": 100}, (job.id,))
            writer.add("evaluate", {"seed": seed}, evaluation, {})
            writer.outcomes(evaluation, "b", effect)
            previous = job
    store = finish(writer, "cascade", "cascade")
    frame = table(source(store, "cascade"))
    assert set(frame.loc[frame["arm"] == "trained", "path"]) == {"math", "math>code"}
    result = report.build(store, "cascade", tmp_path / "r")
    stages = result.tables["stages"].set_index(["train_domain", "evaluated"])
    assert stages.loc[("math → code", "math"), "verdict"] == "loss"
    assert stages.loc[("math → code", "code"), "verdict"] == "gain"
    whole = result.tables["effects"].query("kind == 'cell' and weighting == 'items'")
    whole = whole.set_index(["train_domain", "evaluated"])
    assert whole.loc[("math → code", "math"), "in_domain"]
    assert any("lowered math" in sentence for sentence in result.findings)
    assert "stages" in result.figures
