"""Messages between a process and the children it starts: length-prefixed bytes, and an end in common. Linux."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

PR_SET_PDEATHSIG = 1
PARENT = "MANAGER_PARENT_PID"


def frame(body: bytes) -> bytes:
    return struct.pack("<Q", len(body)) + body


def read_message(stream: BinaryIO) -> bytes | None:
    """The next message; None at the end of the stream, also one that ends within a message."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    (length,) = struct.unpack("<Q", head)
    body = stream.read(length)
    return body if len(body) == length else None


def private_output() -> BinaryIO:
    """For a child: the pipe that standard output was, with prints from now on turned to standard error."""
    sys.stdout.flush()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def die_with_parent() -> None:
    """For a child: be killed when the thread that started it ends, whatever else is going on."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    if os.getppid() != int(os.environ[PARENT]):
        sys.exit("the parent ended before this process had begun")


def child_environment(**more: str) -> Mapping[str, str]:
    """For a child that is started by `-m`: this one's environment, in which it finds the same packages."""
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, PARENT: str(os.getpid()), **more}
