"""The supervisor of one program: first process of a pid namespace of its own, holder of the result channel.

It makes the private mounts, starts the untrusted process, enforces the limits from outside of it, ends the
whole namespace and sends the result. The untrusted process cannot trace, signal or read it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from inside import confine, run_calls, run_script, run_tests, wire

WORK = "/tmp/work"
_POLL_MS = 20
_REPORT_BYTES = 1 << 20
_FILE_BYTES = 4 << 20
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class _Stream:
    """One pipe out of the namespace, kept up to a bound."""

    name: str
    descriptor: int
    most: int
    data: bytearray = field(default_factory=bytearray)
    seen: int = 0


class _Run:
    """The processes of one program and what has been seen of them."""

    def __init__(self, header: dict[str, Any], connection: socket.socket) -> None:
        self.header = header
        self.connection = connection
        self.limits: dict[str, float] = header["limits"]
        self.streams: dict[int, _Stream] = {}
        self.statuses: dict[int, int] = {}
        self.end = "exited"
        self.step = 0
        self.base_kb = 0
        self.peak_kb = 0
        self.cpu_s = 0.0
        self.started = time.monotonic()

    def pipe(self, name: str, most: int) -> int:
        """A pipe that is read here; the writing end comes back."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self.streams[reader] = _Stream(name, reader, most)
        return writer

    def start(self, body: Callable[[], int], stdin: int, channel: int | None) -> int:
        """Fork the untrusted process; `body` runs with nothing but its own pipes and no rights."""
        most = int(self.limits["output_kb"] * 1024)
        out, err = self.pipe("stdout", most), self.pipe("stderr", min(most, 1 << 16))
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            status = 125
            try:
                try:
                    _become_untrusted(self.header, (stdin, out, err), channel, tell)
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

    def reap(self) -> None:
        """Collect every process that has ended, adopted orphans too."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.statuses[pid] = status
            self.cpu_s += usage.ru_utime + usage.ru_stime
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                self.peak_kb = max(self.peak_kb, usage.ru_maxrss - self.base_kb)

    def read_streams(self) -> None:
        for stream in list(self.streams.values()):
            while True:
                try:
                    part = os.read(stream.descriptor, 1 << 16)
                except BlockingIOError:
                    break
                if not part:
                    break
                stream.seen += len(part)
                stream.data += part[: stream.most - len(stream.data)]
                if stream.seen > max(stream.most, self.limits["output_kb"] * 1024):
                    self.end = "output"
                    return

    def check(self) -> None:
        """End the run when the group as a whole is over a limit."""
        if time.monotonic() - self.started > self.limits["wall_s"]:
            self.end = "wall"
            return
        cpu_s, memory_kb = self.cpu_s, 0
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]
        for pid in pids:
            cpu_s += _cpu_s(pid)
            memory_kb += _resident_kb(pid)
        if cpu_s > self.limits["cpu_s"] + 0.5:  # the kernel's own limit is first to fire on one process
            self.end = "cpu"
        most_kb = self.limits["memory_mb"] * 1024
        if memory_kb - self.base_kb > most_kb:
            # pages shared with the warm interpreter were counted once a process: count exactly
            exact_kb = sum(_proportional_kb(pid) for pid in pids)
            self.peak_kb = max(self.peak_kb, exact_kb)
            if exact_kb - self.base_kb / 2 > most_kb:
                self.end = "memory"

    def wait(self, process: int) -> None:
        """Until `process` has ended or a limit is passed."""
        poll = select.poll()
        for descriptor in self.streams:
            poll.register(descriptor, select.POLLIN)
        poll.register(self.connection.fileno(), select.POLLRDHUP)
        ended = os.pidfd_open(process)
        poll.register(ended, select.POLLIN)
        next_check = time.monotonic() + _POLL_MS / 1000
        while self.end == "exited":
            for descriptor, event in poll.poll(_POLL_MS):
                if descriptor == self.connection.fileno():
                    self.end = "disconnected"  # the host has gone: nobody waits for the result
                elif event & select.POLLHUP and not event & select.POLLIN and descriptor != ended:
                    poll.unregister(descriptor)
            self.read_streams()
            self.reap()
            if process in self.statuses:
                break
            if time.monotonic() >= next_check and self.end == "exited":
                self.check()
                next_check = time.monotonic() + _POLL_MS / 1000
        os.close(ended)

    def finish(self) -> None:
        """Nothing of the program is left; what it had written is read."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # everything in this namespace but this process
        while True:
            try:
                pid, status, usage = os.wait4(-1, 0)
            except ChildProcessError:
                break
            self.statuses.setdefault(pid, status)
            self.cpu_s += usage.ru_utime + usage.ru_stime
            self.peak_kb = max(self.peak_kb, usage.ru_maxrss - self.base_kb)
        before = self.end
        self.read_streams()
        if before != "exited":
            self.end = before

    def taken(self, name: str) -> bytes:
        return b"".join(bytes(stream.data) for stream in self.streams.values() if stream.name == name)


