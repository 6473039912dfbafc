"""Calls into a worker process end, whatever the worker does, and the next call is answered."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from evaluators.scoring.isolation import IsolatedCalls, IsolatedFailure, Limits

HANDLER = "tests.evaluators.isolated_handler"


@pytest.fixture
def calls() -> Iterator[IsolatedCalls]:
    calls = IsolatedCalls(HANDLER, Limits(cpu_s=0.5, wall_s=60, memory_mb=1024))
    yield calls
    calls.close()


@pytest.mark.parametrize(
    ("what", "message"),
    [("spin", "CPU time"), ("hoard", "memory"), ("die", "code 7"), ("raise", "code 1")],
)
def test_failure_is_told_and_the_next_call_is_answered(calls: IsolatedCalls, what: str, message: str) -> None:
    with pytest.raises(IsolatedFailure, match=message):
        calls.call({"do": what})
    assert calls.call({"do": "hello"})["echo"] == "hello"


def test_worker_that_sleeps_is_ended_by_the_wall_clock() -> None:
    calls = IsolatedCalls(HANDLER, Limits(cpu_s=5, wall_s=3))
    with pytest.raises(IsolatedFailure, match="no answer within 3 s"):
        calls.call({"do": "sleep"})
    assert calls.call({"do": "hello"})["echo"] == "hello"
    calls.close()


def test_one_worker_serves_many_calls(calls: IsolatedCalls) -> None:
    assert len({calls.call({"do": "hello"})["pid"] for _ in range(50)}) == 1


def test_used_worker_that_dies_is_replaced_and_asked_again(calls: IsolatedCalls, tmp_path: Path) -> None:
    calls.call({"do": "hello"})
    assert calls.call({"do": "die once", "marker": str(tmp_path / "died")})["echo"] == "die once"


def test_what_the_handler_prints_does_not_mix_with_answers(calls: IsolatedCalls) -> None:
    assert calls.call({"do": "print"})["echo"] == "print"
    assert calls.call({"do": "hello"})["echo"] == "hello"


def test_worker_is_renewed_after_its_share_of_requests() -> None:
    calls = IsolatedCalls(HANDLER, Limits(requests_per_worker=2))
    assert len({calls.call({"do": "hello"})["pid"] for _ in range(4)}) == 2
    calls.close()


def test_threads_get_their_own_answers(calls: IsolatedCalls) -> None:
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        answers[number] = calls.call({"do": f"hello {number}"})["echo"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: f"hello {number}" for number in range(8)}


def test_forked_child_does_not_share_workers(calls: IsolatedCalls) -> None:
    mine = calls.call({"do": "hello"})["pid"]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(calls.call({"do": "hello"})["pid"]).encode())
        calls.close()
        os._exit(0)
    os.close(writer)
    theirs = int(os.read(reader, 100))
    os.close(reader)
    os.waitpid(child, 0)
    assert theirs != mine
    assert calls.call({"do": "hello"})["pid"] == mine


def test_workers_end_with_a_parent_that_is_killed() -> None:
    program = (
        "from evaluators.scoring.isolation import IsolatedCalls\n"
        "import time\n"
        f"print(IsolatedCalls({HANDLER!r}).call({{'do': 'hello'}})['pid'], flush=True)\n"
        "time.sleep(3600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    assert psutil.pid_exists(worker)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 60
    while _alive(worker):
        assert time.monotonic() < deadline, "the worker outlived its parent"
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
