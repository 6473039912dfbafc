"""Which evaluation jobs of a store have samples of the same making: an index, so that a job looks at its like alone.

Beside its records a job says what decides them (`outcomes/made-by.json`); the store holds one empty file for it under
the digest of what they have in common. The index is derived: `enter_all` makes it again from the run directories.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from manager.atomic import read_json, write_json
from manager.job import digest_of
from manager.store import RunDirectory, Store


def made_by(run: RunDirectory) -> dict[str, Any] | None:
    """What decides the samples of a job: `common`, and `benchmarks` by name. None before it has any."""
    return read_json(run.outcomes / "made-by.json")


def enter(run: RunDirectory, value: Mapping[str, Any]) -> None:
    run.outcomes.mkdir(exist_ok=True)
    write_json(run.outcomes / "made-by.json", dict(value))
    _enter(Store(run.path.parent.parent), run, value)


def others(run: RunDirectory, common: Mapping[str, Any]) -> Iterator[tuple[RunDirectory, dict[str, Any]]]:
    """The other jobs whose samples have this in common, each with what it says of them."""
    store = Store(run.path.parent.parent)
    folder = _folder(store, common)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        other = store.run(path.name)
        value = made_by(other) if path.name != run.id else None
        if value is not None and value["common"] == common:  # what it has now may be of another making
            yield other, value


def enter_all(store: Store) -> int:
    """Make the index again where it is gone; the number of jobs that were missing."""
    missing = 0
    for run in map(store.run, store.job_ids()):
        value = made_by(run)
        if value is not None and not (_folder(store, value["common"]) / run.id).exists():
            _enter(store, run, value)
            missing += 1
    return missing


def _enter(store: Store, run: RunDirectory, value: Mapping[str, Any]) -> None:
    folder = _folder(store, value["common"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / run.id).touch()


def _folder(store: Store, common: Mapping[str, Any]) -> Path:
    return store.root / "samples" / digest_of(common)
