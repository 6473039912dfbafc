"""Runs a handler in a process of its own that can be killed: for libraries that hang or eat memory.

Owns the worker processes, their limits and their replacement. Knows nothing of what the handler computes.
The time limit counts CPU seconds, so that a busy machine does not change a verdict; a generous wall-clock
limit stands behind it. A worker ends when its parent does.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class IsolatedFailure(Exception):
    """The handler did not answer: out of time, out of memory, or its process died."""


@dataclass(frozen=True)
class Limits:
    cpu_s: float = 5.0
    wall_s: float = 60.0
    memory_mb: int = 2048
    requests_per_worker: int = 5000


class IsolatedCalls:
    """`call(request)` answers from `module` run as a worker; safe in threads and after a fork."""

    def __init__(self, module: str, limits: Limits | None = None) -> None:
        self._module = module
        self._limits = limits or Limits()
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self.close)

    def call(self, request: dict[str, Any]) -> dict[str, Any]:
        """The handler's answer, or IsolatedFailure. Starts workers as they are needed."""
        worker = self._take()
        used = worker.served > 0
        try:
            return self._ask(worker, request)
        except _Died:
            if not used:
                raise
        # A used worker may have died of what earlier requests left behind: one fresh one decides.
        return self._ask(_Worker(self._module, self._limits), request)

    def close(self) -> None:
        """Ends the idle workers; those at work end with their request."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()

    def _ask(self, worker: _Worker, request: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = worker.ask(request)
        except BaseException:
            worker.kill()
            raise
        if worker.served < self._limits.requests_per_worker:
            with self._lock:
                self._idle.append(worker)
        else:
            worker.kill()
        return answer

    def _take(self) -> _Worker:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return _Worker(self._module, self._limits)

    def _forget(self) -> None:
        # The pipes belong to the parent: a child that used them would mix its answers with the parent's.
        self._idle = []
        self._lock = threading.Lock()


class _Died(IsolatedFailure):
    pass


class _Worker:
    def __init__(self, module: str, limits: Limits) -> None:
        self.served = 0
        self._limits = limits
        self._rest = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(limits.cpu_s), str(limits.memory_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=_environment(),
        )

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as e:
            raise _Died(self._how_it_ended()) from e
        line = self._read_line(time.monotonic() + self._limits.wall_s)
        self.served += 1
        answer: dict[str, Any] = json.loads(line)
        if "failure" in answer:
            raise _Died(answer["failure"])
        return answer

    def _read_line(self, deadline: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise IsolatedFailure(f"no answer within {self._limits.wall_s:g} s")
            block = os.read(descriptor, 1 << 16)
            if not block:
                raise self._ended()
            self._rest += block
        line, self._rest = self._rest.split(b"\n", 1)
        return line

    def _ended(self) -> IsolatedFailure:
        how = self._how_it_ended()
        return IsolatedFailure(how) if "CPU" in how else _Died(how)

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "the worker closed its output"
        if code == -signal.SIGPROF:
            return f"more than {self._limits.cpu_s:g} s of CPU time"
        return f"the worker ended with code {code}"

    def kill(self) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what was buffered cannot reach a dead worker
                    pipe.close()
        self._process.wait()


def _environment() -> dict[str, str]:
    """One thread, no accelerator, and the modules of this process."""
    paths = [path for path in sys.path if path]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONHASHSEED": "0",
    }


def serve(handler: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The worker's main loop: a JSON request a line in, a JSON answer a line out. Arguments: CPU s, MB."""
    import resource

    cpu_s, memory_mb = float(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # its default action ends the process, whatever it is doing
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a library that prints must not write into the answers
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        try:
            answer = handler(json.loads(line))
        except MemoryError:
            answer = {"failure": f"more than {memory_mb} MB of memory"}
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(json.dumps(answer) + "\n")
