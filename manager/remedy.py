"""Carries out what diagnose.py advises: changes of a job's resources at run time, nodes to be avoided.

A change is recorded in the run directory and leaves the job's identity as it is. Decides no cause.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from manager.atomic import read_json, read_jsonl, write_json
from manager.diagnose import TAIL_BYTES, Diagnosis, Remedy, diagnose
from manager.job import Job
from manager.store import Attempt, RunDirectory, Store

# A node is left out after this many failures that were its own fault.
FAILURES_OF_A_NODE = 2
# Printed by each task when it starts: logs are appended to by every attempt of a requeued job.
START_MARK = "=== execution "
CHANGES = "changes.json"


def start_mark(execution: str) -> str:
    return f"{START_MARK}{execution} ==="


def log_tail(attempt: Attempt, *, of_all_ranks: bool = True) -> str:
    """The ends of an attempt's logs: errors of all ranks first, each from where this attempt began."""
    paths = [Path(each) for each in attempt.record.get("logs", [])]
    execution = str(attempt.record.get("execution", ""))
    if of_all_ranks:
        paths = sorted({other for path in paths for other in _ranks(path)}, key=lambda p: (p.suffix != ".err", p))
    return "\n".join(_tail(path, execution) for path in paths)


def _ranks(path: Path) -> Iterable[Path]:
    """`36_1_0_log.err` and the same of the other ranks."""
    task = path.name.rsplit("_", 2)[0]
    return [path, *path.parent.glob(f"{task}_*_log.*")]


def _tail(path: Path, execution: str) -> str:
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - TAIL_BYTES))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return text.rpartition(start_mark(execution))[2] if execution else text


def explain(attempt: Attempt, scheduler: str = "") -> Diagnosis | None:
    """Why an attempt ended that could not say it itself."""
    return diagnose(log_tail(attempt), scheduler)


# Changes of resources.


def changed(job: Job, directory: RunDirectory) -> Job:
    """The job with what its earlier attempts have taught about its resources."""
    changes = read_json(directory.path / CHANGES)
    if not changes or "micro_batch" not in changes:
        return job
    own = job.resources.micro_batch
    micro_batch = changes["micro_batch"] if own is None else min(own, changes["micro_batch"])
    return replace(job, resources=replace(job.resources, micro_batch=micro_batch))


def apply(directory: RunDirectory, attempt: Attempt, cause: str, remedy: str) -> str:
    """Make the next attempt different where that helps; says what was done, or nothing."""
    if remedy == Remedy.SMALLER:
        return _halve(directory, attempt, cause)
    if remedy == Remedy.OTHER_NODE:
        return _blame_node(directory, attempt, cause)
    return ""


def _halve(directory: RunDirectory, attempt: Attempt, cause: str) -> str:
    used = _micro_batch_used(attempt) or directory.job().resources.micro_batch
    known = (read_json(directory.path / CHANGES) or {}).get("micro_batch")
    candidates = [value for value in (used, known) if value]
    if not candidates or min(candidates) <= 1:
        return ""
    half = max(1, min(candidates) // 2)
    value = {"micro_batch": half, "before": min(candidates), "cause": cause, "attempt": attempt.number}
    write_json(directory.path / CHANGES, value, durable=True)
    return f"the next attempt uses a micro-batch of {half} in place of {min(candidates)}"


def _micro_batch_used(attempt: Attempt) -> int | None:
    """What the trainer said that it put through the model at a time."""
    used = None
    for record in read_jsonl(attempt.journal):
        if record.get("type") == "params" and "train/per_device" in record["values"]:
            used = int(record["values"]["train/per_device"])
    return used


# Nodes.


def _nodes_folder(store_root: Path) -> Path:
    return store_root / "nodes"


def _blame_node(directory: RunDirectory, attempt: Attempt, cause: str) -> str:
    node = (attempt.record.get("scheduler") or {}).get("node")
    if not node:
        return ""
    folder = _nodes_folder(directory.path.parents[1]) / str(node)
    folder.mkdir(parents=True, exist_ok=True)
    mark = {"job": directory.id, "attempt": attempt.number, "cause": cause}
    write_json(folder / f"{directory.id}-{attempt.number:04d}.json", mark)
    return f"node {node} is to blame ({len(failures_of_nodes(directory.path.parents[1])[node])} failures so far)"


def blame_again(store: Store) -> int:
    """Blame nodes for all failures that attempts tell of, where the record of it is gone as a whole: what a person
    has forgiven stays forgiven. Returns the number of failures."""
    if _nodes_folder(store.root).is_dir():
        return 0
    blamed = 0
    for run in map(store.run, store.job_ids()):
        for attempt in run.attempts():
            end = attempt.end or {}
            if end.get("remedy") == Remedy.OTHER_NODE and _blame_node(run, attempt, str(end.get("cause", ""))):
                blamed += 1
    return blamed


def failures_of_nodes(store_root: Path) -> Mapping[str, list[Any]]:
    """The failures that nodes are blamed for. Removing `nodes/<name>` in the store forgives a node."""
    folder = _nodes_folder(store_root)
    if not folder.is_dir():
        return {}
    return {node.name: [read_json(path) for path in sorted(node.glob("*.json"))] for node in sorted(folder.iterdir())}


def bad_nodes(store_root: Path) -> list[str]:
    """Nodes to be left out of new submissions."""
    return [node for node, failures in failures_of_nodes(store_root).items() if len(failures) >= FAILURES_OF_A_NODE]
