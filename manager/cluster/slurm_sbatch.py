"""One call of sbatch, and what is to be believed of its answer; one manager at a time for a store.

A lost answer does not lose the job: its token finds it, now or in the next `manager sweep`.
"""

from __future__ import annotations

import errno
import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from manager.cluster.slurm_command import SchedulerSilent, call
from manager.cluster.slurm_query import ask_squeue
from manager.cluster.slurm_record import write_refused, write_unclear
from manager.cluster.slurm_script import SCRIPT
from manager.cluster.slurm_site import Site
from manager.errors import UserError
from manager.store import Store

# How long a job may take to appear in squeue after a call of sbatch that was cut off.
APPEAR_S = 6.0
# A manager that submits thousands of jobs to a slow controller holds the lock for minutes.
LOCK_WAIT_S = 600.0


def hand_over(store: Store, site: Site, token: str, stage: str, jobs: int, without: Sequence[str]) -> str:
    """The id of the accepted script of this submission. `without`: variables that sbatch must not see."""
    path = store.submission_dir(token) / SCRIPT
    try:
        answer = call(["sbatch", "--parsable", str(path)], timeout_s=site.timeout_s, without=without)
    except SchedulerSilent as silent:
        write_refused(store, token, str(silent))
        raise UserError(f"stage {stage}: {silent}; `manager doctor` tells what is missing") from silent
    if answer.code == 0:
        return answer.output.strip().splitlines()[-1].split(";")[0]
    lines = [line.removeprefix("sbatch: error: ").strip() for line in answer.error.splitlines()]
    said = "; ".join(line for line in lines if line) or "no message"
    refused = is_refusal(answer.code, said)
    found, asked = _find(token, site.timeout_s, 0.0 if refused else APPEAR_S)
    if found is not None:
        return found
    if refused and asked:
        write_refused(store, token, said)
        raise UserError(
            f"stage {stage}: Slurm refuses {jobs} jobs: {said}; the script is {path}, "
            "and the site file and `resources` decide what is in it"
        )
    write_unclear(store, token, said)
    raise UserError(
        f"stage {stage}: sbatch gave no clear answer ({said}); nothing is lost, run the same "
        f"`manager sweep` again after {site.settle_s:.0f} s: what was accepted is found and adopted"
    )


def is_refusal(code: int | None, said: str) -> bool:
    """Whether sbatch surely was told no. A lost connection or a time limit says nothing about the job."""
    if code is None:
        return False
    text = said.lower()
    lost = ("socket timed out", "unable to contact", "zero bytes", "connect failure", "connection", "protocol",
            "communication", "munge", "timed out", "temporarily")  # fmt: skip
    return not any(word in text for word in lost)


def _find(token: str, timeout_s: float, wait_s: float) -> tuple[str | None, bool]:
    """The id under which the controller has this token, and whether it could be asked."""
    deadline = time.monotonic() + wait_s
    while True:
        asked = True
        try:
            rows = ask_squeue({token}, (), timeout_s=timeout_s)
        except SchedulerSilent:
            rows, asked = {}, False
        for row in rows.values():
            return row.array_id or row.job_id, True
        if time.monotonic() >= deadline:
            return None, asked
        time.sleep(1.0)


@contextmanager
def one_at_a_time(store: Store) -> Iterator[None]:
    """Two managers on one store submit one after the other, and the second sees what the first did.

    The lock is a convenience: on a file system without locks the claim of each job still holds.
    """
    path = store.root / "submissions" / ".lock"
    try:
        path.parent.mkdir(exist_ok=True)
        stream = open(path, "a", encoding="utf-8")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise UserError(f"{path.parent}: cannot submit from here: {error.strerror}") from error
    with stream:
        _wait_for_lock(stream, path)
        yield


def _wait_for_lock(stream: IO[str], path: Path) -> None:
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                held = f"another manager has been submitting for {LOCK_WAIT_S:.0f} s"
                raise UserError(f"{held} ({path}); run the same command again later") from None
            time.sleep(0.2)
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                return  # a file system without locks
            raise
        else:
            return
