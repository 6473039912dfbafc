"""Before jobs are submitted: is the data of benchmarks on this disk, and what identifies it.

Light enough for the control plane: imports no data library where a data folder is used. Reads at most one row of each
benchmark, and hashes each file once for as long as it does not change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import islice
from pathlib import Path

from evaluators.benchmark import Benchmark, DataSource
from evaluators.benchmarks import get
from evaluators.data import default_data_dir, sha256_of, split_file
from evaluators.fetch import data_sources
from manager.errors import UserError

# How a row of another form shows: a field is absent, empty, or holds something else.
NOT_AS_EXPECTED = (KeyError, TypeError, AttributeError, ValueError, IndexError)


def missing(names: Iterable[str], data_dir: Path | None = None, split: str = "test") -> dict[str, str]:
    """benchmark -> what is not there and what to run, for those whose first item cannot be read. A train split that
    a benchmark never has is not missing."""
    found: dict[str, str] = {}
    for name in names:
        if split == "train" and not has_train(get(name)):
            continue
        try:
            if not list(islice(get(name).items(split, data_dir), 1)):
                found[name] = f"data of {name!r}, split {split!r}, has no rows; run `manager data fetch --suite {name}`"
        except UserError as e:
            found[name] = str(e)
        except NOT_AS_EXPECTED as e:
            found[name] = of_other_fields(name, 0, e)
    return found


def has_train(benchmark: Benchmark) -> bool:
    """Whether it has a train split; else examples are others of its test items."""
    return not benchmark.source.splits or "train" in benchmark.source.splits


def of_other_fields(name: str, good: int, error: Exception) -> str:
    """What to tell of a row that is not as the benchmark expects it."""
    what = f"has no field {error}" if isinstance(error, KeyError) else f"is not as expected: {error}"
    return (
        f"a row of {name!r} after {good} good ones {what}; is the data of another revision? `manager data check` "
        "compares checksums, `manager data fetch` brings it again"
    )


def identity(name: str, data_dir: Path | None = None, split: str = "test") -> str:
    """One digest of all files that the benchmark's items of `split` can come from, as they are now.

    Belongs to an evaluation's identity: other rows, or other parts of a benchmark of many parts, are another job.
    Without a data folder: the hub ids with their revisions. Computed benchmarks are identified by their version.
    """
    benchmark = get(name)
    folder = data_dir or default_data_dir()
    parts = []
    for source, part_split in data_sources(benchmark):
        if part_split != split:
            continue
        if folder is None:
            if source.hub is not None:
                parts.append(f"{source.hub}:{source.config or ''}@{source.revision or 'unpinned'}")
        elif path := split_file(source, split, folder):
            parts.append(f"{path.relative_to(folder)}={_digest(path)}")
    if folder is not None:
        parts += _beside(benchmark, folder)
    if not parts:
        return f"computed:{benchmark.version}"
    return "sha256:" + hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()


def file_identity(source: DataSource, split: str, folder: Path) -> str | None:
    """The digest of the file in the data folder that holds `split` of a source; None where there is none."""
    path = split_file(source, split, folder)
    return f"sha256:{_digest(path)}" if path is not None else None


def _beside(benchmark: Benchmark, folder: Path) -> list[str]:
    """Files that prompts and scores use beside the rows: fetched ones, and those put there by hand (`beside`)."""
    extra: Callable[[], dict[str, str]] = getattr(benchmark, "extra_files", dict)
    by_hand: tuple[str, ...] = getattr(benchmark, "beside", ())
    return [f"{name}={_digest(folder / name)}" for name in (*extra(), *by_hand) if (folder / name).is_file()]


def _digest(path: Path) -> str:
    known = path.stat()
    return _hashed(path, known.st_size, known.st_mtime_ns, known.st_ino)


@lru_cache(maxsize=4096)
def _hashed(path: Path, size: int, mtime_ns: int, inode: int) -> str:
    return sha256_of(path)
