"""MLflow's side process as seen by who starts it: a sweep on this machine, or one job on its node.

It reads what jobs write and shares nothing else with them, so that tracking can never slow or end a job.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from os import getpid
from pathlib import Path

from manager.atomic import read_json
from manager.errors import UserError
from manager.job import Sweep
from manager.place import Place
from manager.run import Run
from manager.store import Store

# A job on a cluster must not hold its GPUs for a tracking server; what is not sent by then, `sync` sends.
JOB_WAIT_S = 20.0


@dataclass
class Drain:
    """`complete` once it has ended: whether the tracking store has everything."""

    log: Path
    complete: bool = False


def drain_command(store: Store, sweep_name: str, *, parent: int | None = None, job_id: str | None = None) -> list[str]:
    """The command line of the side process: of a sweep, or of one job on its node."""
    who = ["--parent", str(parent if parent is not None else getpid())]
    if job_id is not None:
        where = ["--job", str(store.run(job_id).path), "--sweep", sweep_name]
    else:
        where = [str(store.root), sweep_name]
    return [sys.executable, "-m", "manager.tracking.drain", *where, *who]


def beside_job(run: Run, token: str, place: Place) -> AbstractContextManager[object]:
    """The side process of a job on a cluster, where its sweep is tracked by a server.

    A default store is a SQLite file on the shared file system, which a hundred nodes must not write to at
    once: `manager sync` on a login node fills that one. On one machine the sweep has a drain for all jobs.
    """
    if run.rank != 0 or place.scheduler.get("name") != "slurm":
        return nullcontext()
    store = Store(run.path.parent.parent)
    intent = read_json(store.submission_dir(token) / "intent.json") or {}
    name = intent.get("sweep")
    try:
        if name is None or not tracked_by_server(store, store.read_sweep(name, only=run.job.id)):
            return nullcontext()
    except UserError as error:
        print(f"tracking: {error}", file=sys.stderr, flush=True)
        return nullcontext()
    return draining(drain_command(store, name, job_id=run.job.id), run.attempt_dir / "tracking.log", wait_s=JOB_WAIT_S)


def tracked_by_server(store: Store, sweep: Sweep) -> bool:
    from manager.tracking import tracking_uri_of

    return not tracking_uri_of(store, sweep).startswith("sqlite:")


@contextmanager
def draining(command: list[str], log: Path, *, wait_s: float | None = None) -> Iterator[Drain]:
    """Keep the side process beside the block; then let it send the rest, at most for `wait_s`."""
    drain = Drain(log)
    # The drain takes SIGTERM for: send the rest and leave. Blocked while it starts, the signal waits until
    # the drain can understand it. Its own session, so that Ctrl-C does not end it before its last pass.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with open(log, "ab") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        yield drain
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            drain.complete = process.wait(wait_s) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
