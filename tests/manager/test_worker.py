"""One attempt: parents, fencing, signals, other ranks, what is recorded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manager.atomic import read_jsonl, write_json
from manager.heartbeat import EXIT_SUPERSEDED
from manager.job import Job, Kind
from manager.model_folder import digest
from manager.store import RunDirectory, Store
from manager.worker import rendezvous_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "s", create=True)


def worker(run: RunDirectory, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "manager.worker", str(run.path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MANAGER_KINDS": "rl=tests.manager.toy_kind", **variables},
    )


def toy(store: Store, needs: tuple[str, ...] = (), **config: Any) -> RunDirectory:
    return store.add_job(Job(Kind.RL, {"toy": config}, needs))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_a_run_directory_can_be_run_by_hand(store: Store) -> None:
    run = toy(store)
    process = worker(run)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert output.strip().endswith("done")
    result = run.result()
    assert result is not None
    assert (result["outcome"], result["attempt"], result["last_step"]) == ("done", 1, 3)
    (attempt,) = run.attempts()
    assert attempt.outcome == "done"
    environment = json.loads((attempt.path / "environment.json").read_text())
    assert environment["packages"]["submitit"]
    assert [r["values"]["reward"] for r in read_jsonl(attempt.journal) if r["type"] == "metrics"] == [1 / 3, 2 / 3, 1.0]
    again = worker(run)
    assert "the job is done" in again.communicate(timeout=120)[0]
    assert again.returncode == 0
    assert len(run.attempts()) == 1


def test_a_job_whose_parent_has_no_result_does_not_start_whatever_the_scheduler_says(store: Store) -> None:
    parent = toy(store, n=1)
    run = toy(store, (parent.id,))
    process = worker(run)
    process.communicate(timeout=120)
    assert process.returncode == 1
    assert run.attempts()[-1].outcome == "blocked"
    assert not (run.path / "steps.jsonl").exists()
    parent.write_result({"outcome": "done"})
    again = worker(run)
    again.communicate(timeout=120)
    assert again.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_the_signals_of_schedulers_ask_for_a_stop(store: Store, number: signal.Signals) -> None:
    run = toy(store, steps=10_000, step_s=0.02)
    process = worker(run)
    wait_until(lambda: (run.path / "toy.json").exists())
    process.send_signal(number)
    process.communicate(timeout=120)
    end = run.attempts()[-1].end
    assert end is not None
    assert (end["outcome"], end["cause"], end["retryable"]) == ("interrupted", number.name, True)
    assert not run.is_done()


def test_cancelled_jobs_stop_by_themselves(store: Store) -> None:
    run = toy(store, steps=10_000, step_s=0.02)
    process = worker(run)
    wait_until(lambda: (run.path / "toy.json").exists())
    run.set_cancelled({"time": time.time()})
    process.communicate(timeout=120)
    end = run.attempts()[-1].end
    assert end is not None
    assert end["cause"] == "cancelled"


def test_an_older_attempt_that_sees_a_newer_one_leaves_at_once_and_writes_nothing(store: Store) -> None:
    run = toy(store, steps=10_000, step_s=0.02)
    process = worker(run)
    wait_until(lambda: (run.path / "toy.json").exists())
    # What Slurm does when a node loses its connection: the same job starts elsewhere.
    newer = run.path / "attempts" / "0002"
    newer.mkdir()
    write_json(newer / "attempt.json", {"number": 2})
    process.communicate(timeout=120)
    assert process.returncode == EXIT_SUPERSEDED
    assert run.attempts()[0].end is None
    assert not run.is_done()


def test_known_failures_keep_their_cause_and_whether_a_retry_can_help(store: Store) -> None:
    run = toy(store, fault="known")
    worker(run).communicate(timeout=120)
    end = run.attempts()[-1].end
    assert end is not None
    assert (end["outcome"], end["cause"], end["message"], end["retryable"]) == (
        "failed", "judge", "the judge is away", True,
    )  # fmt: skip


def test_a_model_whose_files_were_written_again_is_not_worked_on(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    run = store.add_job(Job(Kind.RL, {"toy": {}, "model": {"path": str(folder), "digest": digest(folder)}}))
    (folder / "config.json").write_text('{"another": true}')
    worker(run).communicate(timeout=120)
    end = run.attempts()[-1].end
    assert end is not None
    assert (end["outcome"], end["cause"], end["retryable"]) == ("failed", "model_changed", False)
    assert "run `manager sweep` again to make jobs of these" in end["message"]
    (folder / "config.json").write_text("{}")
    worker(run).communicate(timeout=120)
    assert run.is_done()


def test_an_unknown_kind_module_is_told_in_one_line(store: Store) -> None:
    process = worker(toy(store), MANAGER_KINDS="rl")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    end = toy(store).attempts()[-1].end
    assert end is not None
    assert "MANAGER_KINDS" in end["message"]
    assert end["cause"] == "configuration"
    assert "Traceback" not in errors


def test_a_folder_that_is_no_run_directory_is_told(tmp_path: Path) -> None:
    process = worker(RunDirectory(tmp_path))
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.strip() == f"error: {tmp_path}: no job.json here; is this a run directory?"


def test_the_rendezvous_port_follows_from_the_schedulers_id_unless_it_is_taken() -> None:
    number = next(number for number in range(1, 1000) if rendezvous_port(str(number)) == 10_000 + number)
    # Another job of the node whose id leads there, a moment later: torch has not opened it yet.
    assert rendezvous_port(str(number + 20_000)) not in (0, 10_000 + number)
    assert rendezvous_port("") > 0
