"""Brings the benchmarks' data from the hub onto this disk, where there is a network; verifies what is there.

Owns the files of a data folder: `<folder>/<split>.jsonl`, SHA256SUMS (as `sha256sum -c` reads it) and
manifest.json (hub id, revision, rows of each file). A file is there whole or not at all; a fetch that was cut
off goes on where it was. Nothing here runs in a job.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from evaluators.benchmark import Benchmark, DataSource
from evaluators.benchmarks import get
from evaluators.data import CHECKSUMS, sha256_of
from manager.atomic import read_json, write_json, write_text
from manager.errors import UserError

MANIFEST = "manifest.json"
# Where the hub keeps its own Parquet copy of data sets that are published as a loading script.
PARQUET_REVISION = "refs/convert/parquet"


class Hub(Protocol):
    """What is asked of the hub; the real one is `HuggingFaceHub`."""

    def commit(self, hub: str, revision: str | None) -> str | None:
        """The commit a revision stands for now; None where the place knows no commits."""

    def rows(self, source: DataSource, split: str, revision: str | None) -> Iterable[Mapping[str, Any]]:
        """The rows of the hub's `split`. MissingSplit where there is no such split."""


class MissingSplit(Exception):
    """The data set is there, the split is not."""


class Unreachable(Exception):
    """No hub answers: nothing else can be fetched either."""


@dataclass(frozen=True)
class FetchedFile:
    """One line of the manifest; `path` is relative to the data folder."""

    path: str
    hub: str
    config: str | None
    split: str
    revision: str | None
    rows: int
    sha256: str


@dataclass(frozen=True)
class FetchReport:
    """What a fetch did; paths are relative to the data folder."""

    fetched: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)  # the hub has no such split
    by_hand: list[str] = field(default_factory=list)  # benchmarks that are on no hub
    failed: dict[str, str] = field(default_factory=dict)  # path -> why


