"""Reads from the run directories what the tracking store shall show. Asks; writes nothing there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manager.atomic import read_json
from manager.job import State, SweepJob
from manager.observe import job_facts
from manager.plan import own_state
from manager.store import Attempt, RunDirectory, Store
from manager.tracking.journal import complete_size
from manager.tracking.projection import JobFacts

SYSTEM_JOURNAL = "system.jsonl"  # beside the job's own journal: what its machine did (system.py)


@dataclass(frozen=True)
class Sources:
    """The files that a run is made of, and up to where they are complete."""

    journals: tuple[Path, ...]  # one an attempt, oldest first
    system: tuple[Path, ...]

    def sizes(self) -> tuple[int, ...]:
        return tuple(complete_size(path) for path in (*self.journals, *self.system))


@dataclass(frozen=True)
class Observed:
    facts: JobFacts
    run: RunDirectory
    sources: Sources


def observe(store: Store, entry: SweepJob, states: Mapping[str, State]) -> Observed | None:
    """One job as it is now; None if it was never attempted."""
    run = store.run(entry.job.id)
    attempts = run.attempts()
    if not attempts:
        return None
    last = attempts[-1]
    state = states.get(entry.job.id)
    if state is None:
        state = own_state(job_facts(run))
    facts = JobFacts(
        entry=entry,
        state=state,
        attempts=tuple(attempt.record for attempt in attempts),
        end=last.end,
        result=run.result(),
        code=_code_version(last),
        last_sign_s=None if last.end else _last_sign(last),
    )
    sources = Sources(
        tuple(attempt.journal for attempt in attempts),
        tuple(attempt.path / SYSTEM_JOURNAL for attempt in attempts),
    )
    return Observed(facts, run, sources)


def _code_version(attempt: Attempt) -> str | None:
    environment = read_json(attempt.path / "environment.json")
    return environment.get("code") if environment else None


def _last_sign(attempt: Attempt) -> float | None:
    progress = attempt.progress()
    return progress.get("updated") if progress else attempt.record.get("started")


@dataclass
class Extras:
    """What a journal says besides metrics. Later words win."""

    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[tuple[str, str], None] = field(default_factory=dict)  # (path, folder), in order
    events: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        for record in records:
            match record.get("type"):
                case "params":
                    self.params |= record.get("values", {})
                case "tags":
                    self.tags |= record.get("values", {})
                case "artifact":
                    self.artifacts[str(record["path"]), str(record.get("folder", ""))] = None
                case "event":
                    self.events.append(record)
