"""The path of `make quickstart`, made small: run for real, killed with -9, resumed, read back."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import psutil

from manager.store import Store
from tests.small import SMALLER, SWEEP, SmallSweep, manager

KINDS = {"sft": 2, "evaluate": 5, "rl": 2, "report": 1}


def test_killed_with_9_and_run_again_every_job_has_one_result(small_sweep: SmallSweep) -> None:
    store = Store.open(small_sweep.store)
    sweep = store.read_sweep("quickstart")
    assert Counter(entry.job.kind.value for entry in sweep.jobs) == KINDS
    for entry in sweep.jobs:
        run = store.run(entry.job.id)
        assert run.is_done()
        *earlier, last = run.attempts()
        assert last.outcome == "done"
        assert all(attempt.outcome in (None, "interrupted") for attempt in earlier)
    interrupted = [entry for entry in sweep.jobs if len(store.run(entry.job.id).attempts()) > 1]
    assert {entry.job.kind.value for entry in interrupted} <= {"rl"}
    assert "quickstart" in small_sweep.first_output


def test_every_sample_of_every_item_is_there_once(small_sweep: SmallSweep) -> None:
    store = Store.open(small_sweep.store)
    for entry in store.read_sweep("quickstart").jobs:
        if entry.job.kind.value != "evaluate":
            continue
        run = store.run(entry.job.id)
        result = run.result()
        assert result is not None
        for row in entry.job.config["benchmarks"]:
            lines = (run.outcomes / f"{row['name']}.jsonl").read_text().splitlines()
            seen = Counter((r["item"], r["sample"]) for r in map(json.loads, lines))
            assert set(seen.values()) == {1}
            summary = result["benchmarks"][row["name"]]
            assert summary["samples"] == row["sampler"]["samples"]
            assert len(seen) == summary["items"] * summary["samples"]
            assert 0 <= summary["pass_at_1"] <= 1


def test_a_rerun_starts_nothing_and_shows_the_same_report(small_sweep: SmallSweep) -> None:
    again = small_sweep.manager("sweep", SWEEP, *SMALLER)
    assert "all 10 jobs are done; nothing was started" in again.stdout
    table = small_sweep.second_output[small_sweep.second_output.index("Interventional study") :]
    assert table.splitlines()[1:8] == again.stdout[again.stdout.index("Interventional study") :].splitlines()[1:8]


def test_mlflow_has_a_run_for_every_job_with_curves_and_evaluations_by_step(small_sweep: SmallSweep) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{small_sweep.store}/sweeps/quickstart/mlflow.db")
    experiment = client.get_experiment_by_name("quickstart")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    store = Store.open(small_sweep.store)
    jobs = {entry.job.id: entry for entry in store.read_sweep("quickstart").jobs}
    tracked = {run.data.tags["job_id"]: run for run in runs if "job_id" in run.data.tags}
    assert set(tracked) == set(jobs)
    for job_id, run in tracked.items():
        assert run.info.status == "FINISHED"
        assert run.data.tags["stage"] == jobs[job_id].stage
    train = next(run for job_id, run in tracked.items() if jobs[job_id].stage == "train")
    rewards = client.get_metric_history(train.info.run_id, "reward")
    # Steps that the resumed attempt did again are there once.
    assert sorted(point.step for point in rewards) == list(range(1, 9))
    scores = client.get_metric_history(train.info.run_id, "mini_math/pass_at_1")
    assert sorted(point.step for point in scores) == [0, 4, 8]  # step 0: the base model
    evaluation = next(run for job_id, run in tracked.items() if jobs[job_id].labels.get("checkpoint") == 4)
    assert [p.step for p in client.get_metric_history(evaluation.info.run_id, "mini_math/pass_at_1")] == [4]


def test_the_report_is_an_artifact_of_the_sweeps_run(small_sweep: SmallSweep) -> None:
    names = {path.name for path in (small_sweep.store / "sweeps" / "quickstart" / "artifacts").rglob("*")}
    assert "report.html" in names


def test_no_process_is_left_behind(small_sweep: SmallSweep) -> None:
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if any(str(small_sweep.store) in argument for argument in process.info["cmdline"] or [])
    ]
    assert left == []


def test_two_processes_train_with_zero2_through_the_same_path(small_sweep: SmallSweep, tmp_path: Path) -> None:
    """What several GPUs do on a cluster, over gloo on this machine; the base model's jobs are shared."""
    store = tmp_path / "runs"
    shutil.copytree(small_sweep.store, store)
    ran = manager(
        "sweep", SWEEP, *SMALLER, "name=zero", "matrix.domain=[math]", "stages.evaluate.checkpoints=[last]",
        "stages.train.deepspeed=zero2", "stages.train.resources.tasks_per_node=2", store=store,
    )  # fmt: skip
    assert "3 executions" in ran.stdout  # training, its evaluation, the report
    opened = Store.open(store)
    train = next(entry.job for entry in opened.read_sweep("zero").jobs if entry.stage == "train")
    run = opened.run(train.id)
    assert run.has_model("last")
    (attempt,) = run.attempts()
    assert attempt.record["world_size"] == 2
    rewards = [r for r in run.journal() if r["type"] == "metrics" and "reward" in r["values"]]
    assert [record["step"] for record in rewards] == list(range(1, 9))
