"""A job that makes no steps any more is ended with its stacks on disk; a slow one is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from manager.watchdog import EXIT_STALLED, FACTOR, Watchdog


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_only_a_step_much_longer_than_the_others_counts_as_stalled(tmp_path: Path) -> None:
    clock = Clock()
    dog = Watchdog(tmp_path, 0, floor_s=100.0, clock=clock)
    clock.now = 5000.0  # a model that takes long to load
    assert dog.stalled_s(None) is None
    assert dog.stalled_s(1) is None
    for step in range(2, 8):
        clock.now += 30.0
        assert dog.stalled_s(step) is None
    assert dog.limit_s() == FACTOR * 30.0
    clock.now += FACTOR * 30.0 - 1
    assert dog.stalled_s(7) is None
    clock.now += 2
    assert dog.stalled_s(7) is not None
    assert dog.stalled_s(8) is None, "it goes on"


def test_fast_steps_have_a_floor_and_jumps_count_each_step(tmp_path: Path) -> None:
    clock = Clock()
    dog = Watchdog(tmp_path, 0, floor_s=100.0, clock=clock)
    dog.stalled_s(0)
    clock.now = 2.0
    dog.stalled_s(200)  # read every two seconds
    assert dog.limit_s() == 100.0
    clock.now = 101.0
    assert dog.stalled_s(200) is None
    clock.now = 103.0
    assert dog.stalled_s(200) is not None


STALLS = """
import sys, threading, time
from pathlib import Path
from manager.heartbeat import Heartbeat
from manager.job import Job, Kind
from manager.run import Run
from manager.store import RunDirectory

path = Path(sys.argv[1])
run = Run(RunDirectory(path), Job(Kind.RL, {}), path / "attempts" / "0001")

def waits_for_ever():
    threading.Event().wait()

with Heartbeat(run, None):
    for step in range(12):
        run.progress(step, 10)
        time.sleep(0.35)
    waits_for_ever()
"""


def test_a_stalled_job_ends_itself_and_leaves_its_stacks(tmp_path: Path) -> None:
    (tmp_path / "attempts" / "0001").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", STALLS, str(tmp_path)],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "MANAGER_STALL_S": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == EXIT_STALLED, done.stderr
    attempt = tmp_path / "attempts" / "0001"
    end = json.loads((attempt / "end.json").read_text())
    assert (end["outcome"], end["cause"], end["retryable"]) == ("failed", "stalled", True)
    assert "waits_for_ever" in (attempt / "stacks-rank0.txt").read_text()
    assert "waits_for_ever" in done.stderr