def _become_untrusted(
    header: dict[str, Any], standard: tuple[int, int, int], channel: int | None, keep: int
) -> None:
    """Standard streams at 0 to 2, the channel at 3, `keep` where it is; no other descriptor, no rights."""
    os.setsid()
    confine.die_with_parent()
    if channel is not None:
        standard = (*standard, channel)  # type: ignore[assignment]
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 100) for descriptor in standard]
    for number, descriptor in enumerate(moved):
        os.dup2(descriptor, number)
    os.closerange(len(moved), keep)
    os.closerange(keep + 1, 1 << 16)
    os.chdir(WORK)
    os.umask(0o022)
    confine.set_dumpable(True)
    confine.first_to_go()
    confine.set_limits(header["limits"], address_space=header["mode"] != "command")
    confine.drop_privileges()


def _cpu_s(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            values = stream.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(values[11]) + int(values[12])) / _TICKS


def _resident_kb(pid: int) -> int:
    """Anonymous and shared memory of one process; pages of files are the page cache's."""
    total = 0
    try:
        with open(f"/proc/{pid}/status", "rb") as stream:
            for line in stream:
                if line.startswith((b"RssAnon", b"RssShmem")):
                    total += int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return total


def _proportional_kb(pid: int) -> int:
    total = 0
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as stream:
            for line in stream:
                if line.startswith((b"Pss_Anon", b"Pss_Shmem")):
                    total += int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0  # gone, or the tests' process, which has its own limit
    return total


def _write_files(names: list[str], contents: list[bytes]) -> None:
    os.makedirs(WORK, mode=0o755)
    for name, content in zip(names, contents, strict=True):
        path = os.path.normpath(os.path.join(WORK, name))
        if not path.startswith(WORK + "/"):
            raise ValueError(f"file outside the working directory: {name!r}")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(content)


def _input(content: bytes) -> int:
    """A descriptor that reads `content`; in memory, so that no pipe has to be pumped."""
    writer = os.memfd_create("stdin")
    with open(writer, "wb", closefd=False) as stream:
        stream.write(content)
    reader = os.open(f"/proc/self/fd/{writer}", os.O_RDONLY | os.O_CLOEXEC)
    os.close(writer)
    return reader


def _script(run: _Run, source: bytes, stdin: bytes) -> int:
    reader = _input(stdin)
    main = run.start(lambda: run_script.main(source, run.header["argv"]), reader, None)
    run.wait(main)
    return main


def _calls(run: _Run, source: bytes, stdin: bytes) -> int:
    theirs, ours = socket.socketpair()
    name = run.header["module"]
    program = run.start(lambda: run_calls.serve(source, name), _input(stdin), theirs.fileno())
    theirs.close()
    # the tests arrive only now, so that no copy of them is in the untrusted process
    tests, _ = wire.receive_frame(run.connection)
    verdict = run.pipe("verdict", _REPORT_BYTES)
    tester = os.fork()
    if tester == 0:
        status = 125
        try:
            keep = {ours.fileno(), verdict}
            for descriptor in (int(entry) for entry in os.listdir("/proc/self/fd")):
                if descriptor > 2 and descriptor not in keep:
                    try:
                        os.close(descriptor)
                    except OSError:
                        continue  # the descriptor of the listing itself
            confine.die_with_parent()
            confine.set_limits(run.limits, address_space=True)
            confine.drop_privileges()
            os.write(verdict, run_calls.judge(ours, tests))
            status = 0
        finally:
            os._exit(status)
    ours.close()
    os.close(verdict)
    run.wait(tester)
    run.reap()
    return program if program in run.statuses else tester


def _unit_tests(run: _Run, source: bytes, stdin: bytes) -> int:
    report = run.pipe("report", _REPORT_BYTES)
    secret = os.urandom(16).hex()
    main = run.start(
        lambda: run_tests.main(source, run.header, secret),
        _input(stdin),
        report,
    )
    os.close(report)
    run.header["secret"] = secret
    run.wait(main)
    return main


def _command(run: _Run, _source: bytes, stdin: bytes) -> int:
    main = 0
    for number, step in enumerate(run.header["steps"]):
        run.step = number
        run.started = time.monotonic()
        run.limits["wall_s"] = step["wall_s"]

        def execute(argv: list[str] = step["argv"]) -> int:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            try:
                os.execvpe(argv[0], argv, {**os.environ, **run.header["environment"]})
            except OSError as error:
                os.write(2, f"cannot start {argv[0]}: {error}\n".encode())
                return 127

        main = run.start(execute, _input(stdin), None)
        run.wait(main)
        if run.end != "exited" or run.statuses.get(main) != 0:
            break
    return main


_MODES = {"script": _script, "calls": _calls, "unit_tests": _unit_tests, "command": _command}


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
    network = confine.CLONE_NEWNET if header["loopback"] else 0
    confine.unshare(confine.CLONE_NEWNS | network)
    if network:
        confine.loopback()
    size_mb = int(header["limits"]["file_mb"])
    confine.private_mounts(size_mb, executable=header["mode"] == "command", keep=keep)
    source, stdin, *contents = blobs
    _write_files(header["files"], contents)
    run = _Run(header, connection)
    run.base_kb = _resident_kb(1)
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
    taken = [run.taken(name) for name in ("stdout", "stderr", "report", "verdict")]
    wire.send_frame(connection, result, *taken, *(_take_file(name) for name in header["take"]))
    return 0
