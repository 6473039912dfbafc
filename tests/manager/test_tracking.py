"""A sweep in MLflow's default store, read back through MLflow's API."""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from manager.errors import UserError
from manager.job import Job, Kind, Sweep, SweepJob
from manager.tracking import (
    last_sync,
    masked,
    rebuild,
    sync,
    tracking_uri_of,
    ui_command,
)
from tests.manager.tracked_sweep import Study, begin, end, evaluate, finish_study, make_study, train, vanish
from tests.manager.tracking_readback import ReadBack, expected

WithDatabase = Callable[[Study], Study]


@pytest.fixture
def study(tmp_path: Path, with_database: WithDatabase) -> Study:
    return with_database(make_study(tmp_path / "runs"))


def synced(study: Study) -> ReadBack:
    result = sync(study.store, study.sweep.name)
    assert result.error is None
    return ReadBack.of(result)


def test_a_study_is_nested_sweep_stage_job(study: Study) -> None:
    finish_study(study)
    back = synced(study)
    sweep = back.run(kind="sweep")
    stages = {run.data.tags["stage"]: run for run in back.all(kind="stage")}
    assert set(stages) == {"baseline", "train", "evaluate", "report"}
    assert all(run.data.tags["mlflow.parentRunId"] == sweep.info.run_id for run in stages.values())
    jobs = [run for run in back.runs if "job_id" in run.data.tags]
    assert len(jobs) == len(study.sweep.jobs)
    for run in jobs:
        assert run.data.tags["mlflow.parentRunId"] == stages[run.data.tags["stage"]].info.run_id
    assert {run.info.status for run in back.runs} == {"FINISHED"}
    assert sorted(r.info.run_name for r in jobs if r.data.tags["stage"] == "train") == [
        "train code",
        "train math",
    ]


def test_a_job_is_found_by_its_tags_and_params(study: Study) -> None:
    finish_study(study)
    back = synced(study)
    run = back.run(stage="evaluate", domain="math")
    told = {"sweep": "study", "base": "tiny-base", "seed": "0", "checkpoint_step": "100", "state": "done"}
    told |= {"code_version": "abc1234", "scheduler_job_id": "4711", "kind": "evaluate"}
    assert {name: run.data.tags.get(name) for name in told} == told
    assert run.data.tags["job_id"] == study.entry("evaluate", domain="math").job.id
    trained = back.run(stage="train", domain="math")
    assert trained.data.params["grpo.learning_rate"] == "0.0001"
    assert trained.data.params["batch.prompts"] == "8"
    assert run.data.params["benchmarks.mini_math.domain"] == "math"


def test_one_chart_shows_in_and_out_of_domain_by_checkpoint_step(study: Study) -> None:
    finish_study(study)
    back = synced(study)
    trained = back.run(stage="train", domain="math")
    assert back.line(trained, "mini_math/pass_at_1") == [(0, 0.2), (100, 0.6)]
    assert back.line(trained, "mini_code/pass_at_1") == [(0, 0.1), (100, 0.1)]
    assert back.line(trained, "math/pass_at_1") == [(0, 0.2), (100, 0.6)]
    assert back.line(back.run(stage="evaluate", domain="math"), "code/pass_at_1") == [(100, 0.1)]
    assert back.points(trained, "train/") == expected(1, 100)


def test_the_report_is_an_artifact_of_the_sweeps_run(study: Study) -> None:
    finish_study(study)
    back = synced(study)
    sweep = back.run(kind="sweep")
    assert back.artifacts(sweep) == ["report/figure.svg", "report/report.html", "sweep.yaml"]
    path = back.client.download_artifacts(sweep.info.run_id, "report/report.html")
    assert "math helps code" in Path(path).read_text()
    assert back.artifacts(back.run(kind="report", stage="report")) == ["report/report.html"]
    note = sweep.data.tags["mlflow.note.content"]
    assert f"#/experiments/{sweep.info.experiment_id}/runs/{sweep.info.run_id}/artifacts/report/report.html" in note
    assert "math helps code" in note


