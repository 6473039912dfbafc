"""At most one attempt at a time, whoever starts how many."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from manager.atomic import write_json
from manager.claim import Claimed, Refused, claim, is_newest, superseded
from manager.job import Job, Kind
from manager.liveness import identify, is_alive
from manager.observe import attempt_alive
from manager.store import RunDirectory, Store

CLAIM = """
import sys, time
from pathlib import Path
from manager.claim import Claimed, claim
from manager.store import RunDirectory
sys.stdin.readline()
answer = claim(RunDirectory(Path(sys.argv[1])), {"token": "t"})
print("claimed" if isinstance(answer, Claimed) else answer.why, flush=True)
time.sleep(3600)
"""


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    store = Store.open(tmp_path / "store", create=True)
    return store.add_job(Job(Kind.RL, {"n": 1}))


def test_of_many_processes_at_the_same_moment_one_gets_the_job(run: RunDirectory) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    try:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.stdout.readline().strip() for process in processes if process.stdout]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert answers.count("claimed") == 1
    assert sum(answer.startswith("attempt 1 runs on") for answer in answers) == 7
    assert len(run.attempts()) == 1
    # All of them were killed: the job is free again, and the next attempt is the second.
    answer = claim(run, {"token": "t"})
    assert isinstance(answer, Claimed)
    assert answer.number == 2


def test_a_finished_job_is_refused(run: RunDirectory) -> None:
    run.write_result({"outcome": "done"})
    assert claim(run, {}) == Refused("the job is done")


def test_an_attempt_that_said_how_it_ended_is_over_even_if_its_process_lives(run: RunDirectory) -> None:
    first = claim(run, {"token": "t"})
    assert isinstance(first, Claimed)
    assert isinstance(claim(run, {"token": "t"}), Refused)
    write_json(first.path / "end.json", {"outcome": "failed"})
    assert isinstance(claim(run, {"token": "t"}), Claimed)
    assert not is_newest(run, first.number)


def test_a_pid_that_came_again_is_not_taken_for_the_old_process() -> None:
    me = identify(os.getpid())
    assert is_alive(me) is True
    assert is_alive({**me, "pid_started": me["pid_started"] - 1}) is False


def test_another_boot_of_this_host_is_dead_and_another_host_is_unknown() -> None:
    me = identify(os.getpid())
    assert is_alive({**me, "boot": "earlier"}) is False
    assert is_alive({**me, "boot": "other", "host": "other"}) is None


def test_an_attempt_elsewhere_lives_by_its_heartbeat_and_not_by_any_clock(run: RunDirectory) -> None:
    far = {"boot": "other", "host": "other", "pid": 1, "pid_started": 1}
    answer = claim(run, far)
    assert isinstance(answer, Claimed)
    attempt = run.attempts()[0]
    assert attempt_alive(attempt)
    # A heartbeat is judged by the file server's time: what the writer's clock said is ignored.
    write_json(answer.path / "progress.json", {"updated": 0})
    assert attempt_alive(attempt)
    long_ago = os.stat(answer.path).st_mtime - 3600
    os.utime(answer.path / "progress.json", (long_ago, long_ago))
    assert not attempt_alive(attempt)


def test_the_schedulers_own_restart_takes_over_from_the_copy_it_replaces(run: RunDirectory) -> None:
    far = {"boot": "other", "host": "other", "pid": 1, "pid_started": 1, "token": "t"}
    first = claim(run, {**far, "scheduler": {"job_id": "7", "restart_count": 0}})
    assert isinstance(first, Claimed)
    again = {"token": "t", "scheduler": {"job_id": "7", "restart_count": 1}}
    assert superseded(run.attempts()[0], again)
    # The same id under another token is another job: controllers use ids again after a crash.
    assert not superseded(run.attempts()[0], {**again, "token": "other"})
    assert isinstance(claim(run, {**again, "token": "other"}), Refused)
    assert isinstance(claim(run, again), Claimed)
