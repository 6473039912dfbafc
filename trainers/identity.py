"""What identifies the rows of training data before jobs are made: part of a training job's identity.

Light enough for the control plane. Reads no row: each file is hashed once for as long as it does not change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluators import benchmark_data, benchmarks
from evaluators.benchmark import DataSource
from evaluators.data import default_data_dir, require
from evaluators.fetch import data_sources
from manager.errors import UserError
from manager.run import Failed
from trainers import sources

PREPARATION = 4  # raised when the same request would be prepared differently


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


def versions_of(source: Mapping[str, Any]) -> dict[str, int]:
    """The benchmarks that ask and judge the rows of a public set, with their versions."""
    known = sources.READERS.get(str(source.get("hub")))
    return {name: benchmarks.get(name).version for name in known.benchmarks} if known else {}


def rows_against(names: Iterable[str], folder: Path) -> dict[str, str]:
    """What identifies the benchmarks' rows in the data folder that prompts are compared with."""
    return {name: benchmark_data.identity(name, folder) for name in names if name in benchmarks.names()}


@dataclass(frozen=True)
class IdentifiedDomains(Mapping[str, Mapping[str, Any]]):
    """The catalogue's domains with all that decides which prompts they become and how these are judged.

    That is `rows` and `versions` of each source, `decontaminate_rows`, and `preparation`. Rows are identified where
    there is a data folder; without one the hub's revision does it. A row is read when it is asked for.
    """

    domains: Mapping[str, Mapping[str, Any]]
    suites: Mapping[str, Iterable[str]]

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        row, folder = self.domains[name], default_data_dir()
        found: dict[str, Any] = {**row, "preparation": PREPARATION}
        found["sources"] = [_identified(source, folder) for source in row["sources"]]
        if folder is not None and row.get("decontaminate") in self.suites:
            found["decontaminate_rows"] = rows_against(self.suites[row["decontaminate"]], folder)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.domains)

    def __len__(self) -> int:
        return len(self.domains)


def _identified(source: Mapping[str, Any], folder: Path | None) -> Mapping[str, Any]:
    rows = rows_of(source, folder) if folder is not None else None
    versions = versions_of(source)
    # A data folder may hold another commit than is pinned: its rows alone say what is read.
    unpinned = {"revision": None} if rows and "hub" in source else {}
    return {
        **source,
        **unpinned,
        **({"rows": rows} if rows else {}),
        **({"versions": versions} if versions else {}),
    }


def absent(data: Mapping[str, Any]) -> list[str]:
    """What of `config.data` is not on this disk, of sources and of what they are compared with. Reads no row."""
    wanted = [(name, "test") for name in data.get("decontaminate") or ()]
    wanted += [
        (source["benchmark"], source.get("split", "train")) for source in data["sources"] if "benchmark" in source
    ]
    places = {name: [place for place, one in data_sources(benchmarks.get(name)) if one == split]
              for name, split in wanted if name in benchmarks.names()}  # fmt: skip
    split_of = dict(wanted)
    for source in data["sources"]:
        if source.get("hub") in sources.READERS:
            places[source["hub"]] = [sources.place_of(source)]
            split_of[source["hub"]] = source.get("split", "train")
    return [name for name, listed in places.items() if not any(_here(place, split_of[name]) for place in listed)]


def _here(place: DataSource, split: str) -> bool:
    """Computed items are always here."""
    if place.hub is None and place.folder is None:
        return True
    try:
        require(place, split)
    except UserError:
        return False
    return True


# Asked again by the job, before it trains.


def check_versions(data: Mapping[str, Any]) -> None:
    """Failed if a benchmark is unknown here or of another version than the job was made for."""
    made_by = data.get("preparation", PREPARATION)
    if made_by != PREPARATION:
        raise _other_version("the preparation of data", PREPARATION, made_by)
    for source in data["sources"]:
        wanted = dict(source.get("versions") or {})
        if "benchmark" in source:
            wanted[source["benchmark"]] = source.get("version")
        for name, version in wanted.items():
            try:
                found = benchmarks.get(name)
            except KeyError as error:
                raise Failed(f"data.sources: {error.args[0]}", cause="config") from error
            if version is not None and version != found.version:
                raise _other_version(f"data.sources: {name}", found.version, version)


def _other_version(what: str, here: int, wanted: int) -> Failed:
    return Failed(
        f"{what} is version {here} here, the job was made for version {wanted}; "
        "run `manager sweep` again to make jobs of this version",
        cause="benchmark_version",
    )


def check_rows(data: Mapping[str, Any], folder: Path | None) -> None:
    """Failed if the data folder holds other rows than when the job was made."""
    if folder is None:
        return
    wanted = {sources.name_of(source): (source["rows"], rows_of(source, folder)) for source in data["sources"]
              if source.get("rows") is not None}  # fmt: skip
    against = data.get("decontaminate_rows") or {}
    here = rows_against(against, folder)
    wanted |= {name: (rows, here.get(name)) for name, rows in against.items()}
    if changed := sorted(name for name, (then, now) in wanted.items() if then != now):
        raise Failed(
            f"data.sources: {folder} holds other rows of {', '.join(changed)} than when the job was made; run "
            "`manager sweep` again to make jobs of these",
            cause="data_changed",
        )
