"""`manager sweep` on a cluster: hands over what is missing, says so, and returns."""

from __future__ import annotations

from rich.console import Console

from manager import render
from manager.cli.sweeps import next_step
from manager.cluster.slurm import SlurmBackend
from manager.job import Sweep
from manager.observe import all_facts
from manager.plan import Act
from manager.status import collect
from manager.store import Store
from manager.submission import Round, submit_missing


def submit(store: Store, sweep: Sweep, backend: SlurmBackend) -> int:
    """Submit what has no result and is in no queue; returns the exit status."""
    console = Console()
    result = submit_missing(store, sweep, backend)
    for each in result.submissions:
        console.print(f"submitted {len(each.jobs)} jobs as {each.scheduler_id} ({each.token})")
    console.print(_summary(sweep, result))
    if backend.left_out and backend.limits:
        bound = f"{backend.limits.told_by} allows {backend.limits.max_queued}"
        console.print(
            f"{len(backend.left_out)} jobs are not submitted yet: {bound}; run the same command again later"
        )
    if result.budget:
        console.print(result.budget.text())
    if result.unknown:
        console.print(f"{len(result.unknown)} jobs were left alone: {result.unknown[0].why}")
    ids = [entry.job.id for entry in sweep.jobs]
    value = collect(store, sweep, all_facts(store, ids, backend.observe(ids)))
    console.print(render.status(value))
    console.print(next_step(value))
    return 1 if result.unknown or result.count(Act.LEAVE) else 0


def _summary(sweep: Sweep, result: Round) -> str:
    parts = [f"{result.count(Act.SKIP)} of {len(result.actions)} jobs are done"]
    if result.count(Act.WAIT):
        parts.append(f"{result.count(Act.WAIT)} are queued or run already")
    parts.append(f"{result.submitted} submitted now" if result.submitted else "nothing was submitted")
    return f"sweep {sweep.name}: {', '.join(parts)}"
