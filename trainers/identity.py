"""What identifies the rows of training data before jobs are made: part of a training job's identity.

Light enough for the control plane. Reads no row: each file is hashed once for as long as it does not change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluators import benchmark_data, benchmarks
from evaluators.data import default_data_dir
from trainers import sources


def rows_of(source: Mapping[str, Any], folder: Path) -> str | None:
    """The digest of the files that a source's rows come from; None where they are computed, or not there."""
    split = source.get("split", "train")
    if "benchmark" not in source:
        known = source["hub"] in sources.READERS  # another set has no folder: its job says so when it runs
        return benchmark_data.file_identity(sources.place_of(source), split, folder) if known else None
    if source["benchmark"] not in benchmarks.names():
        return None
    place = benchmarks.get(source["benchmark"]).source
    if place.hub is None and place.folder is None:
        return None  # the version identifies what is computed
    found = benchmark_data.identity(source["benchmark"], folder, split)
    return found if found.startswith("sha256:") else None


@dataclass(frozen=True)
class IdentifiedDomains(Mapping[str, Mapping[str, Any]]):
    """The catalogue's domains with `rows` in each source that is read from the data folder, if there is one.

    Without a folder the hub's revision identifies the rows. A row is read when it is asked for.
    """

    domains: Mapping[str, Mapping[str, Any]]

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        row, folder = self.domains[name], default_data_dir()
        if folder is None:
            return row
        return {**row, "sources": [_identified(source, folder) for source in row["sources"]]}

    def __iter__(self) -> Iterator[str]:
        return iter(self.domains)

    def __len__(self) -> int:
        return len(self.domains)


def _identified(source: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    rows = rows_of(source, folder)
    return source if rows is None else {**source, "rows": rows}
