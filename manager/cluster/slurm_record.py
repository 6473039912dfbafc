"""What the store knows of calls of sbatch: intents before the call, the id after it.

Reads and writes `submissions/<token>/`. Asks no scheduler.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manager.atomic import read_json, sync_directory, write_json
from manager.cluster.slurm_after import HELD
from manager.cluster.slurm_command import user_name
from manager.cluster.slurm_query import TOKEN
from manager.liveness import identify, is_alive
from manager.store import Store

BACKEND = "slurm"
UNCLEAR = "unclear.json"
INTENT_MARK = "# intent: "


@dataclass(frozen=True)
class Record:
    """One call of sbatch, as far as it got."""

    token: str
    name: str  # the job's name in Slurm
    user: str
    site: str
    stage: str
    tasks: Mapping[int, str]  # index → job id
    created: float  # by the file server's clock
    array_id: str | None  # None: the call was cut off before its answer was written down
    submitter: Mapping[str, Any]  # the process that made the call
    unclear: float | None = None  # when the call ended without a clear answer
    held: bool = False  # its first job failed before its first step, and the batch script held the others

    def scheduler_id(self, index: int) -> str:
        return f"{self.array_id}_{index}" if self.array_id else ""

    def in_flight(self, now: float, settle_s: float) -> bool:
        """Whether the call may still reach the controller: not answered, and not long ago."""
        if self.array_id is not None:
            return False
        if self.unclear is not None:  # the process may live on, but its call is over
            return now - self.unclear < settle_s
        return now - self.created < settle_s or is_alive(self.submitter) is True


def new_token() -> str:
    """The identity of a submission: in the store, in the job's name and in its comment."""
    return "m" + secrets.token_hex(8)[:15]


def intent_of(
    token: str, *, name: str, site: str, stage: str, tasks: Mapping[int, str], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """What a call of sbatch is about to hand over."""
    return {
        "token": token,
        "backend": BACKEND,
        "name": name,
        "user": user_name(),
        "site": site,
        "stage": stage,
        "tasks": {str(index): job_id for index, job_id in tasks.items()},
        **extra,
    }


def write_intent(store: Store, intent: Mapping[str, Any]) -> Path:
    """Say what is about to be submitted, and be sure that it is on disk. Returns the file."""
    folder = store.submission_dir(intent["token"])
    path = folder / "intent.json"
    value = {**intent, "jobs": list(intent["tasks"].values()), "submitter": identify(os.getpid())}
    write_json(path, value, durable=True)
    sync_directory(folder.parent)
    return path


def intent_line(intent: Mapping[str, Any]) -> str:
    """The intent as the last line of a batch script: Slurm keeps it for as long as the job is in its queue."""
    return INTENT_MARK + json.dumps(intent, separators=(",", ":"), ensure_ascii=False)


def intent_in(script: str) -> dict[str, Any] | None:
    """The intent in a batch script; None where it has none."""
    last = script.rstrip().rpartition("\n")[2]
    if not last.startswith(INTENT_MARK):
        return None
    intent: dict[str, Any] = json.loads(last.removeprefix(INTENT_MARK))
    return intent


def write_submitted(store: Store, token: str, array_id: str, *, adopted: bool = False) -> None:
    value = {"scheduler_id": array_id, "adopted": adopted}
    write_json(store.submission_dir(token) / "submitted.json", value, durable=True)


def write_refused(store: Store, token: str, message: str) -> None:
    """The scheduler said no: nothing of this call is or ever will be in the queue."""
    write_json(store.submission_dir(token) / "refused.json", {"message": message}, durable=True)


def write_unclear(store: Store, token: str, message: str) -> None:
    """The call is over, and whether it reached the controller is not known."""
    write_json(store.submission_dir(token) / UNCLEAR, {"message": message}, durable=True)


def read_records(store: Store, ids: Collection[str] | None = None) -> list[Record]:
    """Every call that concerns one of these jobs (all of them without ids), oldest first."""
    wanted = None if ids is None else set(ids)
    records = []
    try:
        names = os.listdir(store.root / "submissions")
    except FileNotFoundError:
        return []
    for token in names:
        if TOKEN.fullmatch(token) is None:
            continue
        record = _read(store, token)
        if record is not None and (wanted is None or not wanted.isdisjoint(record.tasks.values())):
            records.append(record)
    return sorted(records, key=lambda record: (record.created, record.token))


def _read(store: Store, token: str) -> Record | None:
    """None: cut off before the intent was whole (sbatch was never called), refused, or not Slurm's."""
    folder = store.submission_dir(token)
    try:
        with open(folder / "intent.json", encoding="utf-8") as stream:
            created = os.fstat(stream.fileno()).st_mtime
            intent = json.load(stream)
    except FileNotFoundError:
        return None
    if intent.get("backend") != BACKEND or (folder / "refused.json").exists():
        return None
    submitted = read_json(folder / "submitted.json")
    return Record(
        token=token,
        name=intent["name"],
        user=intent["user"],
        site=intent["site"],
        stage=intent["stage"],
        tasks={int(index): job_id for index, job_id in intent["tasks"].items()},
        created=created,
        array_id=submitted["scheduler_id"] if submitted else None,
        submitter=intent["submitter"],
        unclear=_time_of(folder / UNCLEAR) if submitted is None else None,
        held=bool(intent.get("canary")) and (folder / HELD).exists(),
    )


def _time_of(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


def submissions_of(records: Iterable[Record], ids: Collection[str]) -> dict[str, list[tuple[Record, int]]]:
    """For each of the jobs its submissions, oldest first, with its index in each."""
    result: dict[str, list[tuple[Record, int]]] = {}
    for record in records:
        for index, job_id in record.tasks.items():
            if job_id in ids:
                result.setdefault(job_id, []).append((record, index))
    return result
