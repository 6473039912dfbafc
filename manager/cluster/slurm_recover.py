"""Finds submissions again whose folders are gone: in the queue, whose batch scripts say which jobs they are, and
in the attempts of the run directories.

Writes `submissions/<token>/` as a call of sbatch left it. What is there already is left as it is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manager.atomic import read_json, write_json, write_text
from manager.cluster.backend import Phase
from manager.cluster.slurm_after import HELD
from manager.cluster.slurm_command import ask, user_name
from manager.cluster.slurm_query import TOKEN, phase_of
from manager.cluster.slurm_record import intent_in, intent_of, write_intent, write_submitted
from manager.cluster.slurm_script import SCRIPT, WORK_PICKLE, write_work
from manager.store import Attempt, Store

# What a job in the queue needs of its submission, and so does its batch script.
_NEEDED = ("intent.json", SCRIPT, WORK_PICKLE)
# The script's path, which lies in the store, tells this store's jobs from those of others.
_FORMAT = "%F|%T|%r|%V|%o"


@dataclass(frozen=True)
class Listed:
    """A submission of this store as the queue tells it."""

    token: str
    array_id: str  # or the job's own, where it is no array
    submitted: float
    live: bool  # one of its jobs waits or runs
    held: bool  # and is held


@dataclass(frozen=True)
class Found:
    """What was written anew, and what the queue holds of which nobody can tell which jobs it is."""

    submissions: int = 0
    unreadable: tuple[Listed, ...] = ()


def parse_listed(text: str, folder: Path) -> dict[str, Listed]:
    """The submissions whose batch scripts lie in this folder, by token."""
    found: dict[str, Listed] = {}
    for line in text.splitlines():
        fields = line.split("|", 4)
        if len(fields) < 5 or not fields[4].startswith(f"{folder}/"):
            continue
        array_id, state, reason, submitted, command = fields
        token = command.removeprefix(f"{folder}/").partition("/")[0]
        if TOKEN.fullmatch(token) is None:
            continue
        live = phase_of(state) in (Phase.QUEUED, Phase.RUNNING)
        known = found.get(token)
        found[token] = Listed(
            token,
            array_id,
            float(submitted) if submitted.isdigit() else time.time(),
            live or (known is not None and known.live),
            (live and reason.startswith("JobHeld")) or (known is not None and known.held),
        )
    return found


def listed(store: Store, timeout_s: float) -> dict[str, Listed]:
    """What the controller knows of this store's submissions. Raises SchedulerSilent."""
    argv = ["squeue", "--noheader", "--all", "--states=all", f"--user={user_name()}", f"--format={_FORMAT}"]
    return parse_listed(ask(argv, timeout_s=timeout_s), store.root / "submissions")


def recover_queued(store: Store, timeout_s: float) -> Found:
    """Write the folders of submissions in the queue that have none, or not all of it. Raises SchedulerSilent."""
    number, unreadable = 0, []
    for each in listed(store, timeout_s).values():
        if all((store.submission_dir(each.token) / name).is_file() for name in _NEEDED):
            continue
        script = ask(["scontrol", "write", "batch_script", each.array_id, "-"], timeout_s=timeout_s)
        intent = intent_in(script)
        if intent is None or intent["token"] != each.token:
            unreadable.append(each)
            continue
        folder = store.submission_dir(each.token)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / SCRIPT, script)
        if each.held and intent.get("canary") and _failed(store, intent):
            write_json(folder / HELD, {"why": "the first job of this array failed"})
        _write(store, intent, each.array_id, each.submitted)
        number += 1
    return Found(number, tuple(unreadable))


def _is_there(store: Store, token: str) -> bool:
    return (store.submission_dir(token) / "intent.json").is_file()


def _failed(store: Store, intent: Mapping[str, Any]) -> bool:
    """Whether a job of the submission failed in its last attempt under it."""
    last = (store.run(job_id).last_attempt() for job_id in intent["tasks"].values())
    return any(
        each is not None and each.outcome == "failed" and each.record.get("token") == intent["token"] for each in last
    )


def _write(store: Store, intent: Mapping[str, Any], array_id: str, submitted: float) -> None:
    """The intent comes after what its jobs need: where it is, the folder is whole."""
    token = intent["token"]
    write_work(store.submission_dir(token), store.root, token)
    path = write_intent(store, intent)
    os.utime(path, (submitted, submitted))  # accounting is asked about the time from then on
    write_submitted(store, token, array_id, adopted=True)


# From run directories: for the hours used and the words of accounting about jobs that have ended.


@dataclass
class _Ended:
    array_id: str
    name: str
    user: str
    started: float
    tasks: dict[int, str] = field(default_factory=dict)


def recover_ended(store: Store) -> int:
    """Write the folders of submissions that only the attempts of their jobs still tell of; returns their number."""
    found: dict[str, _Ended] = {}
    for job_id, attempt in _attempts_on_slurm(store):
        token, scheduler = attempt.record["token"], attempt.record["scheduler"]
        array_id, _, index = str(scheduler["job_id"]).partition("_")
        started = float(attempt.record.get("started", 0.0))
        name, user = scheduler.get("job_name") or token, scheduler.get("user") or user_name()
        each = found.setdefault(token, _Ended(array_id, name, user, started))
        each.tasks[int(index or 0)] = job_id
        each.started = min(each.started, started)
    for token, each in found.items():
        store.submission_dir(token).mkdir(parents=True, exist_ok=True)
        intent = intent_of(token, name=each.name, site="", stage="", tasks=each.tasks, extra={"user": each.user})
        _write(store, intent, each.array_id, each.started)
    return len(found)


def _attempts_on_slurm(store: Store) -> Iterator[tuple[str, Attempt]]:
    """Attempts whose submission has no folder."""
    for job_id in store.job_ids():
        for attempt in store.run(job_id).attempts():
            token = str(attempt.record.get("token", ""))
            of_slurm = (attempt.record.get("scheduler") or {}).get("name") == "slurm"
            if of_slurm and TOKEN.fullmatch(token) and not _is_there(store, token):
                yield job_id, attempt


def lost_code(store: Store, timeout_s: float) -> dict[str, str | None]:
    """Snapshots that jobs in the queue need and that are gone: digest → commit. Raises SchedulerSilent."""
    lost: dict[str, str | None] = {}
    for each in listed(store, timeout_s).values():
        intent = read_json(store.submission_dir(each.token) / "intent.json") if each.live else None
        digest = (intent or {}).get("code")
        if digest and not (store.root / "code" / digest / "code.json").is_file():
            lost[digest] = (intent or {}).get("commit")
    return lost
