"""Runs one job on the node: claim, heartbeat, dispatch by kind, signals, terminal record.

The same for every scheduler. submitit starts `Work` in each task; `python -m manager.worker RUN_DIR` starts
it by hand. It must not know what a job does, and must not import torch.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from manager import ports, room
from manager.atomic import read_json, write_json
from manager.claim import Claimed, Refused, claim, is_newest, release_reserve
from manager.diagnose import diagnose
from manager.drain_process import beside_job
from manager.environment import job_environment, record_environment
from manager.errors import UserError
from manager.heartbeat import Heartbeat
from manager.job import Job
from manager.kinds import DISTRIBUTED, load_entry
from manager.model_folder import digest
from manager.observe import job_facts
from manager.place import Place, by_hand, here
from manager.plan import ATTEMPTS_WITHOUT_PROGRESS
from manager.remedy import changed
from manager.run import Failed, Run, Stopped
from manager.server_rank import ServerEnded, serve, training_place
from manager.store import Attempt, RunDirectory

# The other ranks start within a scheduler's step; rank 0's claim reaches them over the file system.
GROUP_WAIT_S = 600.0
# Ports of jobs on a cluster: below those that kernels give to outgoing connections.
FIRST_PORT, PORTS = 10_000, 20_000


class JobEnded(Exception):
    """The job did not reach a result. Everything about it is already written down."""


@dataclass(frozen=True)
class Work:
    """What submitit pickles: paths and a token, nothing else."""

    run_dir: str
    token: str
    manager: Mapping[str, Any] | None = None  # the process whose end means stop (local only)
    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(self) -> str:
        os.environ.update(self.environment)
        return execute(RunDirectory(Path(self.run_dir)), self.token, here(), self.manager)


def execute(directory: RunDirectory, token: str, place: Place, manager: Mapping[str, Any] | None = None) -> str:
    """One attempt at the job; returns how it ended. Anything but done and refused raises JobEnded."""
    job = changed(directory.job(), directory)
    if place.rank > 0 and job.kind.value not in DISTRIBUTED:
        return "not needed: only rank 0 works on this kind"
    attempt_dir = _join(directory, token, place)
    if isinstance(attempt_dir, Refused):
        print(f"nothing to do: {attempt_dir.why}", flush=True)
        return f"refused: {attempt_dir.why}"
    training = training_place(job, place)
    if training is None:
        return _serve(Run(directory, job, attempt_dir, rank=place.rank, local_rank=place.local_rank), place)
    place = training
    run = Run(
        directory=directory,
        job=job,
        attempt_dir=attempt_dir,
        rank=place.rank,
        local_rank=place.local_rank,
        world_size=place.world_size,
    )
    _set_environment(job, place, attempt_dir)
    _catch_signals(run)
    _tell_previous_end(run)
    with beside_job(run, token, place), Heartbeat(run, manager):
        end, result = _attempt(run)
        _finish(run, end, result)
    print(f"{job.kind} {directory.id}: {end['outcome']} {end.get('message', '')}".rstrip(), flush=True)
    if end["outcome"] != "done":
        raise JobEnded(f"{end['outcome']}: {end.get('message', '')}")
    return "done"


def _tell_previous_end(run: Run) -> None:
    """In the journal of this attempt: why there had to be one more."""
    number = int(run.attempt_dir.name) - 1
    if number == 0 or run.rank > 0:
        return
    end = Attempt.at(run.attempt_dir.with_name(f"{number:04d}")).end or {"outcome": "vanished", "cause": "no last word"}
    outcome, cause, said = end["outcome"], end.get("cause", ""), end.get("message", "")
    message = f"attempt {number}: {outcome} ({cause}): {said}" if said else f"attempt {number}: {outcome} ({cause})"
    run.event("previous_attempt", message, previous=number, outcome=outcome, cause=cause)


def _serve(run: Run, place: Place) -> str:
    """A task that generates and does not train. Signals are the training's to answer: it needs the server to save."""
    os.environ.update(job_environment(run.job, os.environ))
    _catch_signals(run)
    try:
        return serve(run, place)
    except ServerEnded as error:
        raise JobEnded(f"failed: {error}") from error


