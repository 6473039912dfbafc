"""What is left of a sweep will cost: GPU-hours against its budget, disk, and whether trainings fit their GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from manager.cost import Cost, Estimator
from manager.errors import UserError
from manager.footprint import Architectures, Disk, Memory, disk, memory
from manager.history import gpu_hours_used, read_history
from manager.job import Sweep, SweepJob
from manager.store import Store


@dataclass(frozen=True)
class Forecast:
    cost: Cost
    disk: Disk
    memory: tuple[Memory, ...]
    budget_gpu_hours: float | None
    used_gpu_hours: float

    @property
    def over_budget(self) -> bool:
        limit = self.budget_gpu_hours
        return limit is not None and self.used_gpu_hours + self.cost.p90_gpu_hours > limit

    def budget_text(self) -> str:
        text = f"budget: {self.used_gpu_hours:,.1f} of {self.budget_gpu_hours:,.1f} GPU-hours used"
        if not self.over_budget:
            return f"{text}; what is left fits"
        return f"{text}; what is left may need {self.cost.p90_gpu_hours:,.1f}, above the budget"

    def lines(self) -> list[str]:
        """For a terminal, the most important first."""
        lines = [self.cost.text()]
        if self.budget_gpu_hours is not None:
            lines.append(self.budget_text())
        if self.disk.weights_gb or self.disk.unknown_jobs:
            lines.append(self.disk.text())
        for row in self.memory:
            lines.append(f"{row.stage}, {row.model}, {row.jobs} job{'s' if row.jobs != 1 else ''}:")
            lines.append(f"  {row.batch}")
            if row.fit:
                lines.append(f"  {row.fit.in_words()}")
        return lines

    def to_json(self) -> dict[str, Any]:
        return {
            "gpu_hours": self.cost.to_json(),
            "budget": {"gpu_hours": self.budget_gpu_hours, "used": self.used_gpu_hours, "exceeded": self.over_budget},
            "disk": self.disk.to_json(),
            "memory": [
                {
                    "stage": row.stage,
                    "model": row.model,
                    "jobs": row.jobs,
                    "batch": row.batch,
                    "needed_gb": row.fit.needed_gb if row.fit else None,
                    "gpu_gb": row.fit.gpu_gb if row.fit else None,
                    "fits": row.fit.fits if row.fit else None,
                }
                for row in self.memory
            ],
        }


def forecast(
    store: Store, sweep: Sweep, entries: Sequence[SweepJob], architectures: Architectures, gpu_gb: float
) -> Forecast:
    """What these jobs of the sweep will take. `entries`: those that would run now."""
    jobs = {entry.job.id: entry.job for entry in sweep.jobs}
    cost = Estimator(jobs, read_history(store)).total(entries)
    limit = sweep.settings.get("budget_gpu_hours")
    return Forecast(
        cost=cost,
        disk=disk(entries, jobs, architectures),
        memory=tuple(memory(entries, jobs, architectures, gpu_gb)),
        budget_gpu_hours=None if limit is None else float(limit),
        used_gpu_hours=0.0 if limit is None else _used(store, sweep),
    )


def _used(store: Store, sweep: Sweep) -> float:
    return sum(gpu_hours_used(run) for run in map(store.run, sweep.by_id()) if run.exists())


def refuse_above_budget(store: Store, sweep: Sweep, entries: Sequence[SweepJob]) -> None:
    """On one machine a sweep is run whole: it is not begun where its budget does not pay for all of it."""
    if sweep.settings.get("budget_gpu_hours") is None:
        return
    found = forecast(store, sweep, entries, {}, 80.0)
    if found.cost.unlimited_jobs:
        raise UserError(
            f"sweep {sweep.name}: budget_gpu_hours is set and nothing tells what {found.cost.unlimited_jobs} of its "
            "jobs cost; set resources.time_min of their stages"
        )
    if found.over_budget:
        raise UserError(
            f"sweep {sweep.name}: {found.budget_text()}; nothing was started: raise it (--budget) or run a part "
            "(matrix.seed=[0])"
        )
