"""What of a sweep can be deleted: without losing a result, or its results too where the user asks for that."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from manager.job import Sweep
from manager.observe import attempt_alive
from manager.store import COPIES, RunDirectory, Store

JOB = "job.json"
# What the job is, and which sweeps name it: stays, whatever else goes.
KEPT = frozenset({JOB, COPIES})


@dataclass(frozen=True)
class Deletable:
    path: Path
    bytes: int
    why: str


def candidates(store: Store, sweep: Sweep, *, results: bool) -> list[Deletable]:
    """Folders that may go. Nothing of a job that runs; whole jobs only with `results`, and only those
    that no other sweep of the store uses."""
    used_elsewhere = {
        entry.job.id for name in store.sweep_names() if name != sweep.name for entry in store.read_sweep(name).jobs
    }
    found: list[Deletable] = []
    for entry in sweep.jobs:
        run = store.run(entry.job.id)
        last = run.last_attempt()
        if last is not None and attempt_alive(last):
            continue
        if results and entry.job.id not in used_elsewhere and run.names() - KEPT:
            found.append(_deletable(run.path, "a job of this sweep alone, with its result"))
        else:
            found.extend(_leftovers(run))
    return found


def _leftovers(run: RunDirectory) -> list[Deletable]:
    found = []
    if run.is_done() and (run.path / "checkpoints").exists():
        found.append(_deletable(run.path / "checkpoints", "training states of a finished job"))
    if (run.path / "set-aside").exists():
        found.append(_deletable(run.path / "set-aside", "set aside by retry --from-scratch"))
    return found


def _deletable(path: Path, why: str) -> Deletable:
    size = sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)
    return Deletable(path, size, why)


def delete(found: Sequence[Deletable]) -> None:
    for each in found:
        if not (each.path / JOB).exists():
            shutil.rmtree(each.path)
            continue
        # A job's result goes first: a kill midway must not leave a job that looks finished and is not. What
        # the job is stays: the sweeps that name it can still be shown, planned and run again.
        (each.path / "result.json").unlink(missing_ok=True)
        for child in each.path.iterdir():
            if child.name in KEPT:
                continue
            if child.is_dir():
                shutil.rmtree(child)
            else:
                child.unlink()
