"""Full training states on disk: which one is whole, which one to resume from, which ones to keep.

A state is complete when its COMPLETE.json is there: written last, by rename, after every process has written
and synced its files; it lists every file with size and digest. Resuming takes the newest complete state
whose files are what the manifest says. What is not is set aside, never deleted and never resumed from.
Knows files only: no torch here.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluators.data import sha256_of
from manager.atomic import read_json, sync_directory, write_json

MARKER = "COMPLETE.json"
NAME = re.compile(r"checkpoint-(\d+)")
KEEP = 2
HASHING_THREADS = 8


@dataclass(frozen=True)
class Resume:
    """What a restart found: where to go on from, and what was set aside with the reason."""

    path: Path | None
    step: int
    set_aside: tuple[tuple[str, str], ...] = ()


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            if path != folder / MARKER and not name.endswith(".tmp"):
                yield path


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and digest of every file under `folder`, by relative path."""
    paths = sorted(_files(folder))
    with ThreadPoolExecutor(HASHING_THREADS) as pool:
        digests = list(pool.map(sha256_of, paths))
    return {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": digest}
        for path, digest in zip(paths, digests, strict=True)
    }


def sync_files(folder: Path) -> None:
    """Make what this node wrote under `folder` survive a power cut."""
    for path in _files(folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    for root, _, _ in os.walk(folder):
        sync_directory(Path(root))


def mark_complete(folder: Path, **facts: Any) -> dict[str, Any]:
    """Write the manifest and with it the mark. Call once, after all processes have written and synced."""
    value = {**facts, "files": manifest(folder)}
    value["bytes"] = sum(entry["bytes"] for entry in value["files"].values())
    write_json(folder / MARKER, value, durable=True)
    return value


def is_complete(folder: Path) -> bool:
    return (folder / MARKER).is_file()


def problem(folder: Path) -> str | None:
    """Why this folder is not what was written there, or None if it is."""
    try:
        recorded = read_json(folder / MARKER)
    except ValueError as error:
        return f"unreadable manifest: {error}"
    if recorded is None:
        return "not finished"
    expected = recorded["files"]
    for name, entry in expected.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != entry["bytes"]:
            return f"{name} has {path.stat().st_size} bytes, not {entry['bytes']}"
    with ThreadPoolExecutor(HASHING_THREADS) as pool:
        digests = list(pool.map(lambda name: sha256_of(folder / name), expected))
    for (name, entry), digest in zip(expected.items(), digests, strict=True):
        if digest != entry["sha256"]:
            return f"{name} is damaged: its digest differs"
    return None


def states(folder: Path) -> list[tuple[int, Path]]:
    """Every state under `folder`, complete or not, newest first."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = [(int(match[1]), folder / name) for name in names if (match := NAME.fullmatch(name))]
    return sorted(found, reverse=True)


def set_aside(path: Path) -> Path:
    """Rename a broken state so that nothing takes it for a state; the newest broken one is kept for a look."""
    for old in path.parent.glob("torn-*"):
        shutil.rmtree(old)
    target = path.with_name(f"torn-{path.name}")
    os.rename(path, target)
    sync_directory(path.parent)
    return target


def newest(folder: Path) -> Resume:
    """The newest complete and verified state; newer broken ones are set aside."""
    aside: list[tuple[str, str]] = []
    for step, path in states(folder):
        reason = problem(path)
        if reason is None:
            return Resume(path, step, tuple(aside))
        set_aside(path)
        aside.append((path.name, reason))
    return Resume(None, 0, tuple(aside))


def prune(folder: Path, keep: int = KEEP) -> None:
    """Remove all but the newest complete states. Marks go first, so that a kill midway leaves no false state.

    What such a kill left goes too; of what is newer than a complete state, `newest` decides.
    """
    kept = [step for step, path in states(folder) if is_complete(path)][:keep]
    for step, path in states(folder):
        if len(kept) == keep and step < kept[-1]:
            (path / MARKER).unlink(missing_ok=True)
            shutil.rmtree(path)


def newest_complete(folder: Path) -> Path | None:
    """The newest marked state, without reading its files."""
    return next((path for _, path in states(folder) if is_complete(path)), None)


def saved_processes(folder: Path) -> int | None:
    """How many processes saved the newest marked state; None where there is none."""
    newest = newest_complete(folder)
    recorded = read_json(newest / MARKER) if newest else None
    return recorded.get("world_size") if recorded else None
