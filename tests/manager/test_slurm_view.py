"""What is believed: squeue while it lists a job, sacct after, and a silent scheduler about nothing."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from manager.cluster.backend import Phase
from manager.cluster.slurm_query import REST, Row, Rows
from manager.cluster.slurm_record import Record
from manager.cluster.slurm_view import Evidence, parents_in_queue, unlisted, views
from manager.liveness import identify

NOW = 10_000.0
DEAD = {"pid": 1, "pid_started": -1, "host": "elsewhere", "boot": "other", "pid_namespace": "other"}
OLD, NEW = "m000000000000001", "m000000000000002"


def record(token: str, tasks: dict[int, str], array_id: str | None = "12", created: float = 100.0) -> Record:
    return Record(token, f"toys.train.{token}", "me", "default", "train", tasks, created, array_id, DEAD)


def row(token: str, index: int, phase: Phase, state: str, **values: object) -> Row:
    return replace(Row(token, index, phase, state, array_id="12", job_id=str(50 + index)), **values)


def rows(*each: Row) -> Rows:
    return {(one.token, one.index): one for one in each}


def view_of(records: list[Record], queue: Rows | str, accounting: Rows | str = "not asked"):  # type: ignore[no-untyped-def]
    return views(records, {"a", "b"}, Evidence(NOW, queue, accounting, settle_s=30.0))


def test_a_failed_query_is_unknown_since_now_and_never_failed() -> None:
    seen = view_of([record(OLD, {0: "a"})], "squeue: no answer within 60 s")
    assert seen["a"].phase is Phase.UNKNOWN
    assert seen["a"].since == NOW
    assert "no answer" in seen["a"].reason


def test_squeue_is_believed_while_it_lists_the_job_whatever_sacct_says() -> None:
    queue = rows(row(OLD, 0, Phase.QUEUED, "PENDING", reason="BeginTime"))
    accounting = rows(row(OLD, 0, Phase.ENDED, "NODE_FAIL"))
    assert view_of([record(OLD, {0: "a"})], queue, accounting)["a"].phase is Phase.QUEUED


def test_sacct_tells_how_a_job_ended_that_squeue_has_forgotten() -> None:
    accounting = rows(row(OLD, 0, Phase.ENDED, "TIMEOUT", exit_code="0:15", node="node3", ended=90.0))
    seen = view_of([record(OLD, {0: "a"})], {}, accounting)["a"]
    assert (seen.phase, seen.reason, seen.node, seen.since) == (Phase.ENDED, "TIMEOUT 0:15", "node3", 90.0)


def test_a_job_of_a_crashed_controller_is_lost_though_accounting_has_it_running_for_ever() -> None:
    accounting = rows(row(OLD, 0, Phase.RUNNING, "RUNNING"))
    seen = view_of([record(OLD, {0: "a"})], {}, accounting)["a"]
    assert seen.phase is Phase.ABSENT
    assert "lost by the controller" in seen.reason


def test_another_job_with_the_same_id_is_not_this_job() -> None:
    # The controller crashed and gave 12_0 to somebody else: its rows carry another token.
    queue = rows(row(NEW, 0, Phase.RUNNING, "RUNNING"))
    seen = view_of([record(OLD, {0: "a"}), record(NEW, {0: "b"}, created=200.0)], queue, {})
    assert seen["a"].phase is Phase.ABSENT
    assert seen["b"].phase is Phase.RUNNING


def test_without_accounting_it_is_said_what_is_not_known() -> None:
    seen = view_of([record(OLD, {0: "a"})], {}, "sacct: Slurm accounting storage is disabled")["a"]
    assert seen.phase is Phase.ABSENT
    assert "disabled" in seen.reason


def test_a_call_that_was_cut_off_is_waited_for_and_then_given_up() -> None:
    fresh = record(OLD, {0: "a"}, array_id=None, created=NOW - 5)
    stale = record(OLD, {0: "a"}, array_id=None, created=NOW - 500)
    assert view_of([fresh], {}, {})["a"].phase is Phase.QUEUED
    assert view_of([stale], {}, {})["a"].phase is Phase.ABSENT
    # Its process lives on (a notebook); that the call is over counts.
    alive = replace(stale, submitter=identify(os.getpid()))
    assert view_of([alive], {}, {})["a"].phase is Phase.QUEUED
    assert view_of([replace(alive, unclear=NOW - 5)], {}, {})["a"].phase is Phase.QUEUED
    assert view_of([replace(alive, unclear=NOW - 500)], {}, {})["a"].phase is Phase.ABSENT
    listed = rows(row(OLD, 0, Phase.RUNNING, "RUNNING"))
    seen = view_of([fresh], listed, {})["a"]
    assert (seen.phase, seen.scheduler_id) == (Phase.RUNNING, "12_0")


def test_a_job_in_two_submissions_is_where_it_may_still_act() -> None:
    records = [record(OLD, {0: "a"}), record(NEW, {3: "a"}, created=200.0)]
    queue = rows(row(OLD, 0, Phase.RUNNING, "RUNNING"), row(NEW, 3, Phase.QUEUED, "PENDING"))
    assert view_of(records, queue)["a"].token == OLD
    ended = rows(row(OLD, 0, Phase.ENDED, "FAILED"), row(NEW, 3, Phase.ENDED, "COMPLETED"))
    assert view_of(records, ended)["a"].token == NEW


@pytest.mark.parametrize("reason", ["DependencyNeverSatisfied", "launch failed requeued held"])
def test_a_job_that_can_never_start_is_over(reason: str) -> None:
    queue = rows(row(OLD, 0, Phase.QUEUED, "PENDING", reason=reason))
    seen = view_of([record(OLD, {0: "a"})], queue)["a"]
    assert (seen.phase, seen.reason) == (Phase.ENDED, reason)


def test_an_expression_that_was_cut_off_stands_for_the_tasks_not_listed() -> None:
    queue = rows(row(OLD, 0, Phase.RUNNING, "RUNNING"), row(OLD, REST, Phase.QUEUED, "PENDING"))
    seen = view_of([record(OLD, {0: "a", 7: "b"})], queue)
    assert (seen["b"].phase, seen["b"].scheduler_id) == (Phase.QUEUED, "12_7")


def test_accounting_is_asked_only_about_what_squeue_does_not_list() -> None:
    records = [record(OLD, {0: "a"}), record(NEW, {3: "b"}, created=200.0)]
    queue = rows(row(OLD, 0, Phase.RUNNING, "RUNNING"))
    assert [each.token for each in unlisted(records, {"a", "b"}, queue, lambda _: False)] == [NEW]
    assert unlisted(records, {"a", "b"}, queue, {"b": True}.__getitem__) == [], "what has its result needs no witness"
    assert unlisted(records, {"a"}, queue, lambda _: False) == []


def test_only_parents_in_the_queue_are_named() -> None:
    queue = rows(row(OLD, 0, Phase.RUNNING, "RUNNING"), row(OLD, 1, Phase.ENDED, "COMPLETED"))
    assert parents_in_queue(view_of([record(OLD, {0: "a", 1: "b"})], queue)) == {"a": ("12", 0)}
