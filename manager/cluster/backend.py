"""What every scheduler offers to the manager. Two implementations: local.py and slurm.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from manager.job import SweepJob


class Phase(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"  # the scheduler knows it and it is over
    ABSENT = "absent"  # asked, and the scheduler does not know it
    UNKNOWN = "unknown"  # could not be asked


# The reason of jobs that wait for a person: the first of their array failed before its first step.
HELD_BACK = "held: the first job of its array failed"


@dataclass(frozen=True)
class SchedulerView:
    """What the scheduler says about a job's newest submission."""

    phase: Phase
    token: str = ""
    scheduler_id: str = ""  # never an identity: schedulers use ids again
    reason: str = ""  # why it waits or how it ended, in the scheduler's words
    node: str = ""
    since: float | None = None  # seconds since the epoch; for UNKNOWN: since when it could not be asked


@dataclass(frozen=True)
class Submission:
    """One accepted call of the scheduler."""

    token: str
    scheduler_id: str
    jobs: tuple[str, ...]


class Backend(Protocol):
    name: str

    def submit(self, entries: Sequence[SweepJob], parents: Mapping[str, SchedulerView]) -> list[Submission]:
        """Hand the jobs over. `parents` are needed jobs that are still queued or running."""

    def observe(self, ids: Iterable[str]) -> Mapping[str, SchedulerView]:
        """The view of each of these jobs; jobs never submitted are left out."""

    def observe_and_account(
        self, ids: Iterable[str], gpus: Mapping[str, int]
    ) -> tuple[Mapping[str, SchedulerView], Mapping[str, float]]:
        """`observe`, and the GPU-seconds so far of those of the jobs in `gpus` that accounting knows."""

    def cancel(self, ids: Iterable[str]) -> list[str]:
        """End what is queued or runs of these; returns the ids that were told to end."""

    def scripts(self, entries: Sequence[SweepJob]) -> list[str]:
        """The exact scripts that `submit` would hand over."""
