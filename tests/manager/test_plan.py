"""States and actions from facts."""

from __future__ import annotations

import pytest

from manager.cluster.backend import Phase, SchedulerView
from manager.job import Job, Kind, State, Sweep, SweepJob
from manager.plan import Act, JobFacts, actions, futile_attempts, own_state, states

A = Job(Kind.SFT, {"n": "a"})
B = Job(Kind.RL, {"n": "b"}, (A.id,))
C = Job(Kind.EVALUATE, {"n": "c"}, (B.id,))
SWEEP = Sweep("s", None, tuple(SweepJob(name, {}, job) for name, job in zip("abc", (A, B, C), strict=True)))

NEW = JobFacts(done=False)
DONE = JobFacts(done=True)
RUNNING = JobFacts(done=False, alive=True, attempts=1)
VANISHED = JobFacts(done=False, attempts=1)
STOPPED = JobFacts(done=False, attempts=1, outcome="interrupted", retryable=True)
FAILED = JobFacts(done=False, attempts=1, outcome="failed", message="boom")


def view(phase: Phase) -> SchedulerView:
    return SchedulerView(phase, reason="why")


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (NEW, State.READY),
        (DONE, State.DONE),
        (RUNNING, State.RUNNING),
        (VANISHED, State.INTERRUPTED),
        (STOPPED, State.INTERRUPTED),
        (FAILED, State.FAILED),
        (JobFacts(done=False, attempts=1, outcome="failed", retryable=True), State.INTERRUPTED),
        (JobFacts(done=False, attempts=2, outcome="failed", retryable=True, futile=2), State.FAILED),
        (JobFacts(done=False, attempts=2, futile=2), State.FAILED),
        (JobFacts(done=False, attempts=1, outcome="failed", forgiven=1), State.READY),
        (JobFacts(done=False, attempts=1, outcome="blocked"), State.READY),
        (JobFacts(done=False, cancelled=True), State.CANCELLED),
        (JobFacts(done=True, cancelled=True), State.DONE),
        (JobFacts(done=False, view=view(Phase.QUEUED)), State.QUEUED),
        (JobFacts(done=False, attempts=1, view=view(Phase.QUEUED)), State.QUEUED),
        (JobFacts(done=False, attempts=1, view=view(Phase.UNKNOWN)), State.UNKNOWN),
        (JobFacts(done=False, attempts=1, view=view(Phase.ENDED)), State.INTERRUPTED),
        # The record that the job wrote wins over whatever a scheduler says.
        (JobFacts(done=True, view=view(Phase.RUNNING)), State.DONE),
    ],
)
def test_the_state_of_one_job(facts: JobFacts, state: State) -> None:
    assert own_state(facts) is state


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (NEW, NEW, (State.READY, State.WAITING, State.WAITING)),
        (DONE, NEW, (State.DONE, State.READY, State.WAITING)),
        (FAILED, NEW, (State.FAILED, State.BLOCKED, State.BLOCKED)),
        (STOPPED, NEW, (State.INTERRUPTED, State.WAITING, State.WAITING)),
        (DONE, RUNNING, (State.DONE, State.RUNNING, State.WAITING)),
        # A parent whose result was deleted is made again; what ran meanwhile goes on.
        (NEW, RUNNING, (State.READY, State.RUNNING, State.WAITING)),
    ],
)
def test_parents_decide_what_can_start(a: JobFacts, b: JobFacts, expected: tuple[State, ...]) -> None:
    known = states(SWEEP, {A.id: a, B.id: b, C.id: NEW})
    assert tuple(known[job.id] for job in (A, B, C)) == expected


def test_a_second_sweep_does_only_what_is_missing() -> None:
    facts = {A.id: DONE, B.id: STOPPED, C.id: NEW}
    assert [action.act for action in actions(SWEEP, facts)] == [Act.SKIP, Act.RESUME, Act.SUBMIT]
    facts = {A.id: DONE, B.id: RUNNING, C.id: NEW}
    assert [action.act for action in actions(SWEEP, facts)] == [Act.SKIP, Act.WAIT, Act.SUBMIT]


def test_a_failure_is_left_and_told() -> None:
    told = actions(SWEEP, {A.id: DONE, B.id: FAILED, C.id: NEW})
    assert [action.act for action in told] == [Act.SKIP, Act.LEAVE, Act.LEAVE]
    assert told[1].why == "boom"


@pytest.mark.parametrize(
    ("steps", "streak"),
    [
        ([], 0),
        ([-1], 1),
        ([-1, -1], 2),
        ([10], 0),
        ([10, 20, 30], 0),
        ([10, 10], 1),
        ([10, 10, 5], 2),
        ([10, 10, 20], 0),
        ([10, None, None], 0),
        ([-1, None, -1], 2),
    ],
)
def test_attempts_without_progress_are_counted(steps: list[int | None], streak: int) -> None:
    assert futile_attempts(steps) == streak
