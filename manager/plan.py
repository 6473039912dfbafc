"""From facts about jobs to states and actions. Pure: no disk, clock, network or environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from manager.cluster.backend import Phase, SchedulerView
from manager.job import Job, State, Sweep, SweepJob

# Two attempts in a row that got no further than the one before: something is wrong with the job itself.
ATTEMPTS_WITHOUT_PROGRESS = 2


@dataclass(frozen=True)
class JobFacts:
    """What the run directory and the scheduler say about one job now."""

    done: bool
    cancelled: bool = False
    alive: bool = False  # its last attempt still runs
    attempts: int = 0
    outcome: str | None = None  # of the last attempt; None: none yet, still running, or vanished
    cause: str = ""
    message: str = ""
    retryable: bool = False
    futile: int = 0  # how many attempts in a row, up to the last, ended without getting further
    needs_bytes: int = 0  # of free disk, where the last attempt ended because it was full
    forgiven: int = 0  # attempts before the last `manager retry`: they count no more
    view: SchedulerView | None = None
    saved: frozenset[int] = frozenset()  # the steps whose exported weights are complete, of a job without result

    @property
    def stuck(self) -> bool:
        """The last attempts ended without getting further than an earlier one."""
        return not self.alive and self.futile >= ATTEMPTS_WITHOUT_PROGRESS


def futile_attempts(steps: Sequence[int | None]) -> int:
    """How many attempts in a row, up to the last, got no further than those before them.

    One entry an attempt: the last step it reported, -1 if it reported none, None if it was asked to stop
    (which proves nothing about the job).
    """
    best, streak = -1, 0
    for step in steps:
        if step is None:
            continue
        streak = 0 if step > best else streak + 1
        best = max(best, step)
    return streak


def own_state(facts: JobFacts) -> State:
    """The state of a job whose parents do not matter any more or yet."""
    if facts.done:
        return State.DONE
    if facts.alive:
        return State.RUNNING
    view = facts.view
    if view is not None:
        if view.phase is Phase.RUNNING:
            return State.RUNNING
        if view.phase is Phase.QUEUED:
            return State.QUEUED
        if view.phase is Phase.UNKNOWN:
            return State.UNKNOWN
    if facts.cancelled or facts.outcome == "cancelled":
        return State.CANCELLED
    if facts.attempts > facts.forgiven:
        if facts.outcome == "failed" and (not facts.retryable or facts.stuck):
            return State.FAILED
        if facts.stuck:
            return State.FAILED
        if facts.outcome != "blocked":
            return State.INTERRUPTED
    return State.READY


def awaited(job: Job, facts: Mapping[str, JobFacts]) -> tuple[str, ...]:
    """The needs whose results the job waits for: not those whose saved weights are all that it reads."""
    step = job.resources.starts_with
    if step is None or not job.needs or job.needs[0] not in facts or step not in facts[job.needs[0]].saved:
        return job.needs
    return job.needs[1:]


def states(sweep: Sweep, facts: Mapping[str, JobFacts]) -> dict[str, State]:
    """The state of every job of the sweep, parents taken into account."""
    result: dict[str, State] = {}
    for entry in sweep.jobs:
        state = own_state(facts[entry.job.id])
        if state in (State.READY, State.INTERRUPTED):
            parents = [result[need] for need in awaited(entry.job, facts)]
            if any(parent in (State.FAILED, State.BLOCKED, State.CANCELLED) for parent in parents):
                state = State.BLOCKED
            elif any(parent is not State.DONE for parent in parents):
                state = State.WAITING
        result[entry.job.id] = state
    return result


class Act(StrEnum):
    SKIP = "skip"  # done: its result is used
    SUBMIT = "submit"
    RESUME = "resume"  # submit again; it goes on from its last checkpoint or item
    WAIT = "wait"  # it runs or is queued already: adopted
    LEAVE = "leave"  # failed, blocked, cancelled or unknown: told, not touched


@dataclass(frozen=True)
class Action:
    entry: SweepJob
    act: Act
    state: State
    why: str


def actions(sweep: Sweep, facts: Mapping[str, JobFacts]) -> list[Action]:
    """What a `manager sweep` would do now with every job, in order."""
    known = states(sweep, facts)
    resumable = {job_id for job_id, fact in facts.items() if fact.attempts > fact.forgiven}
    result = []
    for entry in sweep.jobs:
        job_id = entry.job.id
        result.append(_action(entry, known[job_id], facts[job_id], job_id in resumable))
    return result


def _action(entry: SweepJob, state: State, facts: JobFacts, resumable: bool) -> Action:
    match state:
        case State.DONE:
            return Action(entry, Act.SKIP, state, "done before: the same config and the same parents")
        case State.RUNNING | State.QUEUED:
            return Action(entry, Act.WAIT, state, f"already {state}")
        case State.READY | State.WAITING | State.INTERRUPTED:
            if resumable:
                ended = f": {facts.message}" if facts.message else ""
                return Action(entry, Act.RESUME, state, f"goes on from what is saved; it stopped before{ended}")
            return Action(entry, Act.SUBMIT, state, "no result yet")
        case State.FAILED:
            why = facts.message or facts.cause or "ended without a word"
            if facts.stuck:
                why = f"{facts.attempts} attempts without progress; the last: {why}"
            return Action(entry, Act.LEAVE, state, why)
        case State.BLOCKED:
            return Action(entry, Act.LEAVE, state, "a job that it needs failed or was cancelled")
        case State.CANCELLED:
            return Action(entry, Act.LEAVE, state, "cancelled; `manager retry` lifts it")
        case State.UNKNOWN:
            reason = facts.view.reason if facts.view else ""
            return Action(entry, Act.LEAVE, state, f"the scheduler could not be asked {reason}".strip())
