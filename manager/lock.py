"""One manager at a time for each sweep on one machine, so that two do not start the same jobs at once.

A convenience for people: what keeps jobs from running twice is the claim (claim.py), also across hosts.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from manager.errors import UserError


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file while the block runs; another holder is told by name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            text = stream.read()
            holder = json.loads(text) if text else {}
            raise UserError(
                f"{what} is being run by process {holder.get('pid', '?')} on {holder.get('host', '?')}; "
                "`manager status --watch` follows it, Ctrl-C there stops it"
            ) from None
        stream.truncate(0)
        stream.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        stream.flush()
        yield
