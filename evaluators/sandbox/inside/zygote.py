"""The warm interpreter of a worker: imports once, then forks one supervised program at a time.

Runs as the sandbox's only long-lived process. It never reads a program: the bytes of a request are read by
the forked supervisor, so nothing of one program is in memory when the next one starts.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from inside import confine, supervise, wire

sys.path.pop(0)


def _preload(names: list[str]) -> list[str]:
    """Import what programs will import; the names that are not installed come back."""
    missing = []
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    gc.collect()
    gc.freeze()  # a collection in a child must not touch (and so copy) the shared pages
    return missing


def _serve(connection: socket.socket, keep: list[str]) -> int:
    own_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    while connection.recv(1):
        confine.unshare(confine.CLONE_NEWPID)  # the next child is the first process of a new namespace
        child = os.fork()
        if child == 0:
            os.close(own_namespace)
            os._exit(supervise.main(connection, keep))
        confine.enter_namespace(own_namespace, confine.CLONE_NEWPID)
        _, status = os.waitpid(child, 0)
        if status != 0:
            return 1  # half a frame may have been sent: the worker is replaced
        connection.sendall(b"+")
    return 0


def main() -> int:
    """zygote.py CONTROL KEEP MODULE...  (KEEP: folders below /tmp that programs see, with colons between)"""
    connection = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    confine.set_dumpable(False)
    confine.forbid_user_namespaces()
    # Namespaces of this user namespace's own, to be able to come back to them; bubblewrap's belong to an
    # outer one. The interface of the new network is down.
    confine.unshare(confine.CLONE_NEWNET | confine.CLONE_NEWIPC | confine.CLONE_NEWPID)
    child = os.fork()
    if child:
        connection.close()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    confine.die_with_parent()
    started = time.monotonic()
    missing = _preload([name for name in sys.argv[3:] if name])
    wire.send_frame(connection, {"ready": True, "missing": missing, "import_s": time.monotonic() - started})
    return _serve(connection, [folder for folder in sys.argv[2].split(":") if folder])


if __name__ == "__main__":
    sys.exit(main())
