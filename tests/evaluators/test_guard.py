"""The guard ends what a killed parent started, however it hides, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.evaluators.test_scorer_pool import running

PARENT = """
import os, subprocess, sys, time
from evaluators.guard import Guard
guard = Guard()
hidden = dict(os.environ)
hidden.pop("MANAGER_ENGINE_MARK")
code = "import subprocess, sys; subprocess.Popen(['sleep', '300']); import time; time.sleep(300)"
own = subprocess.Popen([sys.executable, "-c", code], env=hidden, start_new_session=True)
time.sleep(3)  # the guard looks
late = subprocess.Popen(["sleep", "301"], start_new_session=True)
print("ready", flush=True)
sys.stdin.readline()  # until its children have been looked at
{end}
"""


def start(end: str) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(end=end)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    assert parent.stdout.readline() == b"ready\n"
    children = psutil.Process(parent.pid).children(recursive=True)
    parent.stdin.write(b"\n")
    parent.stdin.flush()
    return parent, children


def wait_until(gone: list[psutil.Process]) -> None:
    deadline = time.monotonic() + 60
    while any(running(process) for process in gone):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_children_in_sessions_of_their_own_end_with_a_killed_parent(number: signal.Signals) -> None:
    bystander = subprocess.Popen(["sleep", "302"])
    parent, children = start("time.sleep(300)")
    assert len(children) == 4  # the guard, a child, its child, a late one
    os.kill(parent.pid, number)
    parent.wait()
    wait_until(children)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_a_guard_that_was_closed_ends_nothing() -> None:
    parent, children = start("guard.close(); os._exit(0)")
    assert parent.wait() == 0
    guard = [p for p in children if "guard.py" in " ".join(p.cmdline() if running(p) else [])]
    wait_until(guard)
    others = [p for p in children if running(p)]
    assert len(others) == 3
    for process in others:
        process.kill()
