"""A port for a server that is started a moment later: picked, and kept from others until then.

A port that was free a moment ago may be somebody's now. A lease is a socket that is bound and never listens: nobody who
asks the kernel for any port is given this one, no connection goes out from it, and a server that sets SO_REUSEADDR or
SO_REUSEPORT, as servers do, can listen there. Who names that very port can still take it, so that the server's owner
looks who listens (`listeners`).
"""

from __future__ import annotations

import socket
from types import TracebackType

import psutil


class Lease:
    """A port of `host`, of all of this machine's addresses by default, that is kept until `close`.

    One that nobody has: `port`, or any. OSError where somebody has `port`.
    """

    def __init__(self, host: str = "", port: int = 0) -> None:
        self._socket = socket.socket()
        try:
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # now others that say the same may come
            self._socket.setsockopt(socket.SOL_SOCKET, option, 1)
        self.port: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


_KEPT: list[Lease] = []


def kept(wanted: int = 0) -> int:
    """`wanted`, or another where somebody has that one: kept for as long as this process lives, to listen there."""
    try:
        lease = Lease(port=wanted)
    except OSError:
        lease = Lease()
    _KEPT.append(lease)
    return lease.port


def free(host: str = "") -> int:
    """One that was free a moment ago: for a command that a person starts."""
    with Lease(host) as lease:
        return lease.port


def listeners(port: int) -> set[int | None]:
    """The processes that listen at the port of this machine; None stands for one that may not be looked at."""
    return {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
    }