def test_sent_twice_is_stored_once_even_without_a_record(study: Study) -> None:
    finish_study(study)
    first = synced(study)
    folder = study.store.sweep_dir("study")
    (folder / "tracking.json").unlink()
    again = sync(study.store, "study")
    assert (again.points, again.artifacts, again.runs_created, again.runs_replaced) == (0, 0, 0, 0)
    second = ReadBack.of(again)
    assert len(second.runs) == len(first.runs)
    for run in second.runs:
        assert all(times == 1 for times in second.points(run).values())
    # Everything compared again: nothing is missing and nothing is too much.
    compared = rebuild(study.store, "study")
    assert (compared.points, compared.runs_created, compared.runs_replaced) == (0, 0, 0)


def test_a_run_that_goes_on_is_appended_to(study: Study) -> None:
    run = begin(study.run_dir("train", domain="math"))
    train(run, 1, 10)
    first = synced(study).run(stage="train", domain="math")
    assert first.info.status == "RUNNING"
    train(run, 11, 25)
    end(run, last_step=25)
    back = synced(study)
    second = back.run(stage="train", domain="math")
    assert second.info.run_id == first.info.run_id
    assert second.info.status == "FINISHED"
    assert back.points(second) == expected(1, 25)


def test_steps_that_a_restart_did_again_supersede_the_earlier_ones(study: Study) -> None:
    directory = study.run_dir("train", domain="math")
    run = begin(directory)
    train(run, 1, 57)
    vanish(run)
    before = synced(study)
    killed = before.run(stage="train", domain="math")
    assert killed.info.status == "KILLED"
    assert before.points(killed) == expected(1, 57)

    run = begin(directory)
    train(run, 51, 53, offset=0.5)
    back = synced(study)
    alive = back.run(stage="train", domain="math")
    # Steps 54 to 57 are about to be done again: held back until then.
    assert back.points(alive) == expected(1, 50) + expected(51, 53, offset=0.5)
    assert alive.info.status == "RUNNING"
    train(run, 54, 80, offset=0.5)
    end(run, last_step=80)
    back = synced(study)
    done = back.run(stage="train", domain="math")
    assert back.points(done) == expected(1, 50) + expected(51, 80, offset=0.5)
    assert done.info.status == "FINISHED"
    assert done.data.tags["attempts"] == "2"


def test_held_back_steps_come_back_when_nobody_does_them_again(study: Study) -> None:
    directory = study.run_dir("train", domain="math")
    run = begin(directory)
    train(run, 1, 57)
    vanish(run)
    run = begin(directory)
    train(run, 51, 53, offset=0.5)
    synced(study)
    end(run, "failed", cause="oom", message="out of memory")
    back = synced(study)
    failed = back.run(stage="train", domain="math")
    assert failed.info.status == "FAILED"
    assert failed.data.tags["message"] == "out of memory"
    assert back.points(failed) == expected(1, 50) + expected(51, 53, offset=0.5) + expected(54, 57)


def test_a_redone_step_with_the_same_values_changes_nothing(study: Study) -> None:
    directory = study.run_dir("train", domain="math")
    run = begin(directory)
    train(run, 1, 20)
    vanish(run)
    first = synced(study).run(stage="train", domain="math")
    run = begin(directory)
    train(run, 11, 30)
    end(run, last_step=30)
    back = synced(study)
    second = back.run(stage="train", domain="math")
    assert second.info.run_id == first.info.run_id
    assert back.points(second) == expected(1, 30)


@pytest.mark.parametrize(
    ("outcome", "details", "status"),
    [
        ("failed", {"cause": "exception", "message": "boom"}, "FAILED"),
        ("failed", {"cause": "node", "message": "lost", "retryable": True}, "FAILED"),
        ("interrupted", {"cause": "SIGTERM"}, "KILLED"),
        ("cancelled", {}, "KILLED"),
        ("blocked", {"cause": "parent"}, "KILLED"),
        ("done", {"last_step": 5}, "FINISHED"),
        (None, {}, "KILLED"),
    ],
)
def test_a_run_is_closed_as_what_its_job_was(
    study: Study, outcome: str | None, details: dict[str, object], status: str
) -> None:
    run = begin(study.run_dir("train", domain="math"))
    train(run, 1, 5)
    if outcome is None:
        vanish(run)
    else:
        end(run, outcome, **details)
    back = synced(study)
    stored = back.run(stage="train", domain="math")
    assert stored.info.status == status
    assert stored.info.end_time is not None
    assert stored.info.end_time >= stored.info.start_time


