"""The last words of a Slurm job, when all of its tasks have ended: why, and whether Slurm runs it again.

Runs in the batch script, so it also speaks for tasks that were killed and could say nothing. It calls no
Slurm command: the script gives it what `scontrol show job` says, and asks for the requeue.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manager.atomic import read_json, write_json, write_text
from manager.cluster.slurm_task import ArrayWork
from manager.diagnose import Diagnosis, Remedy, diagnose
from manager.plan import ATTEMPTS_WITHOUT_PROGRESS, futile_attempts
from manager.remedy import apply, bad_nodes, explain, log_tail
from manager.store import Attempt, RunDirectory, Store

# What the script is told by the exit status. A bug's status, 1, leaves the job alone.
REQUEUE, LEAVE, REQUEUE_ELSEWHERE, HOLD_ARRAY = 0, 3, 4, 5
# In the submission's folder: its jobs are held because the first one failed before its first step.
HELD = "held.json"
# And, by the job that found it out: arrays that wait, each with the nodes that it shall not use any more.
AVOID = "avoid-"
# Signals that ask a job to save itself and stop: a time limit, a preemption.
STOP_SIGNALS = frozenset({"SIGUSR2", "SIGUSR1", "SIGTERM"})
# A job that dies before it could claim its run directory leaves no attempt to count.
RESTARTS_WITHOUT_ATTEMPT = 2


def is_running(show_job: str) -> bool:
    """Whether `scontrol show job` tells a job that nobody has ended yet.

    In the grace of a preemption and before a time limit it is RUNNING. After scancel, and after a requeue
    by Slurm itself, it is COMPLETING: to requeue then would undo the cancellation.
    """
    match = re.search(r"\bJobState=(\S+)", show_job)
    return match is not None and match.group(1) == "RUNNING"


def without_progress(attempts: Sequence[Attempt]) -> bool:
    """Whether the last attempts got no further than those before, however they ended."""
    steps = []
    for attempt in attempts:
        progress = attempt.progress() or {}
        steps.append(int(progress.get("step", -1)))
    return futile_attempts(steps) >= ATTEMPTS_WITHOUT_PROGRESS


def decide(
    end: dict[str, Any],
    attempts: Sequence[Attempt],
    *,
    cancelled: bool = False,
    changed: bool = False,
    preempted: bool = False,
) -> tuple[int, str]:
    """Requeue or leave, and why, for an attempt that ended so; `changed`: the next one will be different."""
    outcome, cause = end.get("outcome"), end.get("cause", "")
    if cancelled:
        return LEAVE, "cancelled"
    stopped = outcome == "interrupted" and cause in STOP_SIGNALS
    retryable = outcome in ("failed", "interrupted") and bool(end.get("retryable"))
    if not stopped and not (outcome == "failed" and retryable):
        return LEAVE, f"{outcome} ({cause})" if cause else str(outcome)
    if stopped and preempted:
        return REQUEUE, "preempted: it goes on from what is saved"  # however often; it is not the job's doing
    if end.get("remedy") == Remedy.SMALLER and not changed:
        return LEAVE, f"{cause}, and the micro-batch is as small as it gets"
    if end.get("remedy") == Remedy.SMALLER:
        return REQUEUE, f"{cause}: with a smaller micro-batch"
    if without_progress(attempts):
        return LEAVE, f"{cause}, and again without getting further"
    if end.get("remedy") == Remedy.OTHER_NODE:
        return REQUEUE_ELSEWHERE, f"{cause}: it goes on elsewhere from what is saved"
    return REQUEUE, f"{cause}: it goes on from what is saved"


def _record_end(directory: RunDirectory, attempt: Attempt, code: int) -> dict[str, Any]:
    """Write the end of an attempt whose processes were killed before they could."""
    found = _told_by_a_rank(attempt) or _diagnosed(explain(attempt, f"FAILED {code % 128}:0"), code)
    end = {"outcome": "failed", "finished": time.time(), "recorded_by": "batch script", **found}
    write_json(attempt.path / "end.json", end, durable=True)
    return end


def _told_by_a_rank(attempt: Attempt) -> dict[str, Any] | None:
    for path in sorted(attempt.path.glob("rank-*.failed.json")):
        other = read_json(path)
        if other:
            return {**other, "message": f"{path.name.removesuffix('.failed.json')}: {other.get('message', '')}"}
    return None


def _diagnosed(found: Diagnosis | None, code: int) -> dict[str, Any]:
    if found is None:
        # Nothing is known against another try; attempts without progress end it.
        message = f"every task ended, the last with exit code {code}, and no log tells why"
        return {"cause": "vanished", "message": message, "retryable": True}
    return {
        "cause": found.cause,
        "message": f"{found.message} ({found.advice})",
        "retryable": found.retryable,
        "remedy": found.remedy.value,
    }


def _before_any_attempt(store: Store, token: str, restarts: int) -> tuple[int, str]:
    """The tasks died before rank 0 had claimed the job: the environment, or the node."""
    name = _own_name()
    folder = store.submission_dir(token)
    logs = [str(folder / f"{name}_0_log.{kind}") for kind in ("err", "out")]
    found = diagnose(log_tail(Attempt(0, folder, {"logs": logs}, None)))
    if found is not None and found.retryable and restarts < RESTARTS_WITHOUT_ATTEMPT:
        elsewhere = found.remedy is Remedy.OTHER_NODE
        return REQUEUE_ELSEWHERE if elsewhere else REQUEUE, f"{found.cause} before the job had begun"
    return LEAVE, f"{found.cause if found else 'unknown'} before the job had begun"


def last_words(store: Store, token: str, code: int, show_job: str) -> tuple[int, str]:
    """Record the end where that is still to be done; returns what the script shall do, and why."""
    index = os.environ.get("SLURM_ARRAY_TASK_ID", "0")
    directory = store.run(ArrayWork(str(store.root), token).job_id(index))
    restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    attempts = directory.attempts()
    mine = [a for a in attempts if _is_mine(a, token, restarts)]
    if not is_running(show_job):
        return LEAVE, "Slurm has ended or requeued this job already"
    if directory.is_done():
        return LEAVE, "the job has its result"
    if not mine:
        if attempts and attempts[-1].end is None:
            return LEAVE, "another attempt runs"
        return _before_any_attempt(store, token, restarts)
    if attempts[-1].number != mine[-1].number:
        return LEAVE, "a newer attempt has taken over"
    end = mine[-1].end
    recorded = dict(end) if end is not None else _record_end(directory, mine[-1], code)
    done = apply(directory, mine[-1], str(recorded.get("cause", "")), str(recorded.get("remedy", "")))
    if done:
        print(f"after the job: {done}", flush=True)
    counted = directory.attempts()[directory.forgiven() :]
    return decide(
        recorded,
        counted,
        cancelled=directory.cancelled() is not None,
        changed=bool(done),
        preempted="PreemptTime=" in show_job,
    )


def _is_mine(attempt: Attempt, token: str, restarts: int) -> bool:
    scheduler = attempt.record.get("scheduler") or {}
    return (
        attempt.record.get("token") == token
        and int(scheduler.get("restart_count", 0)) == restarts
        and scheduler.get("raw_job_id") == os.environ.get("SLURM_JOB_ID")
    )


def _own_name() -> str:
    """As the batch script names this job."""
    job, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{job}_{index}" if job and index is not None else os.environ.get("SLURM_JOB_ID", "")


def avoid_bad_nodes(store: Store, token: str, nodes: Sequence[str]) -> None:
    """Leave word for the batch script: no array of this sweep that waits in the queue shall use these nodes."""
    sweep = (read_json(store.submission_dir(token) / "intent.json") or {}).get("sweep")
    lines = []
    for path in sorted((store.root / "submissions").glob("*/submitted.json")):
        intent = read_json(path.parent / "intent.json") or {}
        if intent.get("sweep") != sweep or all(store.run(job_id).is_done() for job_id in intent["jobs"]):
            continue
        script = (path.parent / "submission.sh").read_text(encoding="utf-8")
        before = re.findall(r"^#SBATCH --exclude=(\S+)", script, re.MULTILINE)
        lines.append(f"{(read_json(path) or {})['scheduler_id']} {','.join([*before, *nodes])}")
    write_text(store.submission_dir(token) / f"{AVOID}{_own_name()}", "".join(f"{line}\n" for line in lines))


def _is_a_failure(store: Store, token: str) -> bool:
    """Whether this job failed by itself: one that was cancelled or waits for a parent says nothing of others."""
    directory = store.run(ArrayWork(str(store.root), token).job_id(os.environ.get("SLURM_ARRAY_TASK_ID", "0")))
    last = directory.last_attempt()
    return last is None or last.outcome == "failed"


def main() -> None:
    """`python -m manager.cluster.slurm_after STORE TOKEN EXIT_CODE`, with `scontrol show job` as input."""
    store, token, code = Store(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
    verdict, why = last_words(store, token, code, sys.stdin.read())
    work = ArrayWork(str(store.root), token)
    if verdict == REQUEUE_ELSEWHERE and os.environ.get("SLURMD_NODENAME") in (bad := bad_nodes(store.root)):
        avoid_bad_nodes(store, token, bad)
    if verdict == LEAVE and work.intent().get("canary") and _is_a_failure(store, token) and not work.reached.exists():
        write_json(work.folder / HELD, {"why": why})
        verdict, why = HOLD_ARRAY, f"{why}; it was the first of its array, whose other jobs are held"
    again = verdict in (REQUEUE, REQUEUE_ELSEWHERE)
    print(f"after the job: {'requeued' if again else 'not requeued'}: {why}", flush=True)
    sys.exit(verdict)


if __name__ == "__main__":
    main()
