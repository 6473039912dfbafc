"""The GPU-hours that a sweep has used so far, and from where that is known. Reads run directories only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from manager.history import attempt_seconds
from manager.job import Resources, SweepJob
from manager.store import Store


@dataclass(frozen=True)
class Usage:
    """GPU-hours of all attempts of all GPU jobs, running ones until now."""

    gpu_hours: float
    accounted_jobs: int = 0  # by the scheduler's accounting
    other_jobs: int = 0  # that accounting does not know: by their run directories

    @property
    def source(self) -> str:
        if self.accounted_jobs and self.other_jobs:
            return "accounting and run directories"
        return "accounting" if self.accounted_jobs else "run directories"

    def to_json(self) -> dict[str, Any]:
        return {
            "gpu_hours": self.gpu_hours,
            "source": self.source,
            "jobs_by_accounting": self.accounted_jobs,
            "jobs_by_run_directory": self.other_jobs,
        }


def asked_gpus(resources: Resources) -> int:
    return resources.nodes * resources.gpus_per_node


def gpus_of(entries: Iterable[SweepJob]) -> dict[str, int]:
    """The GPUs that each GPU job asks for; other jobs are left out."""
    asked = ((entry.job.id, asked_gpus(entry.job.resources)) for entry in entries)
    return {job_id: gpus for job_id, gpus in asked if gpus}


def usage(store: Store, gpus: Mapping[str, int], accounted: Mapping[str, float]) -> Usage:
    """What these jobs used: `accounted` GPU-seconds where the scheduler tells them, else by their run
    directories, in which time between a job's start and its claim is missing."""
    seconds, others = 0.0, 0
    for job_id, number in gpus.items():
        if job_id in accounted:
            seconds += accounted[job_id]
            continue
        own = attempt_seconds(store.run(job_id))
        seconds += number * own
        others += own > 0
    known = sum(job_id in accounted for job_id in gpus)
    return Usage(seconds / 3600, known, others)
