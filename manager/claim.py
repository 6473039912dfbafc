"""The claim on a job: at most one attempt is alive at a time, whoever starts how many.

An attempt's directory is made whole beside its place and moved there by one rename, which fails if the
place is taken: that rename is the claim. It works on file systems without locks.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manager.atomic import write_json
from manager.liveness import identify
from manager.observe import attempt_alive
from manager.store import Attempt, RunDirectory

# Held by an attempt while it runs and given up at its end, so that a full disk still takes the record of why it
# ended. Random bytes: a file system that compresses would keep nothing of zeros.
RESERVE = "reserve"
RESERVE_BYTES = 32 * 1024


@dataclass(frozen=True)
class Claimed:
    number: int
    path: Path


@dataclass(frozen=True)
class Refused:
    """Why this process must leave without doing anything."""

    why: str


def claim(run: RunDirectory, record: Mapping[str, Any]) -> Claimed | Refused:
    """Take the job for this process, or say why not. `record` goes into attempt.json."""
    while True:
        if run.is_done():
            return Refused("the job is done")
        last = run.last_attempt()
        if last is not None and not superseded(last, record) and attempt_alive(last):
            return Refused(f"attempt {last.number} runs on {last.record.get('host', 'another host')}")
        number = last.number + 1 if last else 1
        path = _take_place(run, number, record)
        if path is not None:
            if last is not None:
                release_reserve(last.path)  # of an attempt that was killed
            return Claimed(number, path)


def superseded(last: Attempt, record: Mapping[str, Any]) -> bool:
    """Whether the scheduler itself has started `record` in place of `last`.

    The same scheduler job with a higher restart count: the scheduler decided that the earlier copy is
    over. That copy may still run on a node that lost its connection; it stops when it sees the newer
    attempt (worker.py), before it writes a result.
    """
    before, now = last.record.get("scheduler") or {}, record.get("scheduler") or {}
    return bool(
        before.get("job_id")
        and before.get("job_id") == now.get("job_id")
        and last.record.get("token") == record.get("token")
        and int(now.get("restart_count", 0)) > int(before.get("restart_count", 0))
    )


def _take_place(run: RunDirectory, number: int, record: Mapping[str, Any]) -> Path | None:
    folder = run.path / "attempts"
    folder.mkdir(exist_ok=True)
    place = folder / f"{number:04d}"
    draft = folder / f".draft-{os.urandom(6).hex()}"
    draft.mkdir()
    try:
        write_json(
            draft / "attempt.json",
            {"number": number, "started": time.time(), **identify(os.getpid()), **record},
            durable=True,
        )
        (draft / RESERVE).write_bytes(os.urandom(RESERVE_BYTES))
        os.rename(draft, place)  # fails if the place is a directory with anything in it
    except OSError:
        if place.exists():
            return None
        raise
    finally:
        if draft.exists():
            shutil.rmtree(draft)
    return place


def release_reserve(attempt: Path) -> None:
    """Give the attempt's reserve of disk space back; called when it is about to write how it ended."""
    (attempt / RESERVE).unlink(missing_ok=True)


def is_newest(run: RunDirectory, number: int) -> bool:
    """Whether no newer attempt has been made: an older one must not write results any more."""
    names = [int(name) for name in os.listdir(run.path / "attempts") if name.isdigit()]
    return max(names, default=number) <= number
