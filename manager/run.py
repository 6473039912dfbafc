"""A job's own view of its run directory while it runs: config, parents, logging, progress, stop.

What trainers and evaluators are given. It knows nothing of schedulers; the worker makes it (worker.py).
Only rank 0 writes; on the other ranks every call is accepted and does nothing.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manager.atomic import JsonlWriter, write_json
from manager.job import Job
from manager.store import RunDirectory


class Stopped(Exception):
    """Raised by a job that was asked to stop, after it saved what it needs to go on."""


class Failed(Exception):
    """A failure whose cause the job itself knows: one line for the user, and whether a retry can help.

    `details` are kept in the end of the attempt beside them.
    """

    def __init__(self, message: str, *, cause: str, retryable: bool = False, **details: Any) -> None:
        super().__init__(message)
        self.cause = cause
        self.retryable = retryable
        self.details = details


@dataclass
class Run:
    """One attempt at one job, on one rank."""

    directory: RunDirectory
    job: Job
    attempt_dir: Path
    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    _stop: threading.Event = field(default_factory=threading.Event)
    _reason: str = ""
    _progress: dict[str, Any] = field(default_factory=dict)
    _journal: JsonlWriter | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def path(self) -> Path:
        """The run directory. Put results under the names that docs/run-directory.md gives them."""
        return self.directory.path

    @property
    def config(self) -> Mapping[str, Any]:
        return self.job.config

    def need(self, index: int) -> RunDirectory:
        """The run directory of the job that `needs[index]` names."""
        return RunDirectory(self.path.parent / self.job.needs[index])

    def model_path(self) -> tuple[str, str | None]:
        """(path or hub id, revision) of the model that this job starts from or evaluates."""
        model = self.config["model"]
        if "need" in model:
            return str(self.need(model["need"]).model_dir(model["checkpoint"])), None
        if "path" in model:
            return model["path"], None
        return model["hub"], model.get("revision")

    # Stopping: set by a signal, by the watchdog or by a newer attempt. Poll it at a safe point, save, raise Stopped.

    def request_stop(self, reason: str) -> None:
        self._reason = self._reason or reason
        self._stop.set()

    @property
    def stop_requested(self) -> bool:
        return self._stop.is_set()

    @property
    def stop_reason(self) -> str:
        return self._reason

    # Telling: the journal (append-only, projected to MLflow by others) and the heartbeat.

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Metrics at a step. A step that a restart does again supersedes the earlier one."""
        clean = {key: float(value) for key, value in values.items()}
        undefined = sorted(key for key, value in clean.items() if not math.isfinite(value))
        record: dict[str, Any] = {
            "type": "metrics",
            "step": step,
            "values": {k: v for k, v in clean.items() if math.isfinite(v)},
        }
        if undefined:
            record["undefined"] = undefined  # JSON has no NaN; told, not dropped
        self._write(record)

    def log_params(self, values: Mapping[str, Any]) -> None:
        self._write({"type": "params", "values": dict(values)})

    def log_tags(self, values: Mapping[str, str]) -> None:
        self._write({"type": "tags", "values": dict(values)})

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """A file under the run directory that belongs into MLflow's artifacts (under `folder` there)."""
        self._write({"type": "artifact", "path": str(path.relative_to(self.path)), "folder": folder})

    def event(self, name: str, message: str = "", **details: Any) -> None:
        """Something a person wants to know later: resumed from, torn checkpoint set aside, engine restarted."""
        self._write({"type": "event", "name": name, "message": message, **details})

    def _write(self, record: dict[str, Any]) -> None:
        if self.rank != 0:
            return
        with self._lock:
            if self._journal is None:
                self._journal = JsonlWriter(self.attempt_dir / "journal.jsonl")
            self._journal.write({"time": time.time(), **record})

    def progress(self, step: int, total: int | None, unit: str = "step", **values: float | str) -> None:
        """Where the job is. Cheap: at most twice a second it reaches the disk."""
        if self.rank != 0:
            return
        with self._lock:
            now = time.time()
            if "first" not in self._progress:
                self._progress["first"] = {"step": step, "time": now}  # a resumed attempt starts late
            if self._progress.get("step") != step:
                self._progress["step_time"] = now
            self._progress |= {"step": step, "total": total, "unit": unit, "values": values}
            if now - self._progress.get("updated", 0.0) >= 0.5 or step == total:
                self.heartbeat()

    def last_progress(self) -> dict[str, Any]:
        """What was last told by `progress`, on rank 0."""
        with self._lock:
            return dict(self._progress)

    def heartbeat(self) -> None:
        """Say that this attempt is alive (the worker's thread calls this every few seconds)."""
        if self.rank != 0:
            return
        with self._lock:
            self._progress["updated"] = time.time()
            self._progress["pid"] = os.getpid()
            write_json(self.attempt_dir / "progress.json", self._progress)

    def close(self) -> None:
        with self._lock:
            if self._journal is not None:
                self._journal.close(durable=True)
                self._journal = None
