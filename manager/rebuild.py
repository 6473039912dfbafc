"""Makes again what a store has lost besides its run directories: records of sweeps, submissions, code, blamed nodes.

The run directories are the truth and are only read. Prints nothing. The tracking store is tracking's (rebuild there).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from manager.alike import enter_all
from manager.errors import UserError
from manager.remedy import blame_again
from manager.snapshot import restore_snapshot
from manager.store import Store

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Rebuilt:
    """What was made again. `problems`: what was not, one line each, with what to do."""

    store: Store
    sweeps: tuple[str, ...] = ()
    queued: int = 0  # submissions found in the queue
    ended: int = 0  # submissions known from attempts alone
    code: tuple[str, ...] = ()
    blamed: int = 0
    alike: int = 0
    problems: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        if self.sweeps:
            yield f"records of sweeps: {', '.join(self.sweeps)}"
        if self.queued:
            yield f"{self.queued} submissions found in the queue; `manager sweep` goes on with them"
        if self.ended:
            yield f"{self.ended} submissions known from run directories"
        if self.code:
            yield f"code of jobs in the queue: {', '.join(self.code)}"
        if self.blamed:
            yield f"{self.blamed} failures that nodes are blamed for"
        if self.alike:
            yield f"{self.alike} evaluations entered under what made their samples"
        if not (self.sweeps or self.queued or self.ended or self.code or self.blamed or self.alike):
            yield "nothing was missing beside the run directories"


def rebuild_store(root: Path) -> Rebuilt:
    """Bring back everything that follows from the run directories and the queue; what is there is left as it is."""
    if not (root / "jobs").is_dir():
        raise UserError(f"{root}: no run directories here, so nothing can be made again; --store says where they are")
    for name in ("sweeps", "submissions"):
        (root / name).mkdir(exist_ok=True)
    store = Store.open(root, create=True)
    sweeps = store.restore_sweeps()
    problems = [
        f"sweep {name}: its record has no copy; `manager sweep` with its file writes it again"
        for name in store.lost_sweeps()
    ]
    queued, code, silent = _from_queue(store)
    return Rebuilt(
        store=store,
        sweeps=tuple(sweeps),
        queued=queued,
        ended=_from_attempts(store),
        code=tuple(code),
        blamed=blame_again(store),
        alike=enter_all(store),
        problems=(*problems, *silent),
    )


def _from_queue(store: Store) -> tuple[int, list[str], list[str]]:
    """(submissions, digests of code, problems)."""
    if shutil.which("squeue") is None:
        return 0, [], []
    from manager.cluster.slurm_command import SchedulerSilent
    from manager.cluster.slurm_recover import lost_code, recover_queued

    try:
        found = recover_queued(store, TIMEOUT_S)
        lost = lost_code(store, TIMEOUT_S)
    except SchedulerSilent as silent:
        return 0, [], [f"the queue could not be asked ({silent}); run `manager rebuild` again when Slurm answers"]
    restored = [digest for digest, commit in lost.items() if restore_snapshot(store.root, digest, commit)]
    problems = [
        f"{each.array_id} in the queue does not say which jobs it is: `scancel {each.array_id}`, then `manager sweep`"
        for each in found.unreadable
        if each.live
    ]
    problems += [
        f"code/{digest} is gone, and neither this checkout nor commit {commit or '(unknown)'} is that code: jobs in "
        "the queue will miss it; `manager cancel`, `manager retry` and `manager sweep` run them with the code of now"
        for digest, commit in lost.items()
        if digest not in restored
    ]
    return found.submissions, restored, problems


def _from_attempts(store: Store) -> int:
    from manager.cluster.slurm_recover import recover_ended

    return recover_ended(store)
