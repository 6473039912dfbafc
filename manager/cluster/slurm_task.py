"""What runs in every task of a Slurm job, around the worker: which job it is, and whether Slurm runs it again.

A job that saved itself and stopped asks to be requeued here, because only from inside it is known that it
stopped in order. A cancelled job never is.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from manager.atomic import read_json
from manager.cluster.slurm_command import SchedulerSilent, ask
from manager.errors import UserError
from manager.plan import futile_attempts
from manager.store import Attempt, Store
from manager.worker import JobEnded, Work

# Signals that ask a job to save itself and stop: a time limit, a preemption.
STOP_SIGNALS = frozenset({"SIGUSR2", "SIGUSR1", "SIGTERM"})
# A job that is stopped this often without getting further is not requeued any more.
STOPS_WITHOUT_PROGRESS = 2
# With --kill-on-bad-exit the first rank that leaves ends the others: it waits until rank 0 has written
# down how the attempt ended.
OTHER_RANK_WAIT_S = 30.0
# The controller may be restarting just when a job has to ask; its time limit leaves it minutes.
ASK_AGAIN_S = 5.0
ASK_TIMES = 12


@dataclass(frozen=True)
class ArrayWork:
    """What submitit pickles, once for a whole array: two texts. The task's index says which job it is."""

    store: str
    token: str

    def __call__(self) -> str:
        job_id = self.job_id(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))
        directory = Store(Path(self.store)).run(job_id)
        try:
            return Work(str(directory.path), self.token)()
        except JobEnded as ended:
            print(ended, flush=True)
            if os.environ.get("SLURM_PROCID", "0") != "0":
                if _end_of_attempt(directory.attempts()) == "interrupted":
                    sys.exit(0)  # an error here would end rank 0 before it has asked to be requeued
                raise
            if _requeue(directory.attempts(), cancelled=directory.cancelled() is not None):
                sys.exit(0)  # Slurm already counts this job as waiting again
            raise

    def job_id(self, index: str) -> str:
        path = Store(Path(self.store)).submission_dir(self.token) / "intent.json"
        intent = read_json(path)
        if intent is None:
            raise UserError(f"{path}: missing, so nobody knows which job this is; was the store moved?")
        job_id: str = intent["tasks"][index]
        return job_id


def _end_of_attempt(attempts: Sequence[Attempt]) -> str | None:
    """On a rank other than 0: how rank 0 says that this attempt ended; waits for it a while."""
    if not attempts:
        return None
    path = attempts[-1].path / "end.json"
    deadline = time.monotonic() + OTHER_RANK_WAIT_S
    while time.monotonic() < deadline:
        end = read_json(path)
        if end is not None:
            outcome: str = end["outcome"]
            return outcome
        time.sleep(0.2)
    return None


def stopped_in_vain(attempts: Sequence[Attempt]) -> bool:
    """Whether the last attempts were all stopped by signals and got no further than those before."""
    steps: list[int | None] = []
    for attempt in attempts:
        progress = attempt.progress() or {}
        steps.append(int(progress.get("step", -1)))
    return futile_attempts(steps) >= STOPS_WITHOUT_PROGRESS


def wants_requeue(attempt: Attempt, *, cancelled: bool) -> bool:
    """Whether this end of an attempt is one that Slurm should run again."""
    end = attempt.end or {}
    return end.get("outcome") == "interrupted" and end.get("cause") in STOP_SIGNALS and not cancelled


def is_running(show_job: str) -> bool:
    """Whether `scontrol show job` tells a job that nobody has ended yet.

    In the grace of a preemption and before a time limit it is RUNNING. After scancel, and after a requeue
    by Slurm itself, it is COMPLETING: to requeue then would undo the cancellation.
    """
    match = re.search(r"\bJobState=(\S+)", show_job)
    return match is not None and match.group(1) == "RUNNING"


def _requeue(attempts: Sequence[Attempt], *, cancelled: bool) -> bool:
    """Put this job back into the queue if it should go on; says in the log what was decided."""
    if not attempts or not wants_requeue(attempts[-1], cancelled=cancelled):
        return False
    if stopped_in_vain(attempts):
        print("not requeued: stopped again without getting further", flush=True)
        return False
    raw_id = os.environ["SLURM_JOB_ID"]
    for _ in range(ASK_TIMES):
        try:
            if not is_running(ask(["scontrol", "show", "job", "--oneliner", raw_id], timeout_s=30)):
                print("not requeued: Slurm has ended or requeued this job already", flush=True)
                return False
            ask(["scontrol", "requeue", raw_id], timeout_s=30)
        except SchedulerSilent as silent:
            print(f"requeue: {silent}", file=sys.stderr, flush=True)
            time.sleep(ASK_AGAIN_S)
            continue
        print("requeued: it goes on from what is saved", flush=True)
        return True
    print("not requeued: Slurm did not answer; `manager sweep` resumes this job", flush=True)
    return False
