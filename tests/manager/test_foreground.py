"""Sweeps on this machine, with real processes: order, slots, faults, kills and reruns."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from manager.job import State
from manager.liveness import is_alive
from manager.store import Store
from tests.manager.toy_sweep import toy_sweep, wide_sweep

ROOT = Path(__file__).parents[2]
DEADLINE_S = 600


def start(store: Path, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.manager.toy_sweep", str(store), json.dumps(options)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for the end; the last line tells how it went."""
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def steps(store: Path, job_id: str) -> list[dict[str, int]]:
    path = store / "jobs" / job_id / "steps.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def family(store: Path) -> list[psutil.Process]:
    """Every process that works on this store."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(store) in argument for argument in process.info["cmdline"] or []):
            found.append(process)
    return found


def assert_complete(store: Path, **toy: Any) -> None:
    """Every job has one result, no two attempts of a job overlapped, parents came first."""
    opened = Store.open(store)
    finished = {}
    for entry in toy_sweep(**toy).jobs:
        run = opened.run(entry.job.id)
        result = run.result()
        assert result is not None
        finished[entry.job.id] = result["finished"]
        attempts = run.attempts()
        last = attempts[-1]
        progress = last.progress()
        assert last.record["started"] <= progress["step_time"] <= result["finished"]  # type: ignore[index]
        for before, after in itertools.pairwise(attempts):
            assert before.end is None or before.end["finished"] <= after.record["started"]
        assert all(finished[need] <= attempts[-1].record["started"] for need in entry.job.needs)
    wait_until(lambda: not family(store))


def test_jobs_run_once_in_order_and_a_rerun_starts_nothing(tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert finish(start(store, steps=3)) == {"stopped": False, "started": 5}
    assert_complete(store, steps=3)
    for entry in toy_sweep(steps=3).jobs:
        assert [each["step"] for each in steps(store, entry.job.id)] == [1, 2, 3]
    assert finish(start(store, steps=3)) == {"stopped": False, "started": 0}


def test_a_job_killed_at_a_step_goes_on_from_its_last_complete_step(tmp_path: Path) -> None:
    store = tmp_path / "store"
    toy = {"steps": 4, "fault": "kill", "fault_step": 3}
    assert finish(start(store, **toy)) == {"stopped": False, "started": 10}
    assert_complete(store, **toy)
    for entry in toy_sweep(**toy).jobs:
        # Step 3 was begun twice: the kill came before it was kept.
        done = [(each["step"], each["attempt"]) for each in steps(store, entry.job.id)]
        assert done == [(1, 1), (2, 1), (3, 1), (3, 2), (4, 2)]


def test_an_error_in_a_job_is_told_and_what_needs_it_is_blocked(tmp_path: Path) -> None:
    store = tmp_path / "store"
    process = start(store, steps=3, fault="raise", fault_attempts=9)
    output, _ = process.communicate(timeout=DEADLINE_S)
    states = list(json.loads(output.splitlines()[-2]).values())
    assert states == [State.FAILED, *[State.BLOCKED] * 4]
    parent = toy_sweep(steps=3, fault="raise", fault_attempts=9).jobs[0].job
    end = Store.open(store).run(parent.id).attempts()[-1].end
    assert end is not None
    assert (end["outcome"], end["cause"], end["message"]) == ("failed", "exception", "RuntimeError: told to fail")


def test_a_job_that_never_gets_anywhere_is_given_up_after_two_tries(tmp_path: Path) -> None:
    store = tmp_path / "store"
    toy = {"steps": 3, "fault": "kill", "fault_step": 1, "fault_attempts": 99}
    process = start(store, **toy)
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert list(json.loads(output.splitlines()[-2]).values()) == [State.FAILED, *[State.BLOCKED] * 4]
    assert len(Store.open(store).run(toy_sweep(**toy).jobs[0].job.id).attempts()) == 2


def test_ctrl_c_lets_jobs_save_and_a_rerun_goes_on(tmp_path: Path) -> None:
    store = tmp_path / "store"
    toy = {"steps": 40, "step_s": 0.1}
    parent = toy_sweep(**toy).jobs[0].job
    process = start(store, **toy)
    wait_until(lambda: len(steps(store, parent.id)) >= 3)
    process.send_signal(signal.SIGINT)
    assert finish(process)["stopped"]
    attempt = Store.open(store).run(parent.id).attempts()[-1]
    assert attempt.outcome == "interrupted"
    assert is_alive(attempt.record) is False
    assert not family(store)
    fast = Store.open(store).run(parent.id).path / "job.json"
    fast.write_text(fast.read_text().replace('"step_s": 0.1', '"step_s": 0.0'))
    done_before = len(steps(store, parent.id))
    again = start(store, **toy)
    wait_until(lambda: Store.open(store).run(parent.id).is_done())
    again.send_signal(signal.SIGINT)
    finish(again)
    numbers = [each["step"] for each in steps(store, parent.id)]
    assert numbers == list(range(1, 41))
    assert done_before < 40


@pytest.mark.parametrize("after", ["start", "claim", "step", "second job"])
def test_the_manager_killed_with_9_and_run_again_finishes_the_sweep(tmp_path: Path, after: str) -> None:
    store = tmp_path / "store"
    toy = {"steps": 6, "step_s": 0.1}
    jobs = [entry.job.id for entry in toy_sweep(**toy).jobs]
    reached = {
        "start": lambda: (store / "submissions").is_dir() and any((store / "submissions").iterdir()),
        "claim": lambda: (store / "jobs" / jobs[0] / "attempts" / "0001").exists(),
        "step": lambda: bool(steps(store, jobs[0])),
        "second job": lambda: bool(steps(store, jobs[1])),
    }[after]
    process = start(store, **toy)
    wait_until(reached)
    process.kill()
    process.wait()
    assert finish(start(store, **toy))["stopped"] is False
    assert_complete(store, **toy)
    for job_id in jobs:
        done = Counter(each["step"] for each in steps(store, job_id))
        assert sorted(done) == list(range(1, 7))
        assert max(done.values()) == 1  # toy steps are kept at once, so none is ever done twice


def test_two_managers_at_once_run_every_job_once(tmp_path: Path) -> None:
    store = tmp_path / "store"
    toy = {"steps": 5, "step_s": 0.05}
    first, second = start(store, **toy), start(store, **toy)
    finish(first)
    finish(second)
    assert_complete(store, **toy)
    for entry in toy_sweep(**toy).jobs:
        assert [each["step"] for each in steps(store, entry.job.id)] == [1, 2, 3, 4, 5]


def test_several_ranks_share_one_attempt(tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert finish(start(store, steps=2, ranks=3)) == {"stopped": False, "started": 1}
    job = wide_sweep(3, steps=2).jobs[0].job
    attempts = Store.open(store).run(job.id).attempts()
    assert len(attempts) == 1
    assert attempts[0].record["world_size"] == 3
    assert len({each["pid"] for each in steps(store, job.id)}) >= 1
    assert not family(store)
