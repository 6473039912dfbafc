"""Ends what a killed process leaves behind: engines start processes that survive a SIGKILL of their parent.

A small process waits on a pipe and notes the descendants of its parent. When the pipe closes without a word,
its parent was killed: it ends what it noted, and every process that carries the parent's mark in its
environment (some overwrite theirs, some start between two looks; hardly one does both). It uses nothing but
the standard library and Linux's /proc.
"""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
import sys
import time

MARK = "MANAGER_ENGINE_MARK"
LOOK_SECONDS = 1.0
GRACE_SECONDS = 5.0  # a child may be just starting while its parent dies: looked for so long

Process = tuple[int, int]  # pid and start time: a pid alone may be somebody else's by now


class Guard:
    """Started before the engine, closed after it. What is started in between carries the mark."""

    def __init__(self) -> None:
        mark = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
            [sys.executable, __file__, mark, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # so that a kill of the group leaves the guard
            env={key: value for key, value in os.environ.items() if key != MARK},
        )
        os.environ[MARK] = mark

    def close(self) -> None:
        """All is well: the guard goes without doing anything."""
        process, self._process = self._process, None
        if process is not None:
            os.environ.pop(MARK, None)
            process.communicate(b"done")


def _read(pid: int, name: str) -> bytes:
    """A file of /proc; empty if the process is gone or somebody else's."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as stream:
            return stream.read()
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return b""


def processes() -> dict[int, tuple[int, int]]:
    """Every process: its parent and its start time. Ended ones that nobody has waited for are left out."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            # The name in parentheses may hold anything; the fields after it are fixed.
            fields = _read(int(name), "stat").rpartition(b")")[2].split()
            if fields and fields[0] != b"Z":
                found[int(name)] = int(fields[1]), int(fields[19])
    return found


def descendants(roots: set[int], known: dict[int, tuple[int, int]]) -> set[Process]:
    """Children of the roots, their children, and so on."""
    found: set[Process] = set()
    pending = set(roots)
    while pending:
        children = {pid for pid, (parent, _) in known.items() if parent in pending}
        pending = {pid for pid in children if (pid, known[pid][1]) not in found}
        found |= {(pid, known[pid][1]) for pid in children}
    return found


def marked(mark: str) -> set[Process]:
    """The processes that were started with the mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    return {(pid, started) for pid, (_, started) in processes().items() if wanted in _read(pid, "environ").split(b"\0")}


def end(noted: set[Process], mark: str) -> None:
    """Kill what was noted and marked, and their descendants, as long as there can be new ones."""
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline:
        known = processes()
        alive = {(pid, started) for pid, started in noted if pid in known and known[pid][1] == started}
        alive |= marked(mark)
        alive |= descendants({pid for pid, _ in alive}, known)
        for pid, _ in alive:
            if pid != os.getpid():
                try:
                    os.kill(pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    continue  # it went by itself
        time.sleep(0.2)


def main(mark: str, parent: int) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    noted: set[Process] = set()
    while not select.select([sys.stdin], [], [], LOOK_SECONDS)[0]:
        known = processes()
        noted = {(pid, started) for pid, started in noted if pid in known} | descendants({parent}, known)
    if sys.stdin.buffer.read() != b"done":
        end(noted, mark)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
