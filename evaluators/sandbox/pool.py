"""Workers that run programs in the sandbox, and the verdict on each.

Owns worker processes and the translation of what a supervisor reports into a verdict. Safe to call from many
threads; a forked process makes its own workers. Nothing untrusted is run on this side.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from evaluators.sandbox import judgement, launch
from evaluators.sandbox.inside import wire
from evaluators.sandbox.judgement import Judgement
from evaluators.sandbox.program import Program, Verdict, VerdictKind
from evaluators.sandbox.verdict import request_of, tests_of, verdict_of
from manager.errors import UserError

# What small programs import. Modules that make every fork dearer are left out: threading, random.
STANDARD = (
    "typing", "math", "collections", "heapq", "itertools", "functools", "re", "bisect", "string", "datetime",
    "json", "copy", "operator", "decimal", "fractions", "hashlib",
)  # fmt: skip
_START_S = 120.0
_GRACE_S = 30.0  # a supervisor enforces the limits itself; past this it counts as lost


class SandboxError(Exception):
    """A worker was lost. Says nothing about the program."""


class _Worker:
    """One sandboxed interpreter and the connection to it."""

    def __init__(self, sandbox: Sandbox) -> None:
        ours, theirs = socket.socketpair()
        self._connection = ours
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the worker)
        ready = launch.launch(
            sandbox.made_by, sandbox.python, theirs.fileno(), sandbox.preload, sandbox.mounts, sandbox.environment
        )
        try:
            # in a thread that lives as long as the sandbox: --die-with-parent means the parent's thread
            self._process: subprocess.Popen[bytes] = sandbox.starter.submit(
                launch.start, ready, theirs.fileno(), self._errors.fileno()
            ).result()
        finally:
            theirs.close()
            ready.close()
        self._connection.settimeout(_START_S)
        try:
            hello, _ = wire.receive_frame(self._connection)
        except (wire.FrameError, OSError) as error:
            self.close()
            raise UserError(
                f"the sandbox does not start: {self.errors() or error}; model-written code needs bubblewrap with "
                "user namespaces (install the package bubblewrap; check `bwrap --unshare-user --ro-bind / / true`, "
                "and with the administrator the sysctl user.max_user_namespaces)"
            ) from error
        self.missing: tuple[str, ...] = tuple(hello["missing"])

    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read(20000).decode(errors="replace").strip()[-500:].replace("\n", " | ")

    def ask(self, program: Program) -> tuple[dict[str, Any], list[bytes]]:
        """Run one program; SandboxError when the worker is lost."""
        header, blobs, wall_s = request_of(program)
        try:
            self._connection.settimeout(wall_s + _GRACE_S)
            wire.send_frame(self._connection, header, *blobs)
            tests = tests_of(program)
            if tests is not None:
                wire.send_frame(self._connection, tests)
            answer = wire.receive_frame(self._connection)
        except (wire.FrameError, OSError) as error:
            raise SandboxError(f"{self.errors() or error}") from error
        return answer

    def close(self) -> None:
        """End the worker and everything in it; a run that waits on it fails."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # closing alone wakes no thread that waits
        self._connection.close()
        if hasattr(self, "_process"):
            self._process.kill()
            self._process.wait()


class Sandbox:
    """A pool of at most `workers` sandboxed interpreters, each started when it is first needed.

    `preload` is imported once per worker. `mounts` are shown read-only at their own path.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        preload: tuple[str, ...] = (),
        python: str | None = None,
        mounts: tuple[Path, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.made_by = launch.boxer()
        self.workers = workers or len(os.sched_getaffinity(0))
        self.preload = preload
        self.python = python or launch.default_python()
        self.mounts = mounts
        self.environment = dict(environment or {})
        self._owner = 0
        self._adopt()

    def _adopt(self) -> None:
        """Begin with no workers, in this process."""
        self._owner = os.getpid()
        self._free: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(self.workers):
            self._free.put(None)  # a place for a worker that is not started yet
        self._lock = threading.Lock()
        self._living: set[_Worker] = set()
        self.starter = ThreadPoolExecutor(1, "sandbox-starter")
        self.closed = False

    def run(self, program: Program) -> Verdict:
        """The verdict on one program. Blocks until a worker is free; a judgement around it bounds its time."""
        return self._run(program, judgement.current())

    def _run(self, program: Program, whole: Judgement | None) -> Verdict:
        if whole is None:
            return self._run_alone(program)
        if (left := whole.left) <= 0:
            return whole.spent()
        verdict = self._run_alone(judgement.cut(program, left))
        whole.spend(verdict.wall_s)
        return whole.spent(verdict) if verdict.kind is VerdictKind.TIME_LIMIT and whole.left <= 0 else verdict

    def _run_alone(self, program: Program) -> Verdict:
        if self._owner != os.getpid():
            self._adopt()  # forked: the workers are the parent's
        if self.closed:
            raise RuntimeError("the sandbox is closed")
        worker = self._free.get()
        started = time.monotonic()
        try:
            worker = worker or self._start()
            answer = worker.ask(program)
        except SandboxError as error:
            assert worker is not None
            self._drop(worker)
            self._free.put(None)
            return Verdict(VerdictKind.SANDBOX_ERROR, str(error), wall_s=time.monotonic() - started)
        except BaseException:
            if worker is not None:
                self._drop(worker)
            self._free.put(None)
            raise
        self._free.put(worker)
        return verdict_of(program, *answer)

    def run_many(self, programs: Iterable[Program]) -> Iterator[Verdict]:
        """Verdicts in the order of the programs, all workers busy."""
        whole = judgement.current()  # the threads have one of their own, which is none
        with ThreadPoolExecutor(self.workers, "sandbox-run") as threads:
            yield from threads.map(lambda program: self._run(program, whole), programs)

    def missing(self) -> tuple[str, ...]:
        """The modules of `preload` that are not installed for `python`."""
        worker = self._free.get()
        try:
            worker = worker or self._start()
            return worker.missing
        finally:
            self._free.put(worker)

    def _start(self) -> _Worker:
        worker = _Worker(self)
        with self._lock:
            self._living.add(worker)
        return worker

    def _drop(self, worker: _Worker) -> None:
        with self._lock:
            self._living.discard(worker)
        worker.close()

    def close(self) -> None:
        """End every worker. Programs that run are lost."""
        if self._owner != os.getpid() or self.closed:
            return
        self.closed = True
        for worker in list(self._living):
            self._drop(worker)
        self.starter.shutdown()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_shared: dict[tuple[object, ...], Sandbox] = {}
_shared_lock = threading.Lock()


def shared(
    preload: tuple[str, ...] = STANDARD,
    *,
    python: str | None = None,
    mounts: tuple[Path, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> Sandbox:
    """The process's own sandbox of this kind, made at first use and ended with the process."""
    key = (os.getpid(), preload, python, mounts, tuple(sorted((environment or {}).items())))
    with _shared_lock:
        if key not in _shared:
            _shared[key] = Sandbox(preload=preload, python=python, mounts=mounts, environment=environment)
        return _shared[key]


def close_shared() -> None:
    """End the process's own sandboxes."""
    with _shared_lock:
        for key in [key for key in _shared if key[0] == os.getpid()]:
            _shared.pop(key).close()


atexit.register(close_shared)
os.register_at_fork(after_in_child=_shared.clear)
