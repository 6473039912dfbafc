"""Ends what a killed process leaves behind: engines start processes that survive a SIGKILL of their parent.

A small process waits on a pipe. When the pipe closes without a word, its parent was killed, and it ends
every process that carries the parent's mark in its environment. It uses nothing but the standard library.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time

MARK = "MANAGER_ENGINE_MARK"
GRACE_SECONDS = 5.0  # a child may be just starting while its parent dies: looked for so long


class Guard:
    """Started before the engine, closed after it. What is started in between carries the mark."""

    def __init__(self) -> None:
        mark = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
            [sys.executable, __file__, mark],
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


def marked(mark: str) -> list[int]:
    """The processes of this user that were started with the mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as stream:
                    environment = stream.read().split(b"\0")
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue  # gone, or somebody else's
            if wanted in environment:
                found.append(int(name))
    return found


def main(mark: str) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.buffer.read() == b"done":
        return
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline:
        for pid in marked(mark):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it went by itself
        time.sleep(0.2)


if __name__ == "__main__":
    main(sys.argv[1])