def fetch(
    benchmarks: Sequence[str],
    target: Path,
    *,
    more: Iterable[tuple[str, DataSource, str]] = (),
    revisions: Mapping[str, str] | None = None,
    hub: Hub | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> FetchReport:
    """Bring what `benchmarks` need into `target`; what is there already with its checksum is kept.

    `more`: data sets for training, each with its name, where it is, and the split. `revisions`: hub id -> what to
    take instead of the commit that is written down for it.
    """
    wanted = _wanted(benchmarks, more, revisions or {})
    source_of_rows = hub or HuggingFaceHub()
    target.mkdir(parents=True, exist_ok=True)
    manifest = _manifest(target)
    report = FetchReport()
    for name, source, split in wanted:
        _fetch_split(name, source, split, target, source_of_rows, manifest, report, tell)
    for name in benchmarks:
        extra_files: Callable[[], dict[str, str]] = getattr(get(name), "extra_files", dict)
        for path, url in extra_files().items():
            _fetch_file(path, url, target, manifest, report, tell)
    write_text(target / CHECKSUMS, _checksums(manifest), durable=True)
    return report


def _wanted(
    benchmarks: Sequence[str], more: Iterable[tuple[str, DataSource, str]], revisions: Mapping[str, str]
) -> list[tuple[str, DataSource, str]]:
    """Every (name, source, split) of a fetch, each source at the revision that it is taken at."""
    listed = [(name, source, split) for name in benchmarks for source, split in data_sources(get(name))] + [*more]
    hubs = sorted({source.hub for _, source, _ in listed if source.hub is not None})
    for hub in revisions:
        if hub not in hubs:
            raise UserError(f"--revision {hub}: not among what is fetched: {', '.join(hubs) or 'nothing on the hub'}")
    return [
        (name, replace(source, revision=revisions.get(source.hub or "", source.revision)), split)
        for name, source, split in listed
    ]


def data_sources(benchmark: Benchmark) -> list[tuple[DataSource, str]]:
    """Every (source, our split) of a benchmark: as it says itself, else its source's test and train."""
    own: Callable[[], list[tuple[DataSource, str]]] | None = getattr(benchmark, "data_sources", None)
    return own() if own else [(benchmark.source, "test"), (benchmark.source, "train")]


def check(target: Path) -> list[str]:
    """What is wrong with a data folder, one line each; empty where every checksum holds."""
    path = target / CHECKSUMS
    if not path.is_file():
        raise UserError(f"{target} has no {CHECKSUMS}; run `manager data fetch --suite all16 --to {target}`")
    problems = []
    listed = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name:
            problems.append(f"{CHECKSUMS}:{number}: not a line of `sha256sum`")
            continue
        listed.add(name)
        file = target / name
        if not file.is_file():
            problems.append(f"{name}: missing")
        elif sha256_of(file) != digest:
            problems.append(f"{name}: differs from its checksum")
    found = {str(file.relative_to(target)) for file in target.rglob("*.jsonl")}
    return problems + [f"{name}: not listed in {CHECKSUMS}" for name in sorted(found - listed)]


def _fetch_split(
    name: str,
    source: DataSource,
    split: str,
    target: Path,
    hub: Hub,
    manifest: dict[str, FetchedFile],
    report: FetchReport,
    tell: Callable[[str], None],
) -> None:
    if source.hub is None or source.folder is None:
        if name not in report.by_hand:
            report.by_hand.append(name)
        return
    hub_split = source.splits.get(split, split)
    path = f"{source.folder}/{hub_split}.jsonl"
    if path in report.fetched or path in report.kept:
        return  # two of our splits can be one of the hub's
    try:
        commit = hub.commit(source.hub, source.revision)
        known = manifest.get(path)
        same = known is not None and (known.hub, known.config, known.revision) == (source.hub, source.config, commit)
        if known and same and _holds(target / path, known.sha256):
            report.kept.append(path)
            return
        count = _write_rows(target / path, hub.rows(source, hub_split, commit))
    except MissingSplit:
        report.absent.append(path)
        return
    except Unreachable as e:
        raise UserError(
            f"{path}: {e}; run the same `manager data fetch` again where the hub can be reached, it keeps what is there"
        ) from e
    except (OSError, ValueError, RuntimeError) as e:
        report.failed[path] = f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"
        tell(f"{path}: {report.failed[path]}")
        return
    manifest[path] = FetchedFile(path, source.hub, source.config, hub_split, commit, count, sha256_of(target / path))
    _save(target, manifest)
    report.fetched.append(path)
    tell(f"{path}: {count} rows of {source.hub} at {commit or 'no commit'}")


def _fetch_file(
    path: str,
    url: str,
    target: Path,
    manifest: dict[str, FetchedFile],
    report: FetchReport,
    tell: Callable[[str], None],
) -> None:
    known = manifest.get(path)
    if known and known.hub == url and _holds(target / path, known.sha256):
        report.kept.append(path)
        return
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            text = answer.read().decode("utf-8")
    except (urllib.error.URLError, OSError, UnicodeDecodeError) as e:
        report.failed[path] = f"{type(e).__name__}: {e}"
        tell(f"{path}: {report.failed[path]}")
        return
    (target / path).parent.mkdir(parents=True, exist_ok=True)
    write_text(target / path, text)
    manifest[path] = FetchedFile(path, url, None, "", None, 0, sha256_of(target / path))
    _save(target, manifest)
    report.fetched.append(path)


def _write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Stream the rows into a file that appears only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    count = 0
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as stream:
            for row in rows:
                stream.write(json.dumps(dict(row), ensure_ascii=False, default=str) + "\n")
                count += 1
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _holds(path: Path, digest: str) -> bool:
    return path.is_file() and sha256_of(path) == digest


def _manifest(target: Path) -> dict[str, FetchedFile]:
    stored = read_json(target / MANIFEST) or {"files": []}
    return {entry["path"]: FetchedFile(**entry) for entry in stored["files"]}


def _save(target: Path, manifest: Mapping[str, FetchedFile]) -> None:
    files = [asdict(manifest[path]) for path in sorted(manifest)]
    write_json(target / MANIFEST, {"files": files}, durable=True)


def _checksums(manifest: Mapping[str, FetchedFile]) -> str:
    return "".join(f"{manifest[path].sha256}  {path}\n" for path in sorted(manifest))


class HuggingFaceHub:
    """The hub through `huggingface_hub` and `datasets`; a folder on this disk also counts as a data set."""

    def commit(self, hub: str, revision: str | None) -> str | None:
        if Path(hub).is_dir():
            return None
        import httpx
        from huggingface_hub import HfApi
        from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError

        api = HfApi()
        try:
            found: str | None = api.dataset_info(hub, revision=revision).sha
        except OfflineModeIsEnabled as e:
            raise Unreachable("HF_HUB_OFFLINE switches the hub off; unset it to fetch") from e
        except httpx.TransportError as e:
            raise Unreachable(f"the hub at {api.endpoint} cannot be reached ({e})") from e
        except RevisionNotFoundError as e:
            raise ValueError(
                f"{hub} has no revision {revision} on the hub; `--revision {hub}=COMMIT` takes another, "
                f"`--revision {hub}=main` the newest"
            ) from e
        except RepositoryNotFoundError as e:
            raise ValueError(f"{hub} is not on the hub, or not for this account (`hf auth login`)") from e
        return found

    def rows(self, source: DataSource, split: str, revision: str | None) -> Iterable[Mapping[str, Any]]:
        assert source.hub is not None
        try:
            return self._load(source.hub, source.config, split, revision)
        except RuntimeError as e:
            if "scripts are no longer supported" not in str(e):
                raise
            if source.revision not in (None, "main"):  # the copy is of the newest commit, and has commits of its own
                raise ValueError(
                    f"{source.hub} is a loading script at {revision}, which is not run; `--revision {source.hub}=main` "
                    "reads the hub's Parquet copy of the newest"
                ) from e
        return self._load(source.hub, source.config, split, PARQUET_REVISION)

    def _load(self, hub: str, config: str | None, split: str, revision: str | None) -> Any:
        import datasets

        # The Parquet copy says nothing of configs: each is a folder there.
        name, folder = (None, config) if revision == PARQUET_REVISION else (config, None)
        available = datasets.get_dataset_split_names(hub, name, data_dir=folder, revision=revision)
        if split not in available:
            raise MissingSplit(f"{hub} has no split {split!r}; it has: {', '.join(available)}")
        return _streamed(
            datasets.load_dataset(hub, name, data_dir=folder, split=split, revision=revision, streaming=True)
        )


def _streamed(rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The rows; a line that stays dead after the library's own retries is an OSError like others."""
    import httpx

    try:
        yield from rows
    except httpx.HTTPError as e:
        raise ConnectionError(f"the download broke off: {e}") from e
