"""Jobs that a full disk stopped, once there is room: who runs the sweep again has made it.

Other failures wait for `manager retry`, because only a person knows that they are mended. Of a disk it can be seen.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from manager.job import State
from manager.plan import JobFacts, own_state
from manager.store import Store

CAUSE = "disk_full"
FULL_BYTES = 2**20  # what is free of a disk that takes nothing: a last page here and there
LEAST_BYTES = 4 * FULL_BYTES  # where the job did not say what it needs


def is_full(folder: Path) -> bool:
    return shutil.disk_usage(folder).free < FULL_BYTES


def mended(store: Store, facts: Mapping[str, JobFacts]) -> list[str]:
    """The jobs that failed for want of room, and have it now."""
    stopped = [job for job, known in facts.items() if known.cause == CAUSE and own_state(known) is State.FAILED]
    if not stopped:
        return []
    free = shutil.disk_usage(store.root).free
    return [job for job in stopped if max(facts[job].needs_bytes, LEAST_BYTES) <= free]


def with_room(facts: Mapping[str, JobFacts], jobs: Iterable[str]) -> dict[str, JobFacts]:
    """What `lift` would make of it: those attempts count no more."""
    return {**facts, **{job: replace(facts[job], forgiven=facts[job].attempts, futile=0) for job in jobs}}


def lift(store: Store, facts: Mapping[str, JobFacts]) -> list[str]:
    """Let them run again; they go on from what is saved."""
    jobs = mended(store, facts)
    for job in jobs:
        store.run(job).forgive()
    return jobs