def test_a_failure_that_was_retried_leaves_no_cause_behind(study: Study) -> None:
    directory = study.run_dir("train", domain="math")
    run = begin(directory)
    end(run, "failed", cause="exception", message="boom")
    assert synced(study).run(stage="train", domain="math").data.tags["cause"] == "exception"
    run = begin(directory)
    end(run, last_step=1)
    tags = synced(study).run(stage="train", domain="math").data.tags
    assert "cause" not in tags
    assert "message" not in tags


def test_stages_and_sweep_say_how_far_they_are(study: Study) -> None:
    run = begin(study.run_dir("train", domain="math"))
    train(run, 1, 5)
    back = synced(study)
    assert back.run(kind="sweep").info.status == "RUNNING"
    assert back.run(kind="stage", stage="evaluate").info.status == "SCHEDULED"
    assert back.run(kind="stage", stage="train").data.tags["jobs"] == "0 of 2 done, 1 running"
    vanish(run)
    assert synced(study).run(kind="sweep").info.status == "KILLED"
    result = sync(study.store, "study", active=True)
    assert ReadBack.of(result).run(kind="sweep").info.status == "RUNNING"


def test_a_job_of_two_sweeps_is_in_both(study: Study, with_database: WithDatabase) -> None:
    finish_study(study)
    second = Sweep("second", None, study.sweep.jobs[:1])
    study.store.write_sweep(second)
    with_database(Study(study.store, second))
    synced(study)
    back = ReadBack.of(sync(study.store, "second"))
    assert back.run(job_id=second.jobs[0].job.id).data.tags["sweep"] == "second"
    assert back.run(kind="sweep").info.run_name == "second"


def test_what_mlflow_cannot_hold_is_kept_another_way(study: Study) -> None:
    directory = study.run_dir("train", domain="math")
    run = begin(directory)
    run.log({"reward (mean)": 1.0, "a@b": 2.0, "a_at_b": 3.0, "x" * 300: 4.0}, 1)
    run.log({"loss": math.nan, "kl": math.inf}, 2)
    run.log_params({"prompt": "p" * 9000, "grpo.learning_rate": 5})
    run.log_tags({"note": "n" * 9000})
    run.event("resumed", "from step 0")
    end(run, last_step=2)
    back = synced(study)
    stored = back.run(stage="train", domain="math")
    values = sorted(v for v in stored.data.metrics.values() if not math.isnan(v))
    assert values == [1.0, 2.0, 3.0, 4.0]
    assert math.isnan(stored.data.metrics["loss"])
    assert math.isnan(stored.data.metrics["kl"])
    assert len(stored.data.params["prompt"]) == 6000
    assert stored.data.params["prompt"].endswith("(whole value: artifact params/prompt.txt)")
    path = back.client.download_artifacts(stored.info.run_id, "params/prompt.txt")
    assert Path(path).read_text() == "p" * 9000
    assert stored.data.params["grpo.learning_rate"] == "0.0001"
    assert stored.data.params["logged.grpo.learning_rate"] == "5"
    assert "resumed** from step 0" in stored.data.tags["mlflow.note.content"]
    again = rebuild(study.store, "study")
    assert (again.points, again.runs_replaced) == (0, 0)


def test_a_torn_line_waits_and_a_broken_line_is_told(study: Study) -> None:
    run = begin(study.run_dir("train", domain="math"))
    train(run, 1, 3)
    journal = run.attempt_dir / "journal.jsonl"
    with open(journal, "a") as stream:
        stream.write('{"type": "metrics", "step": 4, "val')
    back = synced(study)
    assert back.points(back.run(stage="train", domain="math")) == expected(1, 3)
    with open(journal, "a") as stream:
        stream.write('ues": {}}\nnot json\n')
    train(run, 5, 6)
    result = sync(study.store, "study")
    assert any("1 journal lines are not JSON" in note for note in result.notes)
    back = ReadBack.of(result)
    assert back.points(back.run(stage="train", domain="math")) == expected(1, 3) + expected(5, 6)


