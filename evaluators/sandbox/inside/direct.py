"""The quick way: a script, or one side of a call program, as the first process of namespaces of its own.

Runs in the process that the zygote forked. Everything before `confine.drop_privileges` is this project's
code; everything after is the program's.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import socket
from collections.abc import Callable
from typing import Any

from inside import confine, run_calls, run_script

WORK = "/tmp/work"


def pack(header: dict[str, Any], *blobs: bytes) -> bytes:
    """A request of the supervisor. `marshal`, because every page that a fork touches is copied first."""
    return marshal.dumps((header, blobs))


def unpack(descriptor: int) -> tuple[dict[str, Any], list[bytes]]:
    size = os.fstat(descriptor).st_size
    data = os.read(descriptor, size)
    while len(data) < size:
        data += os.read(descriptor, size - len(data))
    header, blobs = marshal.loads(data)
    return header, list(blobs)


def write_files(names: list[str], contents: list[bytes]) -> None:
    os.mkdir(WORK, mode=0o755)
    for name, content in zip(names, contents, strict=True):
        path = os.path.normpath(os.path.join(WORK, name))
        if not path.startswith(WORK + "/"):
            raise ValueError(f"file outside the working directory: {name!r}")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(content)


def only_descriptors(standard: list[int], keep: int) -> None:
    """Move `standard` to 0, 1, 2 …; leave `keep` where it is; close every other one."""
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 100) for descriptor in standard]
    for number, descriptor in enumerate(moved):
        os.dup2(descriptor, number)
    os.closerange(len(moved), keep)
    os.closerange(keep + 1, 1 << 16)


def namespaces(header: dict[str, Any], keep: list[str], *, executable: bool) -> None:
    """Private mounts, and a private loopback where it is asked for."""
    network = confine.CLONE_NEWNET if header["loopback"] else 0
    confine.unshare(confine.CLONE_NEWNS | network)
    if network:
        confine.loopback()
    confine.private_mounts(int(header["limits"]["file_mb"]), executable=executable, keep=keep)


def _ready(
    header: dict[str, Any],
    blobs: list[bytes],
    standard: list[int],
    tell: int,
    keep: list[str],
    *,
    hidden: bool,
) -> None:
    namespaces(header, keep, executable=False)
    write_files(header["files"], blobs[1:])
    os.setsid()
    confine.die_with_parent()
    only_descriptors(standard, tell)
    os.chdir(WORK)
    os.umask(0o022)
    if not hidden:
        confine.set_dumpable(True)
    confine.set_limits(header["limits"], address_space=True)
    confine.drop_privileges()


def _script(header: dict[str, Any], source: bytes) -> int:
    return run_script.main(source, header["argv"])


def _calls(header: dict[str, Any], source: bytes) -> int:
    return run_calls.serve(source, header["module"])


def _tests(header: dict[str, Any], _: bytes) -> int:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=3)
    os.write(4, run_calls.judge(connection, header["tests"]))
    return 0


_ROLES: dict[str, Callable[[dict[str, Any], bytes], int]] = {
    "script": _script,
    "calls": _calls,
    "tests": _tests,
}


def main(role: str, descriptors: list[int], keep: list[str]) -> int:
    """`descriptors`: request, tell, and then what becomes 0, 1, 2 …; the exit status."""
    request, tell, *standard = descriptors
    try:
        header, blobs = unpack(request)
        _ready(header, blobs, standard, tell, keep, hidden=role == "tests")
    except BaseException as error:
        os.write(tell, repr(error).encode())
        raise
    os.close(tell)
    return _ROLES[role](header, blobs[0])
