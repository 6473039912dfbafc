"""What the status of a sweep tells of the scheduler's words."""

from __future__ import annotations

import time
from io import StringIO
from pathlib import Path

from rich.console import Console

from manager import render
from manager.cluster.backend import HELD_BACK, Phase, SchedulerView
from manager.job import Job, Kind, State, Sweep, SweepJob
from manager.plan import JobFacts
from manager.status import SweepStatus, collect
from manager.store import Store


def status_of(tmp_path: Path, *facts: JobFacts) -> SweepStatus:
    entries = tuple(SweepJob("train", {"n": n}, Job(Kind.RL, {"n": n})) for n in range(len(facts)))
    store = Store.open(tmp_path / "store", create=True)
    return collect(
        store, Sweep("s", None, entries), {e.job.id: fact for e, fact in zip(entries, facts, strict=True)}
    )


def text(value: SweepStatus) -> str:
    stream = StringIO()
    Console(file=stream, width=160).print(render.status(value))
    return stream.getvalue()


def waits(reason: str) -> JobFacts:
    return JobFacts(done=False, view=SchedulerView(Phase.QUEUED, reason=reason))


def test_reasons_of_waiting_jobs_are_counted(tmp_path: Path) -> None:
    value = status_of(tmp_path, waits("Priority"), waits("PartitionNodeLimit"), waits("Priority"))
    assert value.queue_reasons == {"Priority": 2, "PartitionNodeLimit": 1}
    assert "queued: 2 Priority, 1 PartitionNodeLimit" in text(value)


def test_jobs_that_never_began_say_why(tmp_path: Path) -> None:
    no_log = JobFacts(done=False, view=SchedulerView(Phase.ENDED, reason="FAILED 0:53", node="node7"))
    held = JobFacts(done=False, view=SchedulerView(Phase.ENDED, reason=HELD_BACK))
    fine = JobFacts(done=False, view=SchedulerView(Phase.ENDED, reason="COMPLETED"))
    by_hand = JobFacts(done=False, view=SchedulerView(Phase.ENDED, reason="CANCELLED by 1000"))
    value = status_of(tmp_path, no_log, held, fine, by_hand)
    assert [row.cause for row in value.problems] == ["launch", "held"]
    assert "node7" in value.problems[0].message
    assert {row.state for row in value.problems} == {State.READY}


def test_what_could_not_be_asked_is_unknown_since_a_time_and_not_failed(tmp_path: Path) -> None:
    noon = time.mktime((2026, 11, 20, 12, 0, 0, 0, 0, -1))
    silent = SchedulerView(Phase.UNKNOWN, reason="squeue: Unable to contact slurm controller", since=noon)
    value = status_of(tmp_path, JobFacts(done=False, view=silent))
    assert value.counts == {State.UNKNOWN: 1}
    assert "unknown since 12:00:00: squeue: Unable to contact" in text(value)


def test_many_problems_are_told_by_cause(tmp_path: Path) -> None:
    failed = JobFacts(done=False, attempts=1, outcome="failed", cause="import", message="no flash_attn")
    shown = text(status_of(tmp_path, *[failed] * 300))
    assert "300" in shown
    assert shown.count("no flash_attn") == 1