# Joining: rank 0 claims, the others find its attempt.


def _join(directory: RunDirectory, token: str, place: Place) -> Path | Refused:
    refusal = directory.path / "attempts" / f".refused-{place.execution}.json"
    if place.rank > 0:
        return _wait_for_claim(directory, place, refusal)
    record = {
        "token": token,
        "execution": place.execution,
        "scheduler": place.scheduler,
        "world_size": place.world_size,
        "logs": list(place.logs),
        "master": [place.first_host, rendezvous_port(str(place.scheduler.get("raw_job_id", "")))],
    }
    answer = _quarantined(directory, place) or claim(directory, record)
    if isinstance(answer, Claimed):
        return answer.path
    if place.world_size > 1:
        refusal.parent.mkdir(exist_ok=True)
        write_json(refusal, {"why": answer.why})
    return answer


def _quarantined(directory: RunDirectory, place: Place) -> Refused | None:
    """A job under which nodes die is started again by the scheduler itself, each time, and nobody is asked: after two
    such attempts in a row without progress it leaves."""
    if int(place.scheduler.get("restart_count", 0)) == 0:
        return None
    last = directory.attempts()[directory.forgiven() :][-ATTEMPTS_WITHOUT_PROGRESS:]
    if any(attempt.end is not None for attempt in last) or not job_facts(directory).stuck:
        return None
    return Refused(f"{len(last)} attempts in a row vanished without progress; `manager retry` lets it run again")


def _wait_for_claim(directory: RunDirectory, place: Place, refusal: Path) -> Path | Refused:
    deadline = time.monotonic() + GROUP_WAIT_S
    while time.monotonic() < deadline:
        for attempt in reversed(directory.attempts()):
            if attempt.record.get("execution") == place.execution:
                return attempt.path
        refused = read_json(refusal)
        if refused is not None:
            return Refused(refused["why"])
        time.sleep(0.1)
    raise JobEnded(f"rank {place.rank}: rank 0 did not claim the job within {GROUP_WAIT_S:.0f} s")


def rendezvous_port(scheduler_id: str) -> int:
    """For torch.distributed, kept until it listens there: the port that the scheduler's id leads to, or another."""
    return ports.kept(FIRST_PORT + int(scheduler_id) % PORTS if scheduler_id.isdigit() else 0)


def _set_environment(job: Job, place: Place, attempt_dir: Path) -> None:
    host, port = Attempt.at(attempt_dir).record["master"]
    distributed = {
        "RANK": str(place.rank),
        "LOCAL_RANK": str(place.local_rank),
        "WORLD_SIZE": str(place.world_size),
        "LOCAL_WORLD_SIZE": str(place.local_world_size),
        "MASTER_ADDR": host,
        "MASTER_PORT": str(port),
    }
    os.environ.update(job_environment(job, os.environ))
    if job.kind.value in DISTRIBUTED:
        os.environ.update(distributed)
    if place.rank == 0:
        record_environment(attempt_dir / "environment.json")


def _catch_signals(run: Run) -> None:
    """Every signal that schedulers send before they end a job asks it to stop at a safe point."""

    def stop(number: int, frame: FrameType | None) -> None:
        run.request_stop(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGUSR1):
        signal.signal(number, stop)


# The attempt itself.


def _unmet_need(run: Run) -> str | None:
    """The scheduler's dependency is not believed: a parent counts when its result is there."""
    for index, need in enumerate(run.job.needs):
        parent = run.need(index)
        model = run.config.get("model")
        if parent.is_done() or (
            isinstance(model, Mapping) and model.get("need") == index and parent.has_model(model["checkpoint"])
        ):
            continue
        return need
    return None


def _check_model(run: Run) -> None:
    """A folder that was written again since the job was made is another model, and another job."""
    model = run.config.get("model")
    if run.rank > 0 or not isinstance(model, Mapping) or "path" not in model or not Path(model["path"]).is_dir():
        return
    if digest(Path(model["path"])) != model["digest"]:
        raise Failed(
            f"{model['path']}: the files there are not those of when the job was made; run `manager sweep` again to "
            "make jobs of these",
            cause="model_changed",
        )


