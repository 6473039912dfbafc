"""Scores completions on the CPU while the engine generates: processes with hard limits of time and memory.

A scorer that hangs is killed with its whole group, one that crashes is replaced; both are GRADER_FAILED,
never a wrong answer. The calling process is not forked: it may hold threads and devices.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from evaluators import benchmarks
from evaluators.benchmark import Item, Outcome, Score
from evaluators.pipe import child_environment, frame

MEMORY_GB = 8.0  # address space, so it is generous: imports alone map gigabytes
SCORE_SECONDS = 60.0
JOIN_SECONDS = 0.2
CODE_SCORE_SECONDS = 600.0  # all programs of one answer together; what is not reached has not passed
SANDBOX_GRACE_S = 60.0  # the sandbox keeps that limit itself; past this it is a bug in it


@dataclass(frozen=True)
class Task:
    """One completion to judge, and who wants the score."""

    benchmark: str
    item: Item
    completion: str
    truncated: bool
    done: Callable[[Score], None]


def score_seconds(benchmark: str, code_s: float = CODE_SCORE_SECONDS) -> float:
    """How long a scorer may take: the benchmark's own `score_seconds` if it has one."""
    own = benchmarks.get(benchmark)
    default = code_s + SANDBOX_GRACE_S if own.domain == "code" else SCORE_SECONDS
    return float(getattr(own, "score_seconds", default))


def failed(why: str) -> Score:
    return Score(None, Outcome.GRADER_FAILED, None, why)


class _Process:
    """One scorer process, started at once and again after it died."""

    def __init__(self, memory_gb: float, code_s: float, names: tuple[str, ...]) -> None:
        self._memory_gb, self._code_s, self._names = memory_gb, code_s, names
        self._process: subprocess.Popen[bytes] | None = None

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "evaluators.scorer_process", str(self._memory_gb), str(self._code_s), *self._names],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
            env=child_environment(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1"),
        )  # fmt: skip

    def ensure(self) -> None:
        if self._process is None:
            self._process = self._start()

    def score(self, task: Task) -> Score:
        self.ensure()
        seconds = score_seconds(task.benchmark, self._code_s)
        body = pickle.dumps((task.benchmark, task.item, task.completion, task.truncated))
        try:
            answer = self._exchange(frame(body), time.monotonic() + seconds)
        except TimeoutError:
            self.kill()
            return failed(f"the scorer took longer than {seconds:g} s")
        except (BrokenPipeError, EOFError):
            code = self.kill()
            return failed(f"the scorer's process ended with code {code}")
        return Score(answer["value"], Outcome(answer["outcome"]), answer["extracted"], answer["why"])

    def _exchange(self, message: bytes, deadline: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        # It reads before it scores, so that writing cannot wait on a scorer that hangs.
        self._process.stdin.write(message)
        self._process.stdin.flush()
        (length,) = struct.unpack("<Q", self._read(8, deadline))
        answer: dict[str, Any] = json.loads(self._read(length, deadline))
        return answer

    def _read(self, length: int, deadline: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        parts, stream = b"", self._process.stdout.fileno()
        while len(parts) < length:
            ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            part = os.read(stream, length - len(parts))
            if not part:
                raise EOFError
            parts += part
        return parts

    def kill(self) -> int | None:
        """End the process and all it started; its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        with suppress(ProcessLookupError):  # it and its group are gone already
            os.killpg(process.pid, signal.SIGKILL)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):  # what it did not read any more
                    stream.close()
        return process.wait()


class ScorerPool:
    """Threads that each drive one scorer process. `done` of a task is called in such a thread.

    `code_s`: how long all programs that judge one answer may run together.
    """

    def __init__(
        self, workers: int, names: Iterable[str] = (), memory_gb: float = MEMORY_GB,
        code_s: float = CODE_SCORE_SECONDS,
    ) -> None:  # fmt: skip
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._abandoned = threading.Event()
        self._error: BaseException | None = None
        self._processes = [_Process(memory_gb, code_s, tuple(names)) for _ in range(workers)]
        self._threads = [
            threading.Thread(target=self._serve, args=(process,), name=f"scorer-{number}", daemon=True)
            for number, process in enumerate(self._processes)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> None:
        self.check()
        self._tasks.put(task)

    def check(self) -> None:
        """Raise what went wrong in a `done`: a record that could not be written must stop the job."""
        if self._error is not None:
            raise self._error

    def _serve(self, process: _Process) -> None:
        try:
            process.ensure()
            while (task := self._tasks.get()) is not None:
                if self._abandoned.is_set():
                    continue
                score = process.score(task)
                if not self._abandoned.is_set():
                    task.done(score)
        except BaseException as error:  # noqa: BLE001  (kept for the job's thread, which raises it)
            self._error = error
        finally:
            process.kill()

    def finish(self, stopping: Callable[[], bool] = lambda: False) -> bool:
        """Score everything submitted, then end the processes; False, at once, if asked to stop meanwhile."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            while thread.is_alive():
                thread.join(JOIN_SECONDS)
                if stopping():
                    return False
        self.check()
        return True

    def abandon(self) -> None:
        """End at once; what has no score yet gets none."""
        self._abandoned.set()
        for _ in self._threads:
            self._tasks.put(None)
        for thread, process in zip(self._threads, self._processes, strict=True):
            while thread.is_alive():
                process.kill()  # again and again: a thread may have started one just now
                thread.join(0.1)
