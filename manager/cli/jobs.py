"""`logs`, `cancel`, `retry` and `why`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from manager.cli.options import DEFAULT_STORE, Json, StoreOption, open_sweep, print_json
from manager.errors import UserError
from manager.job import State, SweepJob
from manager.store import Attempt, RunDirectory, Store

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job, or the beginning of it.")]
Target = Annotated[str, typer.Argument(metavar="SWEEP|JOB", help="A sweep by name, or a job by id.")]
Filters = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Only jobs with these labels: stage=train, domain=math."),
]  # fmt: skip

# A controller is asked this often for a job whose log is followed over a requeue.
QUEUE_POLL_S = 5.0


def logs(
    job: JobId,
    store: StoreOption = DEFAULT_STORE,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows, across attempts.")] = False,
    attempt: Annotated[int | None, typer.Option(help="Which attempt; the last if left out.")] = None,
) -> None:
    """What a job printed, and how it ended."""
    run = Store.open(store).find_job(job)
    number = attempt
    while True:
        chosen = _attempt(run, number)
        for piece in _text(run, chosen, follow):
            sys.stdout.write(piece)
            sys.stdout.flush()
        newest = _next_attempt(Store.open(store), run, chosen) if follow else None
        if newest is None:
            break
        number = newest.number
        print(f"--- attempt {number}")
    shown = _attempt(run, number)
    if shown.end:
        reason = f"{shown.end.get('cause', '')} {shown.end.get('message', '')}".strip()
        print(f"--- attempt {shown.number}: {shown.end['outcome']} {reason}".rstrip())


def _attempt(run: RunDirectory, number: int | None) -> Attempt:
    attempts = run.attempts()
    if not attempts:
        raise UserError(f"job {run.id} was never started; `manager status` tells what it waits for")
    if number is None:
        return attempts[-1]
    for attempt in attempts:
        if attempt.number == number:
            return attempt
    raise UserError(f"job {run.id} has attempts 1 to {attempts[-1].number}, not {number}")


def _text(run: RunDirectory, attempt: Attempt, follow: bool) -> Iterator[str]:
    """The attempt's output, then its errors; with `follow`, both as they grow until the attempt ends."""
    from manager.logs import Section
    from manager.observe import attempt_alive

    execution = str(attempt.record.get("execution", ""))
    sections = [Section(Path(path), execution) for path in attempt.record.get("logs", [])]
    while True:
        alive = attempt_alive(Attempt.at(attempt.path))
        yield from (section.read() for section in sections)
        if not follow or not alive or run.is_done():
            return
        time.sleep(0.5)


def _next_attempt(store: Store, run: RunDirectory, shown: Attempt) -> Attempt | None:
    """The attempt after this one; waits for it while a scheduler still holds the job."""
    from manager.backends import in_queue

    while True:
        newest = run.last_attempt()
        if newest is not None and newest.number != shown.number:
            return newest
        if run.is_done() or not in_queue(store, run.id):
            return None
        time.sleep(QUEUE_POLL_S)


