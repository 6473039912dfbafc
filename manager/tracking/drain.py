"""The side process that sends journals while jobs run.

    python -m manager.tracking.drain STORE SWEEP --parent PID     beside `manager sweep`
    python -m manager.tracking.drain --job RUN_DIR --sweep NAME --parent PID     beside one job, on its node

It ends by itself: on SIGTERM, or when its parent is gone, after a last pass. It runs at the lowest
priority, shares nothing with a job but files, and its failure is nobody else's.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from manager.errors import UserError
from manager.job import Sweep
from manager.liveness import identify, is_alive
from manager.store import Store
from manager.tracking import (
    LOCK,
    SyncResult,
    connect,
    locked,
    send_once,
    tracking_uri_of,
    write_record,
)
from manager.tracking.sweep import SweepTracking
from manager.tracking.system import SystemSampler

INTERVAL_S = 3.0
MAX_PAUSE_S = 60.0  # between tries while the tracking store is away
REREAD_S = 300.0  # the sweep may have been extended
DUTY = 0.2  # at most this part of the time is spent sending, whatever the interval
NICENESS = 19
JOB_LOCKS = "tracking-jobs"  # in the sweep's directory: a lock for each job that has a drain of its own


@dataclass(frozen=True)
class DrainPlan:
    """What a drain sends, and how often."""

    store: Store
    sweep_name: str
    job_id: str | None = None
    tracking_uri: str | None = None
    interval_s: float = INTERVAL_S


def drain(plan: DrainPlan, stop: threading.Event, parent: Mapping[str, Any] | None = None) -> SyncResult:
    """Send until told to stop or the parent process is gone; then once more. Returns the last result."""
    _read(plan)  # a sweep that is not there is told before anything is made
    path = plan.store.sweep_dir(plan.sweep_name) / LOCK
    if plan.job_id is not None:
        folder = plan.store.sweep_dir(plan.sweep_name) / JOB_LOCKS
        folder.mkdir(exist_ok=True)
        path = folder / f"{plan.job_id}.lock"
    while True:
        over = _is_over(stop, parent)
        with locked(path, 0.0 if over else plan.interval_s) as mine:
            if mine:
                return _loop(plan, stop, parent)
        if over:
            return SyncResult(plan.sweep_name, "", error="another process was sending this sweep")


def _is_over(stop: threading.Event, parent: Mapping[str, Any] | None) -> bool:
    return stop.is_set() or (parent is not None and is_alive(parent) is False)


def _loop(plan: DrainPlan, stop: threading.Event, parent: Mapping[str, Any] | None) -> SyncResult:
    sampler = SystemSampler()
    sampler.start()
    try:
        return _send_until_over(plan, stop, parent, sampler)
    finally:
        sampler.close()


def _send_until_over(
    plan: DrainPlan, stop: threading.Event, parent: Mapping[str, Any] | None, sampler: SystemSampler
) -> SyncResult:
    tracking: SweepTracking | None = None
    read_at, failures = 0.0, 0
    while True:
        last = _is_over(stop, parent)
        began = time.monotonic()
        if tracking is None or last or began - read_at > REREAD_S:
            sweep, read_at = _read(plan), began
            if tracking is not None:
                tracking.follow(sweep)
        uri = tracking_uri_of(plan.store, sweep, plan.tracking_uri)
        opened = tracking or connect(plan.store, sweep, uri, only=_only(plan))
        if isinstance(opened, SyncResult):
            result = opened
        else:
            tracking = opened
            skip = _sent_elsewhere(plan)
            result = send_once(tracking, sweep.name, uri, active=not last, states={}, skip=skip)
            sampler.watch([watched for watched in tracking.running() if not skip(watched.journal.parents[2].name)])
            if result.error:
                tracking = None  # connect anew: the database may be another file by now
        if plan.job_id is None:
            write_record(plan.store, result)
        if last:
            return result
        failures = failures + 1 if result.error else 0
        pause = max(plan.interval_s, result.seconds * (1 / DUTY - 1))
        _wait(min(MAX_PAUSE_S, pause * 2.0**failures), stop, parent)


def _read(plan: DrainPlan) -> Sweep:
    if plan.job_id is None:
        return plan.store.read_sweep(plan.sweep_name)
    return plan.store.read_sweep(plan.sweep_name, only=plan.job_id)


def _only(plan: DrainPlan) -> frozenset[str] | None:
    return None if plan.job_id is None else frozenset({plan.job_id})


def _sent_elsewhere(plan: DrainPlan) -> Callable[[str], bool]:
    """Whether a job has a drain of its own, which then sends it."""
    folder = plan.store.sweep_dir(plan.sweep_name) / JOB_LOCKS
    if plan.job_id is not None or not folder.is_dir():
        return lambda job_id: False

    def held(job_id: str) -> bool:
        path = folder / f"{job_id}.lock"
        if not path.exists():
            return False
        with locked(path, 0.0) as mine:
            return not mine

    return held


def _wait(seconds: float, stop: threading.Event, parent: Mapping[str, Any] | None) -> None:
    deadline = time.monotonic() + seconds
    while not _is_over(stop, parent):
        left = deadline - time.monotonic()
        if left <= 0:
            return
        stop.wait(min(left, 0.5))


# The process


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    parent = identify(options.parent) if options.parent is not None else None
    stop = threading.Event()

    def told(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, told)
    # Whoever starts this process may block the signal until here, so that none comes too early.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    # Ctrl-C in the foreground goes to the manager, whose end ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    try:
        result = drain(_plan(options), stop, parent)
    except UserError as error:
        print(f"tracking: {error}", file=sys.stderr)
        return 1
    if result.error:
        print(
            f"tracking: not everything was sent: {result.error}; `manager sync` sends the rest",
            file=sys.stderr,
        )
        return 2
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m manager.tracking.drain", description=__doc__.splitlines()[0])
    parser.add_argument("store", nargs="?", type=Path, help="the store's folder")
    parser.add_argument("sweep_name", nargs="?", metavar="SWEEP")
    parser.add_argument("--job", type=Path, metavar="RUN_DIR", help="send this job alone")
    parser.add_argument("--sweep", metavar="NAME", help="with --job: the sweep whose tracking store it is")
    parser.add_argument("--parent", type=int, metavar="PID", help="end after this process")
    parser.add_argument("--interval", type=float, default=INTERVAL_S, metavar="SECONDS")
    parser.add_argument("--tracking-uri")
    options = parser.parse_args(arguments)
    if (options.job is None) == (options.store is None) or (options.sweep_name or options.sweep) is None:
        parser.error("give STORE SWEEP, or --job RUN_DIR --sweep NAME")
    return options


def _plan(options: argparse.Namespace) -> DrainPlan:
    root = options.job.resolve().parents[1] if options.job else options.store
    return DrainPlan(
        store=Store.open(root),
        sweep_name=options.sweep_name or options.sweep,
        job_id=options.job.resolve().name if options.job else None,
        tracking_uri=options.tracking_uri,
        interval_s=options.interval,
    )


if __name__ == "__main__":
    raise SystemExit(main())
