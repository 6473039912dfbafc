"""The warm interpreter of a worker: imports once, then forks a process for each program.

It never reads a program: requests pass as descriptors from the supervisor to the forked process. So nothing
of one program is in memory when the next one starts.
"""

from __future__ import annotations

import gc
import importlib
import marshal
import os
import select
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from inside import confine, direct, supervise, supervisor, wire

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


def _fork(role: str, descriptors: list[int], keep: list[str], own_namespace: int) -> int:
    """A child in a new pid namespace, of which it is the first process."""
    confine.unshare(confine.CLONE_NEWPID)
    child = os.fork()
    if child == 0:
        status = 125
        try:
            if role == "supervised":
                status = supervise.main(socket.socket(fileno=descriptors[0]), keep)
            else:
                status = direct.main(role, descriptors, keep)
        finally:
            os._exit(status)
    confine.enter_namespace(own_namespace, confine.CLONE_NEWPID)
    return child


def _serve(connection: socket.socket, keep: list[str]) -> None:
    """Fork on request and tell how children ended, until the supervisor is gone."""
    own_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    children: dict[int, int] = {}
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == connection.fileno():
                role, descriptors, _, _ = socket.recv_fds(connection, 64, 8)
                if not role:
                    return
                child = _fork(role.decode(), descriptors, keep, own_namespace)
                for passed in descriptors:
                    os.close(passed)
                watched = os.pidfd_open(child)
                children[watched] = child
                poll.register(watched, select.POLLIN)
                connection.send(marshal.dumps({"pid": child}))
            elif descriptor in children:
                pid, status, usage = os.wait4(children.pop(descriptor), 0)
                poll.unregister(descriptor)
                os.close(descriptor)
                told = {
                    "ended": pid,
                    "status": status,
                    "cpu_s": usage.ru_utime + usage.ru_stime,
                    "peak_kb": usage.ru_maxrss,
                }
                connection.send(marshal.dumps(told))


def main() -> int:
    """zygote.py CONTROL KEEP MODULE...  (KEEP: folders below /tmp that programs see, with colons between)"""
    host = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    confine.set_dumpable(True)
    confine.first_to_go()
    confine.set_dumpable(False)
    confine.forbid_user_namespaces()
    # Namespaces of this user namespace's own, to be able to come back to them; bubblewrap's belong to an
    # outer one. The interface of the new network is down.
    confine.unshare(confine.CLONE_NEWNET | confine.CLONE_NEWIPC | confine.CLONE_NEWPID | confine.CLONE_NEWNS)
    child = os.fork()
    if child:
        host.close()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    confine.die_with_parent()
    confine.mount_proc()
    above, below = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        confine.die_with_parent()
        below.close()
        os._exit(supervisor.main(host, above))
    above.close()
    confine.drop_future_privileges()
    missing = _preload([name for name in sys.argv[3:] if name])
    wire.send_frame(host, {"ready": True, "missing": missing})
    host.close()
    _serve(below, [folder for folder in sys.argv[2].split(":") if folder])
    return 0


if __name__ == "__main__":
    sys.exit(main())
