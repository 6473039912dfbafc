"""The shipped sweeps, from the file to the findings, with outcomes made up in place of models."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from experiments.analysis import analyse
from experiments.catalog import load
from experiments.findings import findings
from experiments.lineage import training_domain
from experiments.outcomes import source, table
from experiments.study import get
from experiments.transfer import Settings
from manager.atomic import JsonlWriter
from manager.job import Kind, canonical_json
from manager.store import Store
from manager.sweep import load_sweep

SWEEPS = Path(__file__).parents[2] / "sweeps"
ITEMS = 40
EXPECTED = {
    "quickstart": ("interventional", "effects"), "agentic": ("agentic", "matrix"),
    "mini/agentic": ("agentic", "matrix"), "mini/algorithms": ("algorithms", "contrasts"),
    "mini/cascade": ("cascade", "stages"), "mini/interventional": ("interventional", "effects"),
    "mini/longitudinal": ("longitudinal", "trajectory"), "mini/observational": ("observational", "effects"),
    "mini/rewards": ("rewards", "contrasts"), "mini/scale": ("scale", "contrasts"),
}  # fmt: skip


def made_up(store, sweep):
    """Results and outcomes for every job: a gain of 30 points in the domains trained on."""
    rng = np.random.default_rng(0)
    jobs = {entry.job.id: entry.job for entry in sweep.jobs}
    chances: dict[str, np.ndarray] = {}

    def trained_on(job):
        model = job.config["model"]
        parent = jobs.get(job.needs[model["need"]]) if "need" in model else None
        if parent is None or parent.kind != Kind.RL:
            return set()
        return set(training_domain(parent)[1]) | trained_on(parent)

    for entry in sweep.jobs:
        run = store.add_job(entry.job)
        if entry.job.kind in (Kind.SFT, Kind.RL):
            run.write_result({"outcome": "done", "last_step": 80, "models": [40, 80]})
        if entry.job.kind != Kind.EVALUATE:
            continue
        for benchmark in entry.job.config["benchmarks"]:
            name, samples = benchmark["name"], min(2, benchmark["sampler"]["samples"])
            chance = chances.setdefault(name, rng.uniform(0.1, 0.6, ITEMS))
            gain = 0.3 if benchmark["domain"] in trained_on(entry.job) else 0.0
            writer = JsonlWriter(run.outcomes / f"{name}.jsonl")
            for item in range(ITEMS):
                for sample in range(samples):
                    right = bool(rng.random() < chance[item] + gain)
                    writer.write({"item": f"{item}", "sample": sample, "value": float(right),
                                  "outcome": "right" if right else "wrong", "ended": "stop"})  # fmt: skip
            writer.close()
        run.write_result({"outcome": "done", "benchmarks": {}})


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_shipped_sweep_reaches_its_findings(tmp_path, name):
    study_name, main_table = EXPECTED[name]
    sweep = load_sweep(SWEEPS / f"{name}.yaml", catalog=load(), environ={})
    store = Store.open(tmp_path, create=True)
    made_up(store, sweep)
    store.write_sweep(sweep)
    made = source(store, sweep.name)
    assert made.study == study_name
    settings = Settings.of({**made.settings, "replicates": 200})
    analysis = analyse(made, table(made), get(study_name), settings)
    assert len(analysis.tables[main_table])
    assert analysis.tables["missing"].empty
    cells = analysis.effects("cell")
    inside = cells[cells["in_domain"] == True]["delta_points"].astype(float)  # noqa: E712  (None is neither)
    assert inside.mean() == pytest.approx(30, abs=12)
    assert findings(analysis)


def test_the_agents_sweep_has_the_papers_twenty_configurations():
    """What `needs` and the configuration without the seed tell apart; every seed of every one, and V1 itself."""
    sweep = load_sweep(SWEEPS / "agentic.yaml", catalog=load(), environ={})
    trained = [entry for entry in sweep.jobs if entry.job.kind == Kind.RL and entry.stage != "v1"]
    without_seed = {
        canonical_json([job.needs, {**job.config, "seed": 0, "data": {**job.config["data"], "seed": 0}}])
        for job in (entry.job for entry in trained)
    }
    assert (len(trained), len(without_seed)) == (60, 20)
    per_stage = Counter(entry.stage for entry in trained)
    assert per_stage == {"train-v1": 9, "train-v2": 12, "train-augmented": 18, "train-unthinking": 9,
                         "train-without-scienceworld": 3, "train-even": 3, "train-longer": 6}  # fmt: skip
    evaluated = Counter(entry.job.needs[0] for entry in sweep.jobs if entry.stage.startswith("evaluate-"))
    assert set(evaluated) == {entry.job.id for entry in trained}
    assert set(evaluated.values()) == {4}
    one = next(entry.job.config for entry in trained if entry.stage == "train-augmented")
    assert (one["batch"]["prompts"], one["batch"]["samples"], one["grpo"]["max_steps"]) == (16, 8, 150)
    assert (one["grpo"]["learning_rate"], one["grpo"]["beta"], one["export_steps"]) == (1e-6, 0.01, 15)
    sizes = {(e.job.config["data"]["domain"], e.job.config["agent"]["augment"]["probability"]):
             e.job.config["agent"]["augment"]["epsilon"] for e in trained if e.stage == "train-augmented"}  # fmt: skip
    assert sizes == {("alfworld", 0.5): 200, ("sokoban", 0.5): 40, ("webshop", 0.5): 80,
                     ("alfworld", 1.0): 300, ("sokoban", 1.0): 30, ("webshop", 1.0): 80}  # fmt: skip


def test_the_agents_sweep_has_the_papers_numbers_by_environment():
    sweep = load_sweep(SWEEPS / "agentic.yaml", catalog=load(), environ={})
    judged = next(entry.job.config for entry in sweep.jobs if entry.stage == "evaluate-v2")
    rows = {row["name"]: row for row in judged["benchmarks"]}
    assert {name: row["limit"] for name, row in rows.items()} == {
        "alfworld": 134, "webshop": 500, "sokoban": 128, "scienceworld": 128,
    }  # fmt: skip
    assert {row["sampler"]["temperature"] for row in rows.values()} == {0.4}
    answers = {"alfworld": 512, "webshop": 1024, "sokoban": 512, "scienceworld": 1024}
    caps = {"alfworld": 50, "webshop": 15, "sokoban": 15, "scienceworld": 50}
    assert {name: row["sampler"]["max_tokens"] for name, row in rows.items()} == answers
    assert {name: row["data"]["options"]["cap"] for name, row in rows.items()} == caps
    assert {row["data"]["split"] for row in rows.values()} == {"test"}
    for entry in sweep.jobs:
        if entry.job.kind == Kind.RL:
            config = entry.job.config
            assert config["reward"] == {"name": "episode", "success": 10, "failure": 0, "invalid": -0.1}
            assert config["grpo"]["max_completion_length"] == answers[config["data"]["domain"]]
            assert config["grpo"]["temperature"] == 1.0
            assert {row["data"]["split"] for row in config["data"]["environments"]} == {"train"}
    taught = next(entry.job.config for entry in sweep.jobs if entry.stage == "v2")
    assert [one["ratio"] for one in taught["data"]["trajectories"]] == [19, 3, 1]
    assert (taught["batch"]["examples"], taught["sft"]["max_steps"], taught["sft"]["learning_rate"]) == (32, 100, 5e-6)


def test_the_probe_of_the_agents_sweep_plays_the_tasks_that_are_trained_on():
    """Under a larger cap: what an environment makes of its options must not depend on the cap."""
    sweep = load_sweep(SWEEPS / "agentic.yaml", catalog=load(), environ={})
    (probe,) = [entry.job.config for entry in sweep.jobs if entry.job.kind == Kind.PROBE]
    trained = {
        one["name"]: one["data"]["options"] for entry in sweep.jobs if entry.job.kind == Kind.RL
        for one in entry.job.config["data"]["environments"]
    }  # fmt: skip
    for row in probe["benchmarks"]:
        options = row["data"]["options"]
        assert (row["limit"], options["cap"]) == (128, 50)
        assert {**options, "cap": None} == {**trained[row["name"]], "cap": None}
    assert trained["sokoban"]["max_moves"] == trained["sokoban"]["cap"] == 15


def test_the_agents_report_knows_every_configuration(tmp_path):
    sweep = load_sweep(SWEEPS / "agentic.yaml", ["matrix.seed=[0]"], catalog=load(), environ={})
    store = Store.open(tmp_path, create=True)
    made_up(store, sweep)
    store.write_sweep(sweep)
    made = source(store, sweep.name)
    settings = Settings(replicates=100, mixed_effects=False, reasoning_items=0)
    analysis = analyse(made, table(made), get("agentic"), settings)
    matrix = analysis.tables["matrix"].dropna(subset=["train_domain"])
    names = ["base", "warmup", "thinking", "augment", "length", "train_domain"]
    assert len(matrix[names].drop_duplicates()) == 20
    assert set(analysis.tables["contrasts"]["factor"]) == {"augment", "warmup", "thinking", "length"}
    levels = set(analysis.tables["contrasts"]["level"])
    assert {"augmented 50 %", "augmented 100 %", "no thinking", "300 steps", "alfworld 3 : webshop 1"} <= levels


def test_every_shipped_mini_sweep_is_among_them():
    assert {f"mini/{path.stem}" for path in (SWEEPS / "mini").glob("*.yaml")} <= set(EXPECTED)


def test_the_observational_sweep_pairs_every_model_with_its_base(tmp_path):
    """Also where the base is asked in another way than the model."""
    sweep = load_sweep(SWEEPS / "observational.yaml", ["defaults.evaluate.suite=mini"], catalog=load(), environ={})
    store = Store.open(tmp_path, create=True)
    made_up(store, sweep)
    store.write_sweep(sweep)
    made = source(store, sweep.name)
    analysis = analyse(made, table(made), get("observational"), Settings(replicates=100, mixed_effects=False))
    models = {entry.labels["model"] for entry in sweep.jobs if "model" in entry.labels}
    assert {unit.name for unit in analysis.comparison.units} == models
    assert all((b.n_items > 0).all() for b in analysis.comparison.benchmarks)
    assert any("azr-coder-7b was asked by chat" in note for note in analysis.notes)