def _attempt(run: Run) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Run the kind's entry and say how it ended. The one place that catches everything: it records."""
    try:
        need = _unmet_need(run)
        if need is not None:
            return _end("blocked", "parent", f"job {need} that this one needs has no result"), {}
        _check_model(run)
        result = dict(load_entry(run.job.kind.value)(run))
        return _end("done"), result
    except Stopped as stopped:
        return _end("interrupted", run.stop_reason or "stopped", str(stopped), retryable=True), {}
    except Failed as failed:
        return _end("failed", failed.cause, str(failed), retryable=failed.retryable, **failed.details), {}
    except UserError as error:
        return _end("failed", "configuration", str(error)), {}
    except Exception as error:  # noqa: BLE001  (recorded with its traceback, and the job fails)
        trace = traceback.format_exc()
        _print_error(trace)
        if run.stop_requested:
            # A group that is being ended fails in many ways; the cause is the request.
            return _end("interrupted", run.stop_reason, f"while stopping: {error}", retryable=True), {}
        return _failure(run, error, trace), {}


def _print_error(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        return  # the log lies on the disk that is full; the record of the attempt has room kept for it


def _failure(run: Run, error: Exception, trace: str) -> dict[str, Any]:
    """The end of an attempt by an exception: with the cause where the table of causes knows it."""
    line = f"{type(error).__name__}: {error}".splitlines()[0][:500]
    found = diagnose(trace)
    if room.is_full(run.path):  # what libraries say of it is often something else
        found = diagnose(os.strerror(errno.ENOSPC))
    if found is not None and found.cause == room.CAUSE:
        line = f"{run.path}: its disk is full ({line})"
    if found is None:
        return _end("failed", "exception", line, traceback=trace)
    message = f"{line} ({found.advice})"
    return _end(
        "failed", found.cause, message, retryable=found.retryable, remedy=found.remedy.value, traceback=trace
    )


def _end(outcome: str, cause: str = "", message: str = "", **details: Any) -> dict[str, Any]:
    end: dict[str, Any] = {"outcome": outcome, "finished": time.time()}
    if outcome != "done":
        end |= {"cause": cause, "message": message, "retryable": False}
    return end | details


def _finish(run: Run, end: dict[str, Any], result: Mapping[str, Any]) -> None:
    """Write how the attempt ended: the result first, so that a kill in between leaves a finished job."""
    if run.rank != 0:
        if end["outcome"] == "failed":
            write_json(run.attempt_dir / f"rank-{run.rank}.failed.json", end)
        return
    release_reserve(run.attempt_dir)
    run.close()
    number = int(run.attempt_dir.name)
    if not is_newest(run.directory, number):
        raise JobEnded("a newer attempt has taken over; nothing was written")
    if end["outcome"] == "done":
        terminal = {"outcome": "done", "attempt": number, "finished": end["finished"], **result}
        run.directory.write_result(terminal)
    elif end["outcome"] == "failed":
        end = _blame_other_rank(run.attempt_dir, end)
    write_json(run.attempt_dir / "end.json", end, durable=True)


def _blame_other_rank(attempt_dir: Path, end: dict[str, Any]) -> dict[str, Any]:
    """When another rank failed first, rank 0 only saw the connection close: tell the real cause."""
    for path in sorted(attempt_dir.glob("rank-*.failed.json")):
        other: dict[str, Any] | None = read_json(path)
        if other and other["finished"] <= end["finished"]:
            rank = path.name.removesuffix(".failed.json")
            return other | {"message": f"{rank}: {other['message']}"}
    return end


def main() -> None:
    if len(sys.argv) != 2:
        print("usage: python -m manager.worker RUN_DIR", file=sys.stderr)
        raise SystemExit(2)
    directory = RunDirectory(Path(sys.argv[1]).resolve())
    try:
        execute(directory, "by-hand", by_hand())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    except JobEnded:
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
