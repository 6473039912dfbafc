"""From records, squeue and sacct to one view of each job. Pure: what to believe, and when.

squeue is believed while it lists a job, sacct only after; a query that failed makes a job unknown and
never failed; a job in several submissions is where it may still act.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from manager.cluster.backend import HELD_BACK, Phase, SchedulerView
from manager.cluster.slurm_query import REST, Row, Rows
from manager.cluster.slurm_record import Record, submissions_of

_ORDER = {Phase.RUNNING: 4, Phase.QUEUED: 3, Phase.UNKNOWN: 2}


@dataclass(frozen=True)
class Evidence:
    """What was asked and answered. A text in place of rows: why there is no answer."""

    now: float
    queue: Rows | str
    accounting: Rows | str
    settle_s: float
    silent_since: float | None = None  # where squeue does not answer: since when


def find_row(rows: Rows, token: str, index: int) -> Row | None:
    """The row of a task; an expression that was cut off stands for every task not listed."""
    return rows.get((token, index)) or rows.get((token, REST))


def unlisted(
    records: Sequence[Record], ids: Collection[str], queue: Rows, is_done: Callable[[str], bool]
) -> list[Record]:
    """The newest submissions of unfinished jobs that squeue does not list any more: accounting is asked
    about them."""
    result: dict[str, Record] = {}
    for job_id, submissions in submissions_of(records, ids).items():
        if any(find_row(queue, record.token, index) for record, index in submissions):
            continue
        record, _ = submissions[-1]
        if record.token not in result and not is_done(job_id):
            result[record.token] = record
    return list(result.values())


def views(records: Sequence[Record], ids: Collection[str], evidence: Evidence) -> dict[str, SchedulerView]:
    """The view of each job that was ever submitted."""
    result = {}
    for job_id, submissions in submissions_of(records, ids).items():
        # The newest last, so that of equals it stays.
        each = [_view(record, index, evidence) for record, index in submissions]
        best = each[0]
        for view in each[1:]:
            if _ORDER.get(view.phase, 0) >= _ORDER.get(best.phase, 0):
                best = view
        result[job_id] = best
    return result


def _view(record: Record, index: int, evidence: Evidence) -> SchedulerView:
    if isinstance(evidence.queue, str):
        return SchedulerView(
            Phase.UNKNOWN,
            record.token,
            record.scheduler_id(index),
            reason=evidence.queue,
            since=evidence.silent_since or evidence.now,
        )
    row = find_row(evidence.queue, record.token, index)
    if row is not None:
        return _listed(record, index, row)
    if record.in_flight(evidence.now, evidence.settle_s):
        reason = "being submitted, or just cut off while it was"
        return SchedulerView(Phase.QUEUED, record.token, reason=reason, since=record.created)
    return _over(record, index, evidence.accounting)


def _listed(record: Record, index: int, row: Row) -> SchedulerView:
    scheduler_id = f"{row.array_id}_{index}" if row.array_id else row.job_id
    if row.never_starts:
        # It stays in the queue for ever, but it is over: to be run it has to be submitted anew.
        return SchedulerView(Phase.ENDED, record.token, scheduler_id, reason=row.reason)
    if record.held and row.phase is Phase.QUEUED:
        return SchedulerView(Phase.ENDED, record.token, scheduler_id, reason=HELD_BACK)
    reason = row.reason if row.phase is Phase.QUEUED else ("" if row.state == "RUNNING" else row.state)
    since = row.ended if row.phase is Phase.ENDED else row.started
    return SchedulerView(row.phase, record.token, scheduler_id, reason=reason, node=row.node, since=since)


def _over(record: Record, index: int, accounting: Rows | str) -> SchedulerView:
    """A job that the controller does not know any more."""
    scheduler_id = record.scheduler_id(index)
    if isinstance(accounting, str):
        reason = f"not in the queue any more; how it ended is not known ({accounting})"
        return SchedulerView(Phase.ABSENT, record.token, scheduler_id, reason=reason)
    row = accounting.get((record.token, index))
    if row is None:
        reason = "Slurm does not know it: cancelled while it waited, or lost by the controller"
        return SchedulerView(Phase.ABSENT, record.token, scheduler_id, reason=reason)
    if row.phase is not Phase.ENDED:
        # The controller forgot it (a crash): accounting has it running or waiting for ever.
        reason = f"lost by the controller; accounting still says {row.state}"
        return SchedulerView(Phase.ABSENT, record.token, row.scheduler_id, reason=reason, node=row.node)
    code = "" if row.exit_code in ("", "0:0") else f" {row.exit_code}"
    return SchedulerView(
        Phase.ENDED, record.token, row.scheduler_id, reason=f"{row.state}{code}", node=row.node, since=row.ended
    )


def accounted(
    records: Sequence[Record], gpus: Mapping[str, int], queue: Rows, accounting: Rows
) -> dict[str, float]:
    """GPU-seconds of all attempts of each of these jobs. A job that accounting knows only in part, or that it
    has running although the controller forgot it, is left out. `gpus`: what each job asks for, where
    accounting does not track GPUs."""
    result = {}
    for job_id, submissions in submissions_of(records, gpus).items():
        seconds = [_gpu_seconds(record, index, gpus[job_id], queue, accounting) for record, index in submissions]
        known = [each for each in seconds if each is not None]
        if len(known) == len(seconds):
            result[job_id] = sum(known)
    return result


def _gpu_seconds(record: Record, index: int, gpus: int, queue: Rows, accounting: Rows) -> float | None:
    listed = find_row(queue, record.token, index)
    row = accounting.get((record.token, index))
    if row is None:
        return 0.0 if listed is not None and listed.phase is Phase.QUEUED else None
    if row.phase is Phase.RUNNING and (listed is None or listed.phase is Phase.QUEUED):
        return None
    return (row.gpus or gpus) * row.total_s


def parents_in_queue(seen: Mapping[str, SchedulerView]) -> dict[str, tuple[str, int | None]]:
    """(array id, index) of each job that is queued or runs under a known id."""
    result: dict[str, tuple[str, int | None]] = {}
    for job_id, view in seen.items():
        if view.phase in (Phase.QUEUED, Phase.RUNNING) and view.scheduler_id:
            array_id, _, index = view.scheduler_id.partition("_")
            result[job_id] = (array_id, int(index) if index else None)
    return result
