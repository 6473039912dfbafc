"""The store and its run directories: the only module that knows their file names.

A run directory is the truth about its job; everything else (states, MLflow, reports) is derived from it.
Layout and meaning of every file: docs/run-directory.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from manager.atomic import read_json, read_jsonl, write_json
from manager.errors import UserError
from manager.job import Job, Kind, Resources, Sweep, SweepJob

LAYOUT_VERSION = 1
# In the run directory of a sweep's first job: copies of the sweep's record, so that run directories tell everything.
COPIES = "sweeps"
SWEEP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Attempt:
    """One execution of a job, as its directory tells it."""

    number: int
    path: Path
    record: Mapping[str, Any]  # attempt.json: who runs it, where, since when, under which submission
    end: Mapping[str, Any] | None  # end.json: how it ended; None while it runs or if it vanished

    @staticmethod
    def at(path: Path) -> Attempt:
        return Attempt(int(path.name), path, read_json(path / "attempt.json") or {}, read_json(path / "end.json"))

    @property
    def outcome(self) -> str | None:
        """done, failed, interrupted, blocked or cancelled; None without a word."""
        return self.end["outcome"] if self.end else None

    def progress(self) -> dict[str, Any] | None:
        """The last heartbeat: updated, step, total, unit, values."""
        return read_json(self.path / "progress.json")

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"


@dataclass(frozen=True)
class RunDirectory:
    """The directory of one job."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    def exists(self) -> bool:
        return (self.path / "job.json").is_file()

    def names(self) -> frozenset[str]:
        """What is in the directory now; nothing where there is none."""
        try:
            return frozenset(os.listdir(self.path))
        except FileNotFoundError:
            return frozenset()

    def job(self) -> Job:
        value = read_json(self.path / "job.json")
        if value is None:
            raise UserError(f"{self.path}: no job.json here; is this a run directory?")
        changed = read_json(self.path / "resources.json")
        return Job.from_json(value | {"resources": changed} if changed else value)

    def set_resources(self, resources: Resources) -> None:
        """What the next attempt asks for: not part of the identity, so a rerun may change it."""
        write_json(self.path / "resources.json", asdict(resources))

    def result(self) -> dict[str, Any] | None:
        """The terminal record, written last; its presence means that the job is complete."""
        return read_json(self.path / "result.json")

    def is_done(self) -> bool:
        return (self.path / "result.json").is_file()

    def write_result(self, value: Mapping[str, Any]) -> None:
        write_json(self.path / "result.json", dict(value), durable=True)

    def attempts(self) -> list[Attempt]:
        """All attempts, oldest first."""
        folder = self.path / "attempts"
        try:
            names = sorted(name for name in os.listdir(folder) if name.isdigit())
        except FileNotFoundError:
            return []
        return [Attempt.at(folder / name) for name in names]

    def last_attempt(self) -> Attempt | None:
        folder = self.path / "attempts"
        try:
            names = [name for name in os.listdir(folder) if name.isdigit()]
        except FileNotFoundError:
            return None
        return Attempt.at(folder / max(names)) if names else None

    def cancelled(self) -> dict[str, Any] | None:
        """The user's wish that this job is not run: set by `cancel`, lifted by `retry`."""
        return read_json(self.path / "cancelled.json")

    def set_cancelled(self, value: Mapping[str, Any] | None) -> None:
        if value is None:
            (self.path / "cancelled.json").unlink(missing_ok=True)
        else:
            write_json(self.path / "cancelled.json", dict(value))

    def forgiven(self) -> int:
        """How many attempts a `manager retry` has set aside: their failures count no more."""
        value = read_json(self.path / "retry.json")
        return int(value["forgiven"]) if value else 0

    def forgive(self) -> None:
        """Let the attempts so far count no more, so that the job may be tried again."""
        write_json(self.path / "retry.json", {"forgiven": len(self.attempts())})

    def forget_work(self) -> None:
        """Set aside checkpoints, models and outcomes, so that the next attempt starts at the beginning."""
        place = self.path / "set-aside" / str(len(self.attempts()))
        place.mkdir(parents=True, exist_ok=True)
        for name in ("checkpoints", "models", "outcomes"):
            if (self.path / name).exists():
                os.rename(self.path / name, place / name)

    # What jobs of each kind leave for others to read.

    def model_dir(self, checkpoint: str | int) -> Path:
        """Exported weights (HF format) of a step, or of `last`. Complete if COMPLETE.json is inside."""
        if checkpoint == "last":
            result = self.result()
            if result is None:
                raise UserError(f"{self.path}: no result yet, so there is no last checkpoint")
            checkpoint = result["last_step"]
        return self.path / "models" / f"step-{int(checkpoint):06d}"

    def has_model(self, checkpoint: str | int) -> bool:
        if checkpoint == "last" and not self.is_done():
            return False
        return (self.model_dir(checkpoint) / "COMPLETE.json").is_file()

    def saved_steps(self) -> frozenset[int]:
        """The steps whose exported weights are complete."""
        found = (path.parent.name for path in self.path.glob("models/step-*/COMPLETE.json"))
        return frozenset(int(name.removeprefix("step-")) for name in found)

    # Jobs in a scheduler's queue that may start as soon as this one has saved the weights they read.

    def add_waiting(self, array_id: str, steps: Mapping[str, int]) -> None:
        """`steps`: by the scheduler's id, the step whose weights that job waits for."""
        folder = self.path / "waiting"
        folder.mkdir(exist_ok=True)
        write_json(folder / f"{array_id}.json", dict(steps))

    def waiting(self) -> dict[str, int]:
        """The step that each of them waits for, by the scheduler's id."""
        records = (read_json(path) or {} for path in sorted(self.path.glob("waiting/*.json")))
        return {name: int(step) for record in records for name, step in record.items()}

    @property
    def outcomes(self) -> Path:
        return self.path / "outcomes"

    def journal(self) -> Iterator[dict[str, Any]]:
        """Every journal record of every attempt, oldest first, each with the attempt it is from."""
        for attempt in self.attempts():
            for record in read_jsonl(attempt.journal):
                yield {**record, "attempt": attempt.number}


