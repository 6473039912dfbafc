"""What finished jobs took, from their run directories. Reads; changes nothing."""

from __future__ import annotations

from collections.abc import Iterable

from manager.cost import shape
from manager.job import Job
from manager.store import RunDirectory, Store


def gpu_hours_used(run: RunDirectory, now: float | None = None) -> float:
    """GPU-hours of all attempts so far; a running attempt counts until `now` where that is given."""
    job = run.job()
    gpus = job.resources.nodes * job.resources.gpus_per_node
    return gpus * attempt_seconds(run, now) / 3600


def attempt_seconds(run: RunDirectory, now: float | None = None) -> float:
    """How long all attempts so far ran, by their own records."""
    seconds = 0.0
    for attempt in run.attempts():
        started = attempt.record.get("started")
        ended = (attempt.end or {}).get("finished") or (attempt.progress() or {}).get("updated") or now
        if started and ended:
            seconds += max(0.0, ended - started)
    return seconds


def read_history(store: Store, ids: Iterable[str] | None = None) -> dict[str, list[float]]:
    """The GPU-hours of each finished GPU job of the store, by shape."""
    jobs: dict[str, Job] = {}
    done: list[tuple[Job, RunDirectory]] = []
    try:
        names = list(ids if ids is not None else store.job_ids())
    except FileNotFoundError:
        return {}
    for job_id in names:
        run = store.run(job_id)
        present = run.names()
        if "job.json" not in present:
            continue
        jobs[job_id] = run.job()
        if "result.json" in present and jobs[job_id].resources.gpus_per_node:
            done.append((jobs[job_id], run))
    history: dict[str, list[float]] = {}
    for job, run in done:
        history.setdefault(shape(job, jobs), []).append(gpu_hours_used(run))
    return history
