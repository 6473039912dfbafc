"""A supervisor inside of one program's namespaces, as their first process, for unit tests and commands.

It starts the untrusted process (or one after another), enforces the limits, and sends the result. The
untrusted process cannot trace, signal or read it. Scripts and calls need none: see supervisor.py.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from inside import confine, run_tests, wire
from inside.direct import WORK, namespaces, only_descriptors, write_files
from inside.watch import (
    POLL_MS,
    REPORT_BYTES,
    Streams,
    cpu_s,
    input_file,
    other_processes,
    over_memory,
    resident_kb,
)

_FILE_BYTES = 4 << 20
_PIPE_BYTES = 1 << 16


class _Run:
    """The processes of one program and what has been seen of them."""

    def __init__(self, header: dict[str, Any], connection: socket.socket) -> None:
        self.header = header
        self.connection = connection
        self.limits: dict[str, float] = header["limits"]
        self.streams = Streams(int(self.limits["output_kb"] * 1024))
        self.statuses: dict[int, int] = {}
        self.end = "exited"
        self.step = 0
        self.base_kb = resident_kb(1)
        self.peak_kb = 0
        self.cpu_s = 0.0
        self.started = time.monotonic()

    def start(self, body: Callable[[], int], stdin: int, channel: int | None) -> int:
        """Fork the untrusted process; `body` runs with nothing but its own pipes and no rights."""
        limit = self.streams.limit
        out, err = self.streams.pipe("stdout", limit), self.streams.pipe("stderr", min(limit, 1 << 16))
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            status = 125
            try:
                try:
                    standard = [stdin, out, err] + ([] if channel is None else [channel])
                    _become_untrusted(self.header, standard, tell)
                except BaseException as error:
                    os.write(tell, repr(error).encode())
                    raise
                os.close(tell)
                status = body()
            finally:
                os._exit(status)
        for descriptor in (out, err, tell):
            os.close(descriptor)
        with open(told, "rb") as stream:
            failure = stream.read()  # ends when the child has closed its end: it is confined then
        if failure:
            raise OSError(f"the program could not be confined: {failure.decode()}")
        return child

    def reap(self, flags: int) -> None:
        """Collect every process that has ended, adopted orphans too; without WNOHANG until none is left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, flags)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.statuses.setdefault(pid, status)
            self.cpu_s += usage.ru_utime + usage.ru_stime
            self.peak_kb = max(self.peak_kb, usage.ru_maxrss - self.base_kb)

    def check(self) -> None:
        """End the run when its processes together are over a limit."""
        if time.monotonic() - self.started > self.limits["wall_s"]:
            self.end = "wall"
            return
        pids = other_processes({1})
        # the kernel's own limit is first to fire on one process
        if self.cpu_s + sum(map(cpu_s, pids)) > self.limits["cpu_s"] + 0.5:
            self.end = "cpu"
        over_kb = over_memory(pids, self.base_kb, self.limits["memory_mb"] * 1024)
        if over_kb is not None:
            self.end, self.peak_kb = "memory", over_kb

    def wait(self, process: int) -> None:
        """Until `process` has ended or a limit is passed."""
        poll = select.poll()
        for stream in self.streams.all:
            poll.register(stream.descriptor, select.POLLIN)
        poll.register(self.connection.fileno(), select.POLLRDHUP)
        ended = os.pidfd_open(process)
        poll.register(ended, select.POLLIN)
        next_check = time.monotonic() + POLL_MS / 1000
        while self.end == "exited":
            for descriptor, event in poll.poll(POLL_MS):
                if descriptor == self.connection.fileno():
                    self.end = "disconnected"  # nobody waits for the result
                elif event & select.POLLHUP and not event & select.POLLIN and descriptor != ended:
                    poll.unregister(descriptor)
            if not self.streams.read():
                self.end = "output"
            self.reap(os.WNOHANG)
            if process in self.statuses:
                break
            if time.monotonic() >= next_check and self.end == "exited":
                self.check()
                next_check = time.monotonic() + POLL_MS / 1000
        os.close(ended)

    def finish(self) -> None:
        """Nothing of the program is left; what it had written is read."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # everything in this namespace but this process
        self.reap(0)
        if not self.streams.read() and self.end == "exited":
            self.end = "output"


def _become_untrusted(header: dict[str, Any], standard: list[int], tell: int) -> None:
    os.setsid()
    confine.die_with_parent()
    only_descriptors(standard, tell)
    os.chdir(WORK)
    os.umask(0o022)
    confine.set_dumpable(True)
    confine.set_limits(header["limits"], address_space=header["mode"] != "command")
    confine.drop_privileges()


def _unit_tests(run: _Run, source: bytes, stdin: bytes) -> int:
    report = run.streams.pipe("report", REPORT_BYTES)
    secret = os.urandom(16).hex()
    main = run.start(lambda: run_tests.main(source, run.header, secret), input_file(stdin), report)
    os.close(report)
    run.header["secret"] = secret
    run.wait(main)
    return main


def _input_once(content: bytes) -> int:
    """A descriptor whose content is gone once it is read: a tests' runner that reads first reads alone."""
    if len(content) > _PIPE_BYTES:
        return input_file(content)
    reader, writer = os.pipe()
    os.write(writer, content)
    os.close(writer)
    return reader


def _command(run: _Run, _source: bytes, stdin: bytes) -> int:
    main = 0
    last = len(run.header["steps"]) - 1
    end = time.monotonic() + run.header["wall_s"]
    for number, step in enumerate(run.header["steps"]):
        run.step = number
        run.started = time.monotonic()
        run.limits["wall_s"] = min(step["wall_s"], end - run.started)

        def execute(argv: list[str] = step["argv"]) -> int:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            try:
                os.execvpe(argv[0], argv, {**os.environ, **run.header["environment"]})
            except OSError as error:
                os.write(2, f"cannot start {argv[0]}: {error}\n".encode())
                return 127

        main = run.start(execute, _input_once(stdin if number == last else b""), None)
        run.wait(main)
        if run.end != "exited" or run.statuses.get(main) != 0:
            break
    return main


_MODES = {"unit_tests": _unit_tests, "command": _command}


def _take_file(name: str) -> bytes:
    """A file that the program left, never through a link, never more than the bound."""
    try:
        descriptor = os.open(os.path.join(WORK, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with open(descriptor, "rb") as stream:
        return stream.read(_FILE_BYTES)


def main(connection: socket.socket, keep: list[str]) -> int:
    """Serve one request on `connection`. Zero when the whole result frame was sent."""
    header, blobs = wire.receive_frame(connection)
    namespaces(header, keep, executable=header["mode"] == "command")
    source, stdin, *contents = blobs
    write_files(header["files"], contents)
    run = _Run(header, connection)
    started = time.monotonic()
    process = _MODES[header["mode"]](run, source, stdin)
    if run.end == "disconnected":
        return 1
    run.finish()
    status = run.statuses.get(process, 0)
    result = {
        "end": run.end,
        "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "step": run.step,
        "cpu_s": round(run.cpu_s, 4),
        "wall_s": round(time.monotonic() - started, 4),
        "memory_mb": round(max(0, run.peak_kb) / 1024, 1),
        "secret": header.get("secret"),
    }
    taken = [run.streams.taken(name) for name in ("stdout", "stderr", "report", "verdict")]
    wire.send_frame(connection, result, *taken, *(_take_file(name) for name in header["take"]))
    return 0