@dataclass(frozen=True)
class Store:
    """A folder with `jobs/`, `sweeps/` and `submissions/`, shared by all sweeps."""

    root: Path
    _marker: str = field(default="store.json", repr=False)

    @staticmethod
    def open(root: Path, *, create: bool = False) -> Store:
        """The store at `root`; a newer layout and an unwritable folder are told in one line."""
        store = Store(root.resolve())
        marker = store.root / store._marker
        try:
            value = read_json(marker)
            if value is None:
                if not create:
                    raise UserError(f"{root}: no store here; `manager sweep FILE` makes one (--store says where)")
                if store.root.is_dir() and any(store.root.iterdir()) and not (store.root / "jobs").is_dir():
                    raise UserError(f"{root}: this folder holds other files; name an empty or new one with --store")
                for name in ("jobs", "sweeps", "submissions"):
                    (store.root / name).mkdir(parents=True, exist_ok=True)
                write_json(marker, {"layout": LAYOUT_VERSION})
                return store
            if not create and not (store.root / "submissions").is_dir():
                raise UserError(
                    f"{root}: submissions/ is missing, so nobody knows which jobs are in a queue; "
                    "`manager rebuild` finds them again"
                )
        except OSError as error:
            raise UserError(f"{root}: cannot use this folder as the store: {error.strerror}") from error
        except json.JSONDecodeError as error:
            raise UserError(f"{marker}: not readable ({error}); restore it or choose another --store") from error
        layout = value.get("layout")
        if layout != LAYOUT_VERSION:
            raise UserError(
                f"{root}: store layout {layout}, this manager knows {LAYOUT_VERSION}; "
                "use the version of the manager that wrote it, or another --store"
            )
        return store

    def run(self, job_id: str) -> RunDirectory:
        return RunDirectory(Path(f"{self.root}/jobs/{job_id}"))  # twice as fast as joining; status asks 10,000 times

    def add_job(self, job: Job) -> RunDirectory:
        """Make the job's run directory if it is new. The job in it never changes afterwards, but for its
        resources, which are those of the last sweep that asked for it."""
        run = self.run(job.id)
        if not run.exists():
            run.path.mkdir(parents=True, exist_ok=True)
            write_json(run.path / "job.json", job.to_json())
        elif run.job().resources != job.resources:
            run.set_resources(job.resources)
        return run

    def job_ids(self) -> list[str]:
        return sorted(os.listdir(self.root / "jobs"))

    def find_job(self, prefix: str) -> RunDirectory:
        """The job whose id starts so; ambiguous and unknown ones are told."""
        matches = [name for name in self.job_ids() if name.startswith(prefix)]
        if len(matches) == 1:
            return self.run(matches[0])
        if not matches:
            raise UserError(f"no job {prefix!r} in {self.root}; `manager status` lists them")
        raise UserError(f"{prefix!r} fits {len(matches)} jobs: {', '.join(matches[:5])}; give more of the id")

    # Sweeps

    def sweep_dir(self, name: str) -> Path:
        return self.root / "sweeps" / name

    def sweep_names(self) -> list[str]:
        folder = self.root / "sweeps"
        return sorted(path.name for path in folder.iterdir() if (path / "sweep.json").is_file())

    def write_sweep(self, sweep: Sweep, **extra: Any) -> Path:
        """Record what the sweep consists of now. Its jobs' own directories hold everything else."""
        folder = self.sweep_dir(sweep.name)
        folder.mkdir(parents=True, exist_ok=True)
        entries = [
            {
                "id": entry.job.id,
                "stage": entry.stage,
                "kind": entry.job.kind.value,
                "needs": list(entry.job.needs),
                "labels": dict(entry.labels),
                "resources": asdict(entry.job.resources),
            }
            for entry in sweep.jobs
        ]
        value = {
            "layout": LAYOUT_VERSION,
            "name": sweep.name,
            "study": sweep.study,
            "settings": dict(sweep.settings),
            "jobs": entries,
            "text": sweep.text,
            **extra,
        }
        self._copy_sweep(sweep, value)
        write_json(folder / "sweep.json", value, durable=True)
        return folder

    def _copy_sweep(self, sweep: Sweep, value: Mapping[str, Any]) -> None:
        """Into the first run directory that takes it: one that is read-only is told by its own job."""
        for run in (self.run(entry.job.id) for entry in sweep.jobs):
            if not run.exists():
                continue
            try:
                (run.path / COPIES).mkdir(exist_ok=True)
                write_json(run.path / COPIES / f"{sweep.name}.json", value)
                return
            except OSError:
                continue

    def restore_sweeps(self) -> list[str]:
        """Bring back lost records of sweeps from the copies in run directories; returns their names."""
        newest: dict[str, Path] = {}
        for path in self.root.glob(f"jobs/*/{COPIES}/*.json"):
            known = newest.get(path.stem)
            if known is None or path.stat().st_mtime > known.stat().st_mtime:
                newest[path.stem] = path
        lost = [name for name in sorted(newest) if not (self.sweep_dir(name) / "sweep.json").is_file()]
        for name in lost:
            self.sweep_dir(name).mkdir(parents=True, exist_ok=True)
            write_json(self.sweep_dir(name) / "sweep.json", read_json(newest[name]), durable=True)
            shutil.copystat(newest[name], self.sweep_dir(name) / "sweep.json")  # the newest sweep is the default one
        return lost

    def lost_sweeps(self) -> list[str]:
        """Folders of sweeps without a record."""
        folder = self.root / "sweeps"
        return sorted(path.name for path in folder.iterdir() if path.is_dir() and not (path / "sweep.json").is_file())

    def read_sweep(self, name: str, *, only: str | None = None) -> Sweep:
        """The sweep as recorded; with `only` it holds just that job and what it descends from, so that a
        job of a large sweep need not read all the others."""
        value = self._sweep_record(name)
        entries = value["jobs"] if only is None else self._lineage(value["jobs"], only)
        jobs = tuple(SweepJob(entry["stage"], entry["labels"], self.run(entry["id"]).job()) for entry in entries)
        return Sweep(value["name"], value["study"], jobs, value["settings"], value["text"])

    def read_outline(self, name: str) -> Sweep:
        """The sweep from its record alone, its jobs without their configs: enough for states, titles and
        resources, and one file in place of one for each job."""
        value = self._sweep_record(name)
        if not all("kind" in entry and "needs" in entry for entry in value["jobs"]):
            return self.read_sweep(name)  # recorded before these were
        jobs = tuple(
            SweepJob(
                entry["stage"],
                entry["labels"],
                Job.outline(entry["id"], Kind(entry["kind"]), tuple(entry["needs"]), Resources(**entry["resources"])),
            )
            for entry in value["jobs"]
        )
        return Sweep(value["name"], value["study"], jobs, value["settings"], value["text"])

    def _sweep_record(self, name: str) -> dict[str, Any]:
        value = read_json(self.sweep_dir(name) / "sweep.json")
        if value is None:
            known = ", ".join(self.sweep_names()) or "none yet"
            raise UserError(f"no sweep {name!r} in {self.root}; there are: {known}")
        return dict(value)

    def _lineage(self, entries: list[dict[str, Any]], job_id: str) -> list[dict[str, Any]]:
        """The entries of a job and of all that it needs, directly or not; in the sweep's order."""
        wanted, todo = {job_id}, [job_id]
        while todo:
            new = set(self.run(todo.pop()).job().needs) - wanted
            wanted |= new
            todo += new
        return [entry for entry in entries if entry["id"] in wanted]

    # Submissions: one folder for each call of the scheduler, with its intent written before the call.

    def submission_dir(self, token: str) -> Path:
        return self.root / "submissions" / token
