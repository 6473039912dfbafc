"""The side processes that send while jobs run: real processes, ended by what really ends them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from manager.drain_process import drain_command
from manager.tracking import last_sync, sync
from tests.manager.tracked_sweep import Study, begin, end, finish_study, make_study, train
from tests.manager.tracking_readback import ReadBack, expected

DEADLINE_S = 600.0


@pytest.fixture
def study(tmp_path: Path, with_database: Callable[[Study], Study]) -> Study:
    return with_database(make_study(tmp_path / "runs", domains=("math",)))


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes of the test; none of them outlives it."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def start(started: list[subprocess.Popen[str]], command: list[str]) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    started.append(process)
    return process


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)


def sent_points(study: Study) -> int:
    record = last_sync(study.store, study.sweep.name)
    return int(str(record["points"])) if record else -1


def back_of(study: Study) -> ReadBack:
    return ReadBack.of(sync(study.store, study.sweep.name))


def test_a_drain_sends_while_the_job_runs_and_ends_after_its_parent(
    study: Study, started: list[subprocess.Popen[str]]
) -> None:
    parent = start(started, [sys.executable, "-c", "import time; time.sleep(600)"])
    drain = start(started, [*drain_command(study.store, "study", parent=parent.pid), "--interval", "0.2"])
    run = begin(study.run_dir("train"))
    train(run, 1, 10)
    wait_for(lambda: sent_points(study) >= 0, "the first pass")
    train(run, 11, 20)
    wait_for(lambda: (study.store.sweep_dir("study") / "tracking.json").exists(), "the record")
    train(run, 21, 30)
    parent.kill()
    parent.wait()
    assert drain.wait(timeout=DEADLINE_S) == 0
    back = back_of(study)
    assert back.points(back.run(stage="train", domain="math"), "train/") == expected(1, 30)


def test_told_to_end_it_sends_the_rest_first(study: Study, started: list[subprocess.Popen[str]]) -> None:
    drain = start(started, [*drain_command(study.store, "study"), "--interval", "30"])
    wait_for(lambda: sent_points(study) >= 0, "the first pass")
    finish_study(study, steps=20)
    drain.send_signal(signal.SIGINT)  # Ctrl-C in the foreground is not meant for it
    drain.send_signal(signal.SIGTERM)
    assert drain.wait(timeout=DEADLINE_S) == 0
    result = sync(study.store, "study")
    assert (result.points, result.runs_created) == (0, 0)
    back = ReadBack.of(result)
    assert back.points(back.run(stage="train", domain="math"), "train/") == expected(1, 20)
    assert back.run(kind="sweep").info.status == "FINISHED"


def test_killed_it_leaves_no_lock_and_nothing_twice(study: Study, started: list[subprocess.Popen[str]]) -> None:
    drain = start(started, [*drain_command(study.store, "study"), "--interval", "0.1"])
    run = begin(study.run_dir("train"))
    train(run, 1, 50)
    wait_for(lambda: sent_points(study) >= 0, "the first pass")
    train(run, 51, 100)
    drain.kill()
    drain.wait()
    end(run, last_step=100)
    back = back_of(study)
    assert back.points(back.run(stage="train", domain="math"), "train/") == expected(1, 100)


def test_a_jobs_own_drain_and_the_sweeps_share_the_work(study: Study, started: list[subprocess.Popen[str]]) -> None:
    job_id = study.entry("train").job.id
    run = begin(study.run_dir("train"))
    train(run, 1, 10)
    own = start(started, [*drain_command(study.store, "study", job_id=job_id), "--interval", "0.2"])
    lock = study.store.sweep_dir("study") / "tracking-jobs" / f"{job_id}.lock"
    wait_for(lock.exists, "the job's drain")
    base = begin(study.run_dir("baseline"))
    end(base, last_step=0)
    whole = start(started, [*drain_command(study.store, "study"), "--interval", "0.2"])
    wait_for(lambda: sent_points(study) >= 0, "the sweep's first pass")
    train(run, 11, 40)
    end(run, last_step=40)
    for process in (own, whole):
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=DEADLINE_S) == 0
    back = back_of(study)
    trained = back.run(stage="train", domain="math")
    assert back.points(trained, "train/") == expected(1, 40)
    assert trained.data.tags["mlflow.parentRunId"] == back.run(kind="stage", stage="train").info.run_id


def test_a_drain_of_a_sweep_that_is_not_there_says_so(study: Study, started: list[subprocess.Popen[str]]) -> None:
    drain = start(started, drain_command(study.store, "nothing"))
    _, errors = drain.communicate(timeout=DEADLINE_S)
    assert drain.returncode == 1
    assert errors.startswith("tracking: no sweep 'nothing'")


def test_a_drain_survives_a_deleted_database(study: Study, started: list[subprocess.Popen[str]]) -> None:
    run = begin(study.run_dir("train"))
    train(run, 1, 10)
    drain = start(started, [*drain_command(study.store, "study"), "--interval", "0.2"])
    wait_for(lambda: sent_points(study) >= 0, "the first pass")
    database = study.store.sweep_dir("study") / "mlflow.db"
    database.unlink()
    train(run, 11, 20)
    wait_for(lambda: database.exists() and sent_points(study) >= 60, "the new database")
    drain.send_signal(signal.SIGTERM)
    assert drain.wait(timeout=DEADLINE_S) == 0
    back = back_of(study)
    assert back.points(back.run(stage="train", domain="math"), "train/") == expected(1, 20)
