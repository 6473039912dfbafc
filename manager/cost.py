"""What a plan costs in GPU-hours. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from manager.job import SweepJob


@dataclass(frozen=True)
class Cost:
    """An upper bound from the time limits; jobs with GPUs and no limit are counted apart."""

    jobs: int
    limit_gpu_hours: float
    unlimited_jobs: int

    def to_json(self) -> dict[str, Any]:
        return {"at_most": self.limit_gpu_hours, "jobs": self.jobs, "jobs_without_limit": self.unlimited_jobs}

    def text(self) -> str:
        if not self.jobs:
            return "0 GPU-hours"
        text = f"at most {self.limit_gpu_hours:,.0f} GPU-hours by the time limits of {self.jobs} jobs"
        if self.unlimited_jobs:
            text += f", and {self.unlimited_jobs} GPU jobs have no time_min"
        return text


def gpu_hours(entries: Sequence[SweepJob]) -> Cost:
    total, unlimited = 0.0, 0
    for entry in entries:
        resources = entry.job.resources
        gpus = resources.nodes * resources.gpus_per_node
        if gpus and resources.time_min is None:
            unlimited += 1
        elif gpus and resources.time_min is not None:
            total += gpus * resources.time_min / 60
    return Cost(len(entries), total, unlimited)
