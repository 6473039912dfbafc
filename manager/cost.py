"""What jobs cost in GPU-hours: from finished jobs of the same shape, else from their time limits. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from manager.errors import UserError
from manager.job import Job, SweepJob, canonical_json

# What differs between jobs that still cost the same.
_FREE = frozenset({"seed", "data", "model"})

# Shape of a job → the GPU-hours that each finished job of that shape took, all its attempts together.
History = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Cost:
    """Half of all runs cost at most `p50_gpu_hours`, nine of ten at most `p90_gpu_hours`."""

    jobs: int
    p50_gpu_hours: float
    p90_gpu_hours: float
    measured_jobs: int = 0  # estimated from finished jobs of the same shape
    limited_jobs: int = 0  # bounded by their time limit
    unlimited_jobs: int = 0  # GPU jobs about which nothing is known

    @property
    def _free(self) -> int:
        return self.jobs - self.measured_jobs - self.limited_jobs - self.unlimited_jobs

    def to_json(self) -> dict[str, Any]:
        return {
            "p50": self.p50_gpu_hours,
            "p90": self.p90_gpu_hours,
            "jobs": self.jobs,
            "jobs_measured": self.measured_jobs,
            "jobs_by_limit": self.limited_jobs,
            "jobs_without_limit": self.unlimited_jobs,
        }

    def text(self) -> str:
        if not self.jobs:
            return "0 GPU-hours"
        if self.jobs == self._free:
            return "0 GPU-hours: no job asks for a GPU"
        parts = []
        if self.measured_jobs:
            parts.append(f"{self.measured_jobs} jobs by finished ones of the same shape")
        if self.limited_jobs:
            parts.append(f"{self.limited_jobs} by their time limits")
        if self.unlimited_jobs:
            parts.append(f"{self.unlimited_jobs} GPU jobs have no time_min and are not counted")
        if self._free:
            parts.append(f"{self._free} need no GPU")
        if self.measured_jobs:
            amount = f"{self.p50_gpu_hours:,.1f} GPU-hours, at most {self.p90_gpu_hours:,.1f} in nine of ten cases"
        else:
            amount = f"at most {self.p90_gpu_hours:,.1f} GPU-hours"
        return f"{amount} ({', '.join(parts)})"


def base_job(job: Job, jobs: Mapping[str, Job]) -> Job | None:
    """The first of the jobs whose models this one goes back to; None where one of them is not known."""
    seen: Job | None = job
    for _ in range(len(jobs) + 1):
        model = seen.config.get("model") if seen else None
        if seen is None or not isinstance(model, Mapping):
            return None
        if "need" not in model:
            return seen
        seen = jobs.get(seen.needs[model["need"]])
    return None


def base_model(job: Job, jobs: Mapping[str, Job]) -> str:
    """The model that a job starts from, followed through the jobs that made it: size decides the cost."""
    first = base_job(job, jobs)
    if first is None:
        return ""
    model = first.config["model"]
    return str(model.get("name") or model.get("hub") or model.get("path") or "")


def shape(job: Job, jobs: Mapping[str, Job]) -> str:
    """What decides a job's cost: kind, model, machine and settings; not seed or data."""
    settings = {key: value for key, value in job.config.items() if key not in _FREE}
    if "shard" in settings:
        settings["shard"] = settings["shard"]["of"]  # the shards of an evaluation cost the same
    resources = job.resources
    return canonical_json(
        [job.kind.value, base_model(job, jobs), resources.nodes, resources.gpus_per_node, settings]
    )


@dataclass(frozen=True)
class Estimator:
    """Estimates single jobs of one sweep."""

    jobs: Mapping[str, Job]
    history: History = field(default_factory=dict)

    def of(self, job: Job) -> tuple[float, float, str] | None:
        """(p50, p90, where from) in GPU-hours; None for a GPU job about which nothing is known."""
        gpus = job.resources.nodes * job.resources.gpus_per_node
        if gpus == 0:
            return 0.0, 0.0, "free"
        past = sorted(self.history.get(shape(job, self.jobs), ()))
        if past:
            return statistics.median(past), past[math.ceil(0.9 * len(past)) - 1], "measured"
        if job.resources.time_min is None:
            return None
        limit = gpus * job.resources.time_min / 60
        return limit, limit, "limited"

    def total(self, entries: Collection[SweepJob]) -> Cost:
        counts = {"measured": 0, "limited": 0, "free": 0, "unknown": 0}
        p50 = p90 = 0.0
        for entry in entries:
            each = self.of(entry.job)
            counts[each[2] if each else "unknown"] += 1
            p50, p90 = (p50 + each[0], p90 + each[1]) if each else (p50, p90)
        return Cost(len(entries), p50, p90, counts["measured"], counts["limited"], counts["unknown"])

    def within(self, entries: Sequence[SweepJob], budget: float, spent: float) -> list[SweepJob]:
        """The first of these jobs that the budget still pays for, parents before their children.

        `spent`: used already, and bound by what is in the queue.
        """
        offered = {entry.job.id for entry in entries}
        taken: set[str] = set()
        result = []
        for entry in entries:
            each = self.of(entry.job)
            if each is None:
                raise UserError(
                    f"stage {entry.stage}: budget_gpu_hours is set and nothing tells what its jobs cost; "
                    f"set stages.{entry.stage}.resources.time_min"
                )
            if any(need in offered and need not in taken for need in entry.job.needs) or spent + each[1] > budget:
                continue
            spent += each[1]
            taken.add(entry.job.id)
            result.append(entry)
        return result
