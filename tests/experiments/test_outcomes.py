"""The tidy table and the pairing of trained models with their bases."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import experiments
from experiments.comparison import compare
from experiments.lineage import Pair
from experiments.outcomes import COLUMNS, TEXT_COLUMNS, source, table
from manager.errors import UserError
from manager.job import Job, Kind, Sweep, SweepJob
from manager.store import Store
from tests.experiments.synthetic import Plan, Writer, evaluate_job, rl_job, write


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write(tmp_path_factory.mktemp("store"), Plan(items=30, samples=2))


def test_load_gives_the_documented_columns_and_a_row_for_every_sample(store):
    frame = experiments.load("synthetic", store=store)
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == 3 * 30 * 2 * 7  # benchmarks, items, samples, models
    assert set(frame["arm"]) == {"base", "trained"}
    assert set(frame["value"]) == {0.0, 1.0}


def test_text_comes_only_on_request(store):
    assert not set(TEXT_COLUMNS) & set(experiments.load("synthetic", store=store))
    assert set(experiments.load("synthetic", store=store, text=True)["text"]) == {"answer"}


def test_an_unknown_sweep_is_told_with_those_that_exist(store):
    with pytest.raises(UserError, match="synthetic"):
        experiments.load("nothing", store=store)


def test_last_and_the_last_step_are_the_same_model(store):
    """The base is evaluated as `last`, the runs start from step 500 of the same job."""
    frame = experiments.load("synthetic", store=store)
    base = set(frame.loc[frame["arm"] == "base", "model"])
    assert set(frame.loc[frame["arm"] == "trained", "base_model"]) == base


def test_trained_models_carry_their_lineage(store):
    frame = experiments.load("synthetic", store=store)
    trained = frame[frame["arm"] == "trained"]
    assert set(trained["base"]) == {"tiny-base"}
    assert set(trained["train_domain"]) == {"math", "code", "knowledge"}
    assert set(trained["algorithm"]) == {"grpo"}
    assert set(trained["seed"]) == {0, 1}
    assert set(trained["step"]) == {100}
    assert frame.loc[frame["arm"] == "base", "seed"].isna().all()


def test_a_sample_written_twice_counts_once_and_a_torn_line_not_at_all(tmp_path):
    store = write(tmp_path, Plan(items=5, train=("math",), seeds=(0,)))
    evaluation = next(e for e in source(store, "synthetic").evaluations if e.subject.arm == "trained")
    path = store.run(evaluation.job.id).outcomes / "mini_math.jsonl"
    lines = path.read_text().splitlines()
    again = json.loads(lines[0]) | {"value": 0.25}
    path.write_text("\n".join([*lines, json.dumps(again)]) + '\n{"item": "i0001", "sam')
    frame = experiments.load("synthetic", store=store)
    rows = frame[(frame["job"] == evaluation.job.id) & (frame["benchmark"] == "mini_math")]
    assert len(rows) == 5
    assert rows.loc[rows["item"] == "i0000", "value"].tolist() == [0.25]


def test_undefined_values_are_missing_and_told_never_zero(tmp_path):
    store = write(tmp_path, Plan(items=5, train=("math",), seeds=(0,)))
    evaluation = next(e for e in source(store, "synthetic").evaluations if e.subject.arm == "trained")
    path = store.run(evaluation.job.id).outcomes / "mini_math.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records[2] |= {"value": None, "outcome": "grader_failed"}
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    frame = experiments.load("synthetic", store=store)
    assert frame["value"].isna().sum() == 1
    comparison = compare(frame)
    math = next(b for b in comparison.benchmarks if b.name == "mini_math")
    kept = [r for i, r in enumerate(records) if i != 2]
    assert math.n_items.tolist() == [4]
    assert math.rate("trained")[0] == pytest.approx(np.mean([r["value"] for r in kept]))
    assert any("no defined score" in note for note in comparison.notes)
    assert any("restricted" in note for note in comparison.notes)


def test_unfinished_evaluations_are_left_out_and_told(tmp_path):
    plan = Plan(items=5, train=("math",), seeds=(0, 1), unfinished=(("math", 1),))
    store = write(tmp_path, plan)
    made = source(store, "synthetic")
    late = next(e for e in made.evaluations if not e.finished)
    done = next(e for e in made.evaluations if e.finished and e.subject.arm == "trained")
    folder = store.run(late.job.id).outcomes
    folder.mkdir()
    text = (store.run(done.job.id).outcomes / "mini_math.jsonl").read_text().splitlines(keepends=True)
    (folder / "mini_math.jsonl").write_text("".join(text[:2]))
    frame = table(source(store, "synthetic"))
    assert len(compare(frame).units) == 1
    assert any("unfinished" in note for note in compare(frame).notes)
    assert len(compare(frame, include_unfinished=True).units) == 2


def test_a_base_under_other_conditions_is_no_control(tmp_path):
    writer = Writer(tmp_path, Plan(items=4))
    one, two = writer.plan, Plan(items=4, samples=3)
    model = {"name": "base", "hub": "org/base", "revision": "r1"}
    base = evaluate_job(two, model, ())
    run = rl_job(one, model, (), "math", 0, "grpo")
    trained = evaluate_job(one, {"need": 0, "checkpoint": 100}, (run.id,))
    writer.add("baseline", {}, base, {})
    writer.add("train", {}, run, {"last_step": 100})
    writer.add("evaluate", {}, trained, {})
    for job in (base, trained):
        writer.difficulty = {("base", f"mini_{d}"): np.zeros(4) for d in ("math", "code", "knowledge")}
        writer.outcomes(job, "base", {})
    writer.store.write_sweep(Sweep("s", None, tuple(writer.entries)))
    comparison = compare(experiments.load("s", store=writer.store))
    assert comparison.benchmarks == ()
    assert any("no evaluation of the base" in note for note in comparison.notes)


def test_published_models_are_paired_with_their_bases_by_name(tmp_path):
    writer = Writer(tmp_path, Plan(items=4))
    base = evaluate_job(writer.plan, {"name": "b", "hub": "org/b", "revision": "1"}, ())
    tuned = evaluate_job(writer.plan, {"name": "t", "hub": "org/t", "revision": "1"}, ())
    writer.difficulty = {("b", f"mini_{d}"): np.zeros(4) for d in ("math", "code", "knowledge")}
    for job in (base, tuned):
        writer.add("evaluate", {}, job, {})
        writer.outcomes(job, "b", {})
    writer.store.write_sweep(Sweep("s", None, tuple(writer.entries)))
    frame = table(source(writer.store, "s", [Pair("t", "b", ("math", "code"))]))
    comparison = compare(frame)
    assert [u.train_domains for u in comparison.units] == [("math", "code")]
    assert comparison.benchmarks[0].control_model == ("hub:org/b@1",)


def test_two_bases_of_one_name_are_not_mixed_up(tmp_path):
    """Identity decides, not the name: the same name at two revisions gives two controls."""
    writer = Writer(tmp_path, Plan(items=6))
    writer.difficulty = {("b", f"mini_{d}"): np.zeros(6) for d in ("math", "code", "knowledge")}
    for revision, effect in (("1", -20.0), ("2", 20.0)):
        model = {"name": "b", "hub": "org/b", "revision": revision}
        run = rl_job(writer.plan, model, (), "math", 0, "grpo")
        jobs = [evaluate_job(writer.plan, model, ()),
                evaluate_job(writer.plan, {"need": 0, "checkpoint": 100}, (run.id,))]  # fmt: skip
        writer.add("train", {}, run, {"last_step": 100})
        for job in jobs:
            writer.add("evaluate", {}, job, {})
            writer.outcomes(job, "b", dict.fromkeys(("math", "code", "knowledge"), effect))
    writer.store.write_sweep(Sweep("s", None, tuple(writer.entries)))
    comparison = compare(experiments.load("s", store=writer.store))
    assert len(comparison.units) == 2
    for benchmark in comparison.benchmarks:
        assert benchmark.delta.tolist() == [0.0, 0.0]
        assert sorted(benchmark.rate("control")) == [0.0, 1.0]


def test_load_of_a_store_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no store here"):
        experiments.load("x", store=tmp_path / "none")


def test_load_is_fast_enough_to_be_vectorised(store):
    """The table is made of categories: a wide text column would make large studies not fit."""
    frame = experiments.load("synthetic", store=store)
    texts = [c for c in frame if frame[c].dtype == object or isinstance(frame[c].dtype, pd.StringDtype)]
    assert texts == []


def test_import_of_the_package_is_light():
    import subprocess
    import sys

    code = "import experiments, experiments.study, sys; experiments.study.names(); " \
           "print([m for m in ('pandas', 'scipy', 'matplotlib', 'torch') if m in sys.modules])"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_jobs_without_a_store_entry_are_not_invented(tmp_path):
    store = Store.open(tmp_path, create=True)
    job = Job(Kind.EVALUATE, {"model": {"name": "m", "hub": "o/m"}, "benchmarks": [], "seed": 0})
    store.add_job(job)
    store.write_sweep(Sweep("s", None, (SweepJob("evaluate", {}, job),)))
    frame = experiments.load("s", store=store)
    assert frame.empty
    assert list(frame.columns) == list(COLUMNS)


def test_thinking_is_a_way_of_asking_of_its_own(tmp_path):
    writer = Writer(tmp_path, Plan(items=4))
    writer.difficulty = {("b", f"mini_{d}"): np.zeros(4) for d in ("math", "code", "knowledge")}
    model = {"name": "b", "hub": "org/b", "revision": "1"}
    for way in ("chat", {"thinking": True, "mode": "chat"}, {"mode": "chat", "thinking": False}):
        job = evaluate_job(writer.plan, model, ())
        job = Job(job.kind, {**job.config, "prompting": way})
        writer.add("evaluate", {}, job, {})
        writer.outcomes(job, "b", {})
    writer.store.write_sweep(Sweep("s", None, tuple(writer.entries)))
    frame = table(source(writer.store, "s", []))
    assert sorted(frame["prompting"].unique()) == [
        "chat", '{"mode":"chat","thinking":false}', '{"mode":"chat","thinking":true}',
    ]  # fmt: skip


def test_ways_of_asking_are_kept_apart_and_a_base_asked_otherwise_is_told(tmp_path):
    """A base that is no chat model is asked in its own way; a model asked in two ways is two arms."""
    writer = Writer(tmp_path, Plan(items=4))
    writer.difficulty = {("b", f"mini_{d}"): np.zeros(4) for d in ("math", "code", "knowledge")}
    asked = {"b": ("base_fewshot",), "t": ("chat",), "u": ("chat", "base_fewshot")}
    for name, ways in asked.items():
        for way in ways:
            job = evaluate_job(writer.plan, {"name": name, "hub": f"org/{name}", "revision": "1"}, ())
            job = Job(job.kind, {**job.config, "prompting": way})
            writer.add("evaluate", {}, job, {})
            writer.outcomes(job, "b", {})
    writer.store.write_sweep(Sweep("s", None, tuple(writer.entries)))
    pairs = [Pair("t", "b", ("math",)), Pair("u", "b", ("math",))]
    comparison = compare(table(source(writer.store, "s", pairs)))
    assert [(u.name, u.prompting) for u in comparison.units] == [("t", "chat"), ("u", "base_fewshot"), ("u", "chat")]
    assert all((b.trained_count == 1).all() for b in comparison.benchmarks)
    assert sum("its base b by base_fewshot" in note for note in comparison.notes) == 2
