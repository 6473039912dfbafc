"""Whether the process that an attempt's record names is still alive. Reads /proc; changes nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def machine() -> dict[str, str]:
    """What tells this machine (and this container on it) from another with the same host name."""
    return {
        "host": socket.gethostname(),
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "pid_namespace": os.readlink("/proc/self/ns/pid"),
    }


def process_started(pid: int) -> int | None:
    """Clock ticks from boot to the start of this process; None if it is gone or a zombie.

    A pid alone comes again; a pid with its start does not.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def identify(pid: int) -> dict[str, Any]:
    """A record of a process that `is_alive` understands later, from any process on any machine."""
    return {"pid": pid, "pid_started": process_started(pid), **machine()}


def is_alive(record: Mapping[str, Any]) -> bool | None:
    """True or False for a process of this machine; None where it cannot be seen from here."""
    here = machine()
    if record.get("boot") != here["boot"]:
        # The same host after a reboot: nothing of before is alive. Another host: unknown.
        return False if record.get("host") == here["host"] else None
    if record.get("pid_namespace") != here["pid_namespace"]:
        return None
    return process_started(int(record["pid"])) == record.get("pid_started")
