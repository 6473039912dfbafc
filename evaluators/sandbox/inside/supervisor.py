"""The supervisor of a worker: takes requests from the host, has the zygote fork, enforces limits, answers.

It forks nothing itself and lives outside of every program's namespaces, so what it has read of one program or
of its tests is in no other process. Programs that need a supervisor inside (supervise.py) are passed on.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import signal
import socket
import time
from typing import Any

from inside import wire
from inside.direct import pack
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


class Lost(Exception):
    """The host or the zygote is gone: this worker is at its end."""


class _Zygote:
    """The process that forks: told over a socket of messages, with descriptors."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.ended: dict[int, dict[str, Any]] = {}

    def spawn(self, role: str, descriptors: list[int]) -> int:
        """Fork a process for `role`; its pid. The descriptors are given away."""
        socket.send_fds(self.connection, [role.encode()], descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return int(self.receive("pid")["pid"])

    def receive(self, wanted: str) -> dict[str, Any]:
        """The next message of that kind; ends of processes met before it are kept."""
        while True:
            data = self.connection.recv(4096)
            if not data:
                raise Lost("the zygote is gone")
            message: dict[str, Any] = marshal.loads(data)
            if "status" in message:
                self.ended[message["ended"]] = message
            if wanted in message:
                return message

    def wait(self, pid: int) -> dict[str, Any]:
        while pid not in self.ended:
            self.receive("ended")
        return self.ended.pop(pid)


class _Run:
    """One program: its processes, its pipes, its limits."""

    def __init__(self, host: socket.socket, zygote: _Zygote, header: dict[str, Any], base_kb: int) -> None:
        self.host = host
        self.zygote = zygote
        self.limits: dict[str, float] = header["limits"]
        self.base_kb = base_kb
        self.streams = Streams(int(self.limits["output_kb"] * 1024))
        self.end = "exited"
        self.peak_kb = 0
        self.started = time.monotonic()

    def spawn(self, role: str, request: bytes, *standard: int) -> int:
        """Standard: what becomes 0, 1, 2 … of the new process."""
        tell = self.streams.pipe("failure", 4096)
        return self.zygote.spawn(role, [input_file(request), tell, *standard])

    def output(self) -> tuple[int, int]:
        limit = self.streams.limit
        return self.streams.pipe("stdout", limit), self.streams.pipe("stderr", min(limit, 1 << 16))

    def wait(self, process: int, hidden: set[int]) -> None:
        """Until `process` has ended or a limit is passed. `hidden`: processes that are not the program's."""
        poll = select.poll()
        for stream in self.streams.all:
            poll.register(stream.descriptor, select.POLLIN)
        poll.register(self.host, select.POLLRDHUP)
        poll.register(self.zygote.connection, select.POLLIN)
        next_check = time.monotonic() + POLL_MS / 1000
        while self.end == "exited" and process not in self.zygote.ended:
            for descriptor, event in poll.poll(POLL_MS):
                if descriptor == self.host.fileno():
                    raise Lost("the host is gone")
                if descriptor == self.zygote.connection.fileno():
                    self.zygote.receive("ended")
                elif event & select.POLLHUP and not event & select.POLLIN:
                    poll.unregister(descriptor)
            if not self.streams.read():
                self.end = "output"
            elif time.monotonic() >= next_check and process not in self.zygote.ended:
                self.check(hidden)
                next_check = time.monotonic() + POLL_MS / 1000

    def check(self, hidden: set[int]) -> None:
        """End the run when its processes together are over a limit."""
        if time.monotonic() - self.started > self.limits["wall_s"]:
            self.end = "wall"
            return
        pids = other_processes(hidden | {1, os.getpid()})
        # the kernel's own limit is first to fire on one process
        if sum(map(cpu_s, pids)) > self.limits["cpu_s"] + 0.5:
            self.end = "cpu"
        over_kb = over_memory(pids, self.base_kb, self.limits["memory_mb"] * 1024)
        if over_kb is not None:
            self.end, self.peak_kb = "memory", over_kb

    def finish(self, process: int) -> dict[str, Any]:
        """End the process, and with it its namespace; how it ended."""
        if process not in self.zygote.ended:
            # It may have ended by now; only this process has others made, so the number is not another's.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        ended = self.zygote.wait(process)
        if not self.streams.read() and self.end == "exited":
            self.end = "output"
        return ended


class Supervisor:
    def __init__(self, host: socket.socket, zygote: socket.socket) -> None:
        self.host = host
        self.zygote = _Zygote(zygote)
        self.base_kb = 0

    def serve(self) -> None:
        """Answer requests until the host hangs up."""
        while True:
            header, blobs = wire.receive_frame(self.host)
            self.base_kb = self.base_kb or resident_kb(1)
            if header["mode"] in ("script", "calls"):
                self._direct(header, blobs)
            else:
                self._pass_on(header, blobs)

    def _direct(self, header: dict[str, Any], blobs: list[bytes]) -> None:
        run = _Run(self.host, self.zygote, header, self.base_kb)
        source, stdin, *contents = blobs
        request = pack(header, source, *contents)
        if header["mode"] == "script":
            process = run.spawn("script", request, input_file(stdin), *run.output())
            run.wait(process, set())
        else:
            theirs, ours = socket.socketpair()
            process = run.spawn("calls", request, input_file(stdin), *run.output(), theirs.detach())
            tests, _ = wire.receive_frame(self.host)
            verdict = run.streams.pipe("verdict", REPORT_BYTES)
            request = pack({**header, "files": [], "tests": tests}, b"")
            nowhere = [os.open(os.devnull, os.O_RDWR) for _ in range(3)]
            tester = run.spawn("tests", request, *nowhere, ours.detach(), verdict)
            run.wait(tester, {tester})
            run.finish(tester)
        ended = run.finish(process)
        failure = run.streams.taken("failure")
        if failure:
            raise OSError(f"the program could not be confined: {failure.decode()}")
        self._answer(run, ended)
        run.streams.close()

    def _answer(self, run: _Run, ended: dict[str, Any]) -> None:
        status = ended["status"]
        result = {
            "end": run.end,
            "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            "step": 0,
            "cpu_s": round(ended["cpu_s"], 4),
            "wall_s": round(time.monotonic() - run.started, 4),
            "memory_mb": round(max(run.peak_kb, ended["peak_kb"] - run.base_kb, 0) / 1024, 1),
            "secret": None,
        }
        names = ("stdout", "stderr", "report", "verdict")
        wire.send_frame(self.host, result, *(run.streams.taken(name) for name in names))

    def _pass_on(self, header: dict[str, Any], blobs: list[bytes]) -> None:
        """Let a supervisor inside the program's namespaces do it; carry its answer."""
        ours, theirs = socket.socketpair()
        with ours:
            process = self.zygote.spawn("supervised", [theirs.detach()])
            wire.send_frame(ours, header, *blobs)
            poll = select.poll()
            poll.register(ours, select.POLLIN)
            poll.register(self.host, select.POLLRDHUP)
            while True:
                ready = {descriptor for descriptor, _ in poll.poll()}
                if self.host.fileno() in ready:
                    raise Lost("the host is gone")
                if ready:
                    break
            result, taken = wire.receive_frame(ours)
            self.zygote.wait(process)
        wire.send_frame(self.host, result, *taken)


def main(host: socket.socket, zygote: socket.socket) -> int:
    try:
        Supervisor(host, zygote).serve()
    except (Lost, wire.FrameError, ConnectionError):
        return 0
    return 1