def test_a_missing_artifact_is_told_and_a_changed_one_sent_again(study: Study) -> None:
    run = begin(study.run_dir("train", domain="math"))
    sample = run.path / "artifacts" / "samples.txt"
    sample.parent.mkdir()
    sample.write_text("first")
    run.log_artifact(sample, "samples")
    run.log_artifact(run.path / "artifacts" / "gone.txt")
    result = sync(study.store, "study")
    assert any("gone.txt: logged as an artifact, but not there" in note for note in result.notes)
    sample.write_text("second and longer")
    run.log_artifact(sample, "samples")
    back = synced(study)
    stored = back.run(stage="train", domain="math")
    assert back.artifacts(stored) == ["samples/samples.txt"]
    path = back.client.download_artifacts(stored.info.run_id, "samples/samples.txt")
    assert Path(path).read_text() == "second and longer"


def test_two_syncs_at_once_store_everything_once(study: Study) -> None:
    finish_study(study)
    command = [
        sys.executable,
        "-c",
        "import sys, pathlib, manager.store, manager.tracking as tracking;"
        "store = manager.store.Store.open(pathlib.Path(sys.argv[1]));"
        "sys.exit(tracking.sync(store, 'study', lock_wait_s=250).error)",
        str(study.store.root),
    ]
    processes = [subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.getcwd()}) for _ in range(3)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0, 0]
    back = synced(study)
    assert len(back.runs) == len(study.sweep.jobs) + 5
    for run in back.runs:
        assert all(times == 1 for times in back.points(run).values())


def test_a_sync_that_finds_another_says_so(study: Study) -> None:
    from manager.tracking import locked

    with locked(study.store.sweep_dir("study") / "tracking.lock", 0) as mine:
        assert mine
        result = sync(study.store, "study", lock_wait_s=0.1)
    assert result.error is not None
    assert "another process" in result.error


def test_a_deleted_tracking_store_is_rebuilt(study: Study, empty_tracking_database: Path) -> None:
    finish_study(study)
    before = synced(study)
    folder = study.store.sweep_dir("study")
    (folder / "mlflow.db").unlink()
    shutil.rmtree(folder / "artifacts")
    shutil.copy(empty_tracking_database, folder / "mlflow.db")
    back = ReadBack.of(rebuild(study.store, "study"))
    assert len(back.runs) == len(before.runs)
    for run in before.runs:
        tags = {k: v for k, v in run.data.tags.items() if k == "manager.key"}
        again = back.run(**tags)
        assert (again.info.status, again.info.start_time, again.info.end_time, again.data.params) == (
            run.info.status,
            run.info.start_time,
            run.info.end_time,
            run.data.params,
        )
        if "job_id" in run.data.tags:
            assert again.data.metrics == run.data.metrics
    assert "report/report.html" in back.artifacts(back.run(kind="sweep"))


def test_runs_and_values_that_somebody_deleted_or_added_are_put_right(study: Study) -> None:
    finish_study(study)
    back = synced(study)
    deleted = back.run(stage="train", domain="math")
    back.client.delete_run(deleted.info.run_id)
    spoiled = back.run(stage="train", domain="code")
    back.client.log_metric(spoiled.info.run_id, "train/metric_0", 99.0, step=3)
    artifact = study.store.sweep_dir("study") / "artifacts"
    shutil.rmtree(artifact)
    back = ReadBack.of(rebuild(study.store, "study"))
    for domain in ("math", "code"):
        assert back.points(back.run(stage="train", domain=domain), "train/") == expected(1, 100)
    assert "report/report.html" in back.artifacts(back.run(kind="sweep"))


def test_an_unreadable_database_is_told_and_set_aside_by_rebuild(study: Study) -> None:
    finish_study(study, steps=3)
    path = study.store.sweep_dir("study") / "mlflow.db"
    path.write_bytes(b"this is no database" * 100)
    assert sync(study.store, "study").error is not None
    back = ReadBack.of(rebuild(study.store, "study"))
    assert len(back.all(kind="rl")) == 2
    assert [p.name for p in path.parent.glob("mlflow.db.unreadable-*")] != []


