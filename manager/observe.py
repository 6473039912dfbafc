"""Reads what the run directories and the scheduler say about jobs. Asks; changes nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from manager.cluster.backend import SchedulerView
from manager.liveness import is_alive
from manager.plan import JobFacts, futile_attempts
from manager.store import Attempt, RunDirectory, Store

# A heartbeat comes every few seconds; after this silence an attempt on a machine that cannot be asked
# counts as gone. Long, because a file server can stall for a minute without anything being wrong.
SILENCE_S = 180.0


def file_server_time(folder: Path) -> float:
    """The time as the store's file system sees it: compared with heartbeats written by other hosts, so
    that no host's wrong clock matters."""
    descriptor, name = tempfile.mkstemp(prefix=".now-", dir=folder)
    try:
        os.write(descriptor, b"x")
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        os.unlink(name)


def attempt_alive(attempt: Attempt) -> bool:
    """Whether the attempt still runs: by its process where that can be seen, else by its heartbeat."""
    if attempt.end is not None:
        return False
    alive = is_alive(attempt.record) if attempt.record else False
    if alive is not None:
        return alive
    heartbeat = attempt.path / "progress.json"
    try:
        last = (heartbeat if heartbeat.exists() else attempt.path / "attempt.json").stat().st_mtime
        now = file_server_time(attempt.path)
    except FileNotFoundError:
        return False
    return now - last < SILENCE_S


def _last_step(attempt: Attempt) -> int | None:
    if attempt.outcome in ("interrupted", "blocked", "cancelled"):
        return None
    progress = attempt.progress()
    return int(progress.get("step", -1)) if progress else -1


def job_facts(run: RunDirectory, view: SchedulerView | None = None) -> JobFacts:
    """Everything that planning needs to know about one job."""
    names = run.names()  # one question to the file server in place of one for each file
    cancelled = "cancelled.json" in names
    if "result.json" in names:
        return JobFacts(done=True, cancelled=cancelled, view=view)
    saved = run.saved_steps() if "models" in names else frozenset()
    attempts = run.attempts() if "attempts" in names else []
    if not attempts:
        return JobFacts(done=False, cancelled=cancelled, view=view, saved=saved)
    last = attempts[-1]
    alive = attempt_alive(last)
    forgiven = run.forgiven()
    end = last.end or {}
    return JobFacts(
        done=False,
        cancelled=cancelled,
        alive=alive,
        attempts=len(attempts),
        outcome=end.get("outcome"),
        cause=end.get("cause", ""),
        message=end.get("message", ""),
        retryable=bool(end.get("retryable", False)),
        needs_bytes=int(end.get("needs_bytes", 0)),
        futile=futile_attempts([_last_step(attempt) for attempt in attempts[forgiven:]]),
        forgiven=forgiven,
        view=view,
        saved=saved,
    )


def all_facts(
    store: Store, ids: Iterable[str], views: Mapping[str, SchedulerView] | None = None
) -> dict[str, JobFacts]:
    views = views or {}
    return {job_id: job_facts(store.run(job_id), views.get(job_id)) for job_id in ids}
