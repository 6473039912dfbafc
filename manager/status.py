"""What a person wants to know about a sweep now, as data: stages by state, what runs, what failed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from manager.cluster.backend import HELD_BACK, Phase
from manager.diagnose import diagnose
from manager.job import State, Sweep, SweepJob
from manager.plan import JobFacts, states
from manager.store import Attempt, Store
from manager.usage import Usage


@dataclass(frozen=True)
class StageRow:
    stage: str
    kind: str
    counts: Mapping[State, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True)
class RunningRow:
    id: str
    title: str
    attempt: int
    host: str
    step: int | None
    total: int | None
    unit: str
    values: Mapping[str, Any]
    eta_s: float | None
    silent_s: float | None


@dataclass(frozen=True)
class ProblemRow:
    id: str
    title: str
    state: State
    attempts: int
    cause: str
    message: str


@dataclass(frozen=True)
class SweepStatus:
    name: str
    stages: tuple[StageRow, ...]
    running: tuple[RunningRow, ...]
    problems: tuple[ProblemRow, ...]
    queue_reasons: Mapping[str, int] = field(default_factory=dict)  # why queued jobs wait, in the scheduler's words
    used: Usage | None = None  # None: not asked, or no job asks for a GPU
    budget_gpu_hours: float | None = None

    @property
    def counts(self) -> Counter[State]:
        total: Counter[State] = Counter()
        for row in self.stages:
            total.update(row.counts)
        return total

    @property
    def complete(self) -> bool:
        return set(self.counts) == {State.DONE}

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "complete": self.complete,
            "counts": dict(self.counts),
            "stages": [{"stage": r.stage, "kind": r.kind, "counts": dict(r.counts)} for r in self.stages],
            "running": [asdict(row) for row in self.running],
            "problems": [asdict(row) for row in self.problems],
            "queue_reasons": dict(self.queue_reasons),
            "used": self.used.to_json() if self.used else None,
            "budget_gpu_hours": self.budget_gpu_hours,
        }


def collect(
    store: Store, sweep: Sweep, facts: Mapping[str, JobFacts], used: Usage | None = None
) -> SweepStatus:
    known = states(sweep, facts)
    stages: dict[str, tuple[str, Counter[State]]] = {}
    running, problems = [], []
    for entry in sweep.jobs:
        state = known[entry.job.id]
        stages.setdefault(entry.stage, (entry.job.kind.value, Counter()))[1][state] += 1
        if state is State.RUNNING:
            attempt = store.run(entry.job.id).last_attempt()
            if attempt is not None:
                running.append(running_row(entry, attempt, time.time()))
        elif state in (State.FAILED, State.UNKNOWN):
            problems.append(_problem(entry, state, facts[entry.job.id]))
        elif state is State.INTERRUPTED and facts[entry.job.id].outcome in (None, "failed"):
            # Nobody asked it to stop: worth a look, although the next `manager sweep` goes on with it.
            problems.append(_problem(entry, state, facts[entry.job.id]))
        elif (row := _stopped_by_scheduler(entry, state, facts[entry.job.id])) is not None:
            problems.append(row)
    rows = tuple(StageRow(name, kind, counts) for name, (kind, counts) in stages.items())
    budget = sweep.settings.get("budget_gpu_hours")
    return SweepStatus(
        name=sweep.name,
        stages=rows,
        running=tuple(running),
        problems=tuple(problems),
        queue_reasons=_queue_reasons(facts),
        used=used,
        budget_gpu_hours=None if budget is None else float(budget),
    )


def running_row(entry: SweepJob, attempt: Attempt, now: float) -> RunningRow:
    progress = attempt.progress() or {}
    step, total = progress.get("step"), progress.get("total")
    return RunningRow(
        id=entry.job.id,
        title=entry.title,
        attempt=attempt.number,
        host=str(attempt.record.get("host", "")),
        step=step,
        total=total,
        unit=str(progress.get("unit", "step")),
        values=progress.get("values", {}),
        eta_s=_eta(progress),
        silent_s=max(0.0, now - progress["updated"]) if "updated" in progress else None,
    )


def _eta(progress: Mapping[str, Any]) -> float | None:
    """From the mean time of this attempt's steps; unknown before the second step."""
    first, step, total = progress.get("first"), progress.get("step"), progress.get("total")
    if not first or step is None or not total or step <= first["step"]:
        return None
    per_step = (progress["step_time"] - first["time"]) / (step - first["step"])
    return float(per_step * (total - step))


def _stopped_by_scheduler(entry: SweepJob, state: State, facts: JobFacts) -> ProblemRow | None:
    """A job that waits for a person, or that the scheduler ended before it could begin."""
    view = facts.view
    settled = (State.DONE, State.CANCELLED, State.BLOCKED)
    if view is None or view.phase is not Phase.ENDED or facts.attempts or state in settled:
        return None
    if view.reason == HELD_BACK:
        message = f"{HELD_BACK}; when its cause is mended `manager sweep` submits this one anew"
        return ProblemRow(entry.job.id, entry.title, state, 0, "held", message)
    found = diagnose("", view.reason)
    if found is None or view.reason.startswith("CANCELLED"):
        return None
    message = f"{view.reason} on {view.node or 'no node'} before it began ({found.advice})"
    return ProblemRow(entry.job.id, entry.title, state, 0, found.cause, message)


def _queue_reasons(facts: Mapping[str, JobFacts]) -> Counter[str]:
    views = (fact.view for fact in facts.values() if fact.view is not None and not fact.done)
    return Counter(view.reason for view in views if view.phase is Phase.QUEUED and view.reason)


def _problem(entry: SweepJob, state: State, facts: JobFacts) -> ProblemRow:
    if state is State.UNKNOWN:
        since = facts.view.since if facts.view else None
        clock = f"unknown since {time.strftime('%H:%M:%S', time.localtime(since))}: " if since else ""
        reason = f"{clock}{facts.view.reason}" if facts.view else ""
        return ProblemRow(entry.job.id, entry.title, state, facts.attempts, "scheduler", reason)
    message = facts.message or "it vanished without a word: killed, out of memory, or the machine went away"
    return ProblemRow(entry.job.id, entry.title, state, facts.attempts, facts.cause or "vanished", message)