def test_a_locked_database_is_waited_for_and_then_told(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    finish_study(study, steps=3)
    path = study.store.sweep_dir("study") / "mlflow.db"
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    result = sync(study.store, "study")
    assert result.error is not None
    assert "locked" in result.error
    recorded = last_sync(study.store, "study")
    assert recorded is not None
    assert recorded["error"] == result.error
    holder.execute("ROLLBACK")
    holder.close()
    back = synced(study)
    assert back.points(back.run(stage="train", domain="math"), "train/") == expected(1, 3)


def test_an_experiment_of_another_store_is_left_alone(study: Study, tmp_path: Path) -> None:
    finish_study(study, steps=2)
    first = sync(study.store, "study")
    other = make_study(tmp_path / "other")
    finish_study(other, steps=3)
    second = sync(other.store, "study", tracking_uri=first.uri)
    assert second.error is None
    assert second.experiment_id != first.experiment_id
    back = ReadBack.of(first)
    assert back.points(back.run(stage="train", domain="math"), "train/") == expected(1, 2)
    assert sync(other.store, "study", tracking_uri=first.uri).experiment_id == second.experiment_id


def test_the_tracking_uri_comes_from_the_sweep_then_the_environment(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = study.store
    named = Sweep("study", None, (), {"tracking": {"uri": "http://tracking:5000"}})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:5000")
    assert tracking_uri_of(store, named) == "http://tracking:5000"
    assert tracking_uri_of(store, study.sweep) == "http://elsewhere:5000"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracking_uri_of(store, study.sweep).endswith("/sweeps/study/mlflow.db")
    with pytest.raises(UserError, match=r"tracking store './mlruns'.*use http://HOST:PORT"):
        tracking_uri_of(store, Sweep("study", None, (), {"tracking": {"uri": "./mlruns"}}))


def test_passwords_are_not_shown() -> None:
    assert masked("postgresql+psycopg2://lab:secret@db:5432/mlflow") == "postgresql+psycopg2://lab:***@db:5432/mlflow"
    assert masked("http://tracking:5000") == "http://tracking:5000"


def test_the_ui_is_served_on_this_machine_only(study: Study) -> None:
    command = ui_command(study.store, "study", port=5123)
    assert command[1:3] == ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false", "MLFLOW_DISABLE_TELEMETRY=true"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == "5123"
    (study.store.sweep_dir("study") / "mlflow.db").unlink()
    with pytest.raises(UserError, match="run `manager sync study` first"):
        ui_command(study.store, "study")


def test_a_sweep_that_is_not_there_is_one_line(study: Study) -> None:
    with pytest.raises(UserError, match="no sweep 'nothing'"):
        sync(study.store, "nothing")


def test_the_control_plane_stays_light() -> None:
    code = "import sys, manager.tracking, manager.tracking.drain; print('mlflow' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_evaluations_join_a_run_that_is_still_training(study: Study) -> None:
    run = begin(study.run_dir("train", domain="math"))
    train(run, 1, 10)
    first = synced(study).run(stage="train", domain="math")
    base = begin(study.run_dir("baseline"))
    end(base, **evaluate(base, 0, {"mini_math": 0.2, "mini_code": None}))
    train(run, 11, 12)
    back = synced(study)
    stored = back.run(stage="train", domain="math")
    assert stored.info.run_id == first.info.run_id
    assert back.line(stored, "mini_math/pass_at_1") == [(0, 0.2)]
    # One benchmark of the domain is undefined, so the domain is: no point, and not 0.
    assert "code/pass_at_1" not in stored.data.metrics
    assert back.points(stored, "train/") == expected(1, 12)


def test_threads_of_one_process_may_sync_at_once(study: Study) -> None:
    finish_study(study, steps=20)
    errors: list[str | None] = []
    threads = [threading.Thread(target=lambda: errors.append(sync(study.store, "study").error)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    assert errors == [None, None]
    back = synced(study)
    assert len(back.all(kind="rl")) == 2


def test_params_of_a_job_without_config_are_none(tmp_path: Path, with_database: WithDatabase) -> None:
    job = Job(Kind.REPORT, {"study": "x"})
    sweep = Sweep("plain", None, (SweepJob("report", {}, job),))
    from manager.store import Store

    store = Store.open(tmp_path / "runs", create=True)
    store.add_job(job)
    store.write_sweep(sweep)
    study = with_database(Study(store, sweep))
    end(begin(store.run(job.id)), findings=[])
    back = synced(study)
    assert back.run(kind="report", job_id=job.id).data.params == {"study": "x"}
