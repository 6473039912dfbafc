"""Where rows come from: a folder of JSONL files, or the hub's cache on this disk. Never the network.

Owns the layout of a data folder (`<data_dir>/<source.folder>/<split>.jsonl`) and reading by `datasets`.
Knows nothing of prompts or scores. What brings data onto the disk is `evaluators.fetch`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evaluators.benchmark import DataSource
from evaluators.benchmarks import names as benchmark_names
from manager.errors import UserError

DATA_DIR_VARIABLE = "MANAGER_DATA_DIR"
CHECKSUMS = "SHA256SUMS"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def default_data_dir() -> Path | None:
    """The folder named by MANAGER_DATA_DIR, or None: then the hub's cache is read."""
    place = os.environ.get(DATA_DIR_VARIABLE)
    return Path(place).expanduser() if place else None


def load_rows(source: DataSource, split: str, data_dir: Path | None = None) -> Iterator[dict[str, Any]]:
    """The rows of our `split` with the hub's field names, in the stored order.

    A data folder (argument, else MANAGER_DATA_DIR) is the only place looked at when there is one; without
    one the hub's cache is read, offline. UserError where the data is not on this disk.
    """
    folder = data_dir or default_data_dir()
    if folder is None:
        return _cached_rows(source, split)
    path = split_file(source, split, folder)
    if path is None:
        raise _missing(source, split, f"{folder}/{source.folder}/{split}.jsonl does not exist", folder)
    return _file_rows(path)


def require(source: DataSource, split: str, data_dir: Path | None = None) -> None:
    """UserError where `load_rows` would not find the data; reads no row and imports nothing heavy."""
    folder = data_dir or default_data_dir()
    if folder is not None:
        if split_file(source, split, folder) is None:
            raise _missing(source, split, f"{folder}/{source.folder}/{split}.jsonl does not exist", folder)
    elif source.hub is not None and not any(place.is_dir() for place in _cache_places(source.hub)):
        raise _missing(source, split, f"{source.hub} is not in the hub cache and no data folder is set", None)


def split_file(source: DataSource, split: str, data_dir: Path) -> Path | None:
    """The file that holds our `split`: under our split's name or the hub's; None where there is none."""
    if source.folder is None:
        return None
    for name in (split, source.splits.get(split, split)):
        path = data_dir / source.folder / f"{name}.jsonl"
        if path.is_file():
            return path
    return None


def fingerprint(source: DataSource, split: str, data_dir: Path | None = None) -> str:
    """What identifies the rows: the SHA-256 of the file, or the hub revision where the cache is read.

    Part of an evaluation job's identity, so that other data is another job.
    """
    folder = data_dir or default_data_dir()
    if folder is None:
        return f"{source.hub}@{source.revision or 'unpinned'}"
    path = split_file(source, split, folder)
    if path is None:
        raise _missing(source, split, f"{folder}/{source.folder}/{split}.jsonl does not exist", folder)
    return f"sha256:{sha256_of(path)}"


def sha256_of(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _file_rows(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as e:
                raise UserError(
                    f"{path}:{number}: not a JSON object ({e}); the file may be cut off: "
                    f"run `manager data check {path.parent.parent}`"
                ) from e
            if not isinstance(row, dict):
                raise UserError(f"{path}:{number}: a row must be a JSON object, not {type(row).__name__}")
            yield row


def _cached_rows(source: DataSource, split: str) -> Iterator[dict[str, Any]]:
    if source.hub is None:
        raise _missing(source, split, f"no {DATA_DIR_VARIABLE} is set", None)
    import datasets

    try:
        rows = datasets.load_dataset(
            source.hub,
            source.config,
            split=source.splits.get(split, split),
            revision=source.revision,
            download_config=datasets.DownloadConfig(local_files_only=True),
        )
    except (OSError, ValueError, RuntimeError) as e:
        # Not cached, or a loading script that `datasets` no longer runs.
        raise _missing(source, split, f"{type(e).__name__}: {str(e).splitlines()[0]}", None) from e
    if source.revision is not None and _COMMIT.fullmatch(source.revision):
        # Without a network `datasets` reads the commit that was cached last, whatever revision it is asked for.
        cached = {Path(file["filename"]).parent.name for file in rows.cache_files}
        if cached and cached != {source.revision}:
            what = f"the hub cache gives {source.hub} at {', '.join(sorted(cached))}, not at {source.revision}"
            raise _missing(source, split, what, None)
    return (dict(row) for row in rows)


def _cache_places(hub: str) -> list[Path]:
    """Where `huggingface_hub` and `datasets` keep a data set, without importing either."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    downloads = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    prepared = Path(os.environ.get("HF_DATASETS_CACHE") or home / "datasets")
    return [downloads / f"datasets--{hub.replace('/', '--')}", prepared / hub.replace("/", "___")]


def _missing(source: DataSource, split: str, what: str, folder: Path | None) -> UserError:
    name = source.folder or source.hub
    root = str(name).split("/")[0]
    if source.hub is None:
        place = f"{folder or 'DIR'}/{source.folder}/{split}.jsonl"
        return UserError(
            f"data of {name!r}, split {split!r}, not found: {what}; it is on no hub: put its rows into {place} "
            "by hand, as docs/benchmarks.md says" + ("" if folder else f", and set {DATA_DIR_VARIABLE}=DIR")
        )
    suite = root if root in benchmark_names() else "all16"
    return UserError(
        f"data of {name!r}, split {split!r}, not found: {what}; run `manager data fetch --suite {suite} "
        f"--to {folder or 'DIR'}` where there is a network" + ("" if folder else f", then set {DATA_DIR_VARIABLE}=DIR")
    )