def cancel(
    target: Target,
    filters: Filters = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Stop jobs: they save and end. A sweep, one job, or a part of a sweep (stage=train domain=math)."""
    from manager.backends import cancel_submitted
    from manager.observe import all_facts
    from manager.plan import own_state

    here, entries = _select(store, target, _parse(filters))
    ids = [entry.job.id for entry in entries]
    facts = all_facts(here, ids)
    open_ids = [job_id for job_id in ids if own_state(facts[job_id]) not in (State.DONE, State.CANCELLED)]
    for job_id in open_ids:
        # The wish is on disk first: a job that starts in this moment reads it.
        here.run(job_id).set_cancelled({"time": time.time()})
    # Local jobs see the wish by themselves; a scheduler has to be told.
    told = cancel_submitted(here, open_ids)
    running = max(len(told), sum(facts[job_id].alive for job_id in open_ids))
    if not open_ids:
        raise UserError(f"{target}: nothing to cancel; every job of it is done or was cancelled before")
    jobs = "1 job" if len(open_ids) == 1 else f"{len(open_ids)} jobs"
    print(f"{jobs} cancelled ({running} running); `manager retry` takes it back")


def retry(
    target: Target,
    filters: Filters = None,
    store: StoreOption = DEFAULT_STORE,
    failed: Annotated[bool, typer.Option("--failed", help="Failed jobs, not cancelled or interrupted ones.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="KEY=VALUE", help="Only these: stage=train, cause=disk_full. Also twice."),
    ] = None,
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="Forget checkpoints and samples too.")] = False,
) -> None:
    """Let failed or cancelled jobs run again with the next `sweep`."""
    from manager.observe import all_facts
    from manager.plan import own_state

    pairs = _parse([*(filters or ()), *(only or ())])
    cause = pairs.pop("cause", None)
    here, entries = _select(store, target, pairs)
    facts = all_facts(here, [entry.job.id for entry in entries])
    wanted = (State.FAILED,) if failed else (State.FAILED, State.CANCELLED, State.INTERRUPTED)
    chosen = [entry for entry in entries if own_state(facts[entry.job.id]) in wanted]
    if cause is not None:
        causes = {facts[entry.job.id].cause for entry in chosen} - {""}
        if cause not in causes:
            known = ", ".join(sorted(causes)) or "none"
            raise UserError(f"cause={cause}: nothing here ended so; causes: {known}")
        chosen = [entry for entry in chosen if facts[entry.job.id].cause == cause]
    for entry in chosen:
        run = here.run(entry.job.id)
        run.set_cancelled(None)
        run.forgive()
        if from_scratch:
            run.forget_work()
    if not chosen:
        raise UserError(f"{target}: nothing here has failed or was cancelled; `manager status` shows the states")
    for entry in chosen:
        print(f"{entry.job.id} {entry.title}: will run again")
    print("run `manager sweep` with the sweep's file to start them")


def _select(root: Path, target: str, filters: Mapping[str, str]) -> tuple[Store, list[SweepJob]]:
    """The jobs that a target and label filters name."""
    store = Store.open(root)
    if target in store.sweep_names():
        store, sweep = open_sweep(root, target)
        _check_filters(sweep.jobs, filters)
        return store, [entry for entry in sweep.jobs if _fits(entry, filters)]
    try:
        run = store.find_job(target)
    except UserError as error:
        known = ", ".join(store.sweep_names()) or "none"
        raise UserError(f"{target!r} is neither a sweep ({known}) nor the beginning of a job id") from error
    return store, [SweepJob("job", {"id": run.id}, run.job())]


def _parse(filters: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in filters or ():
        key, separator, value = text.partition("=")
        if not separator:
            raise UserError(f"{text!r} is not KEY=VALUE; for example stage=train or domain=math")
        pairs[key] = value
    return pairs


def _fits(entry: SweepJob, filters: Mapping[str, str]) -> bool:
    labels = _labels(entry)
    return all(labels.get(key) == value for key, value in filters.items())


def _labels(entry: SweepJob) -> dict[str, str]:
    labels = {"stage": entry.stage, "kind": entry.job.kind.value, **entry.labels}
    return {key: str(value) for key, value in labels.items()}


def _check_filters(entries: Sequence[SweepJob], filters: Mapping[str, str]) -> None:
    """A filter that no job of the sweep can fit is a slip of the pen."""
    known: dict[str, set[str]] = {}
    for entry in entries:
        for key, value in _labels(entry).items():
            known.setdefault(key, set()).add(value)
    for key, value in filters.items():
        if key not in known:
            raise UserError(f"{key}={value}: jobs of this sweep have no {key}; valid: {', '.join(known)}")
        if value not in known[key]:
            raise UserError(f"{key}={value}: no job has that; {key} is one of {', '.join(sorted(known[key]))}")


def why(a: JobId, b: JobId, store: StoreOption = DEFAULT_STORE, as_json: Json = False) -> None:
    """The values in which two jobs differ, through what they need."""
    from manager.why import differences

    here = Store.open(store)
    rows = differences(here, here.find_job(a).job(), here.find_job(b).job())
    if as_json:
        print_json([{"place": row.place, "a": row.a, "b": row.b} for row in rows])
        return
    if not rows:
        print("the same job")
        return
    console = Console()
    for row in rows:
        console.print(f"{row.place}: {row.a!r} | {row.b!r}", markup=False, highlight=False)
