"""A port that nobody listens on."""

from __future__ import annotations

import socket


def free(host: str = "") -> int:
    """One that was free on `host`, of all of this machine's addresses by default, a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
