"""What an evaluation job has to do: its benchmarks, their items, the samples still owed, in which order.

Reads the config and the data; draws nothing, writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from evaluators import benchmarks
from evaluators.benchmark import Benchmark, Item, Sampler
from evaluators.benchmark_data import NOT_AS_EXPECTED, identity, of_other_fields
from evaluators.engine import sample_seed
from evaluators.records import Key
from evaluators.shards import part
from manager.errors import UserError
from manager.run import Failed


@dataclass(frozen=True)
class Task:
    """One benchmark of the job with the items that are asked."""

    benchmark: Benchmark
    sampler: Sampler
    domain: str
    subdomain: str | None
    items: tuple[Item, ...]

    @property
    def name(self) -> str:
        return self.benchmark.name

    @property
    def total(self) -> int:
        return len(self.items) * self.sampler.samples

    def keys(self) -> Iterator[Key]:
        for item in self.items:
            for sample in range(self.sampler.samples):
                yield item.id, sample


@dataclass(frozen=True)
class Owed:
    """One sample that has to be drawn."""

    task: Task
    item: Item
    sample: int
    seed: int


def read_task(entry: Mapping[str, Any], data_dir: Path | None, shard: Mapping[str, int] | None = None) -> Task:
    """A config entry with its items; what does not fit the code or the data fails with a cause."""
    name = entry["name"]
    try:
        benchmark = benchmarks.get(name)
    except KeyError as error:
        raise Failed(str(error.args[0]), cause="benchmark_unknown") from error
    if entry["version"] != benchmark.version:
        raise Failed(
            f"benchmarks.{name}.version: the job was made for version {entry['version']}, this code has "
            f"{benchmark.version}; plan the sweep again, or use the code that made the job",
            cause="benchmark_version",
        )
    _check_rows(name, entry.get("data") or {}, data_dir)
    sampler = Sampler(**{**entry["sampler"], "stop": tuple(entry["sampler"].get("stop") or ())})
    items = _read_items(benchmark, entry.get("limit"), data_dir)
    if not items:
        raise Failed(f"benchmarks.{name}: there are no items in its test split", cause="data")
    ids = {item.id for item in items}
    if len(ids) != len(items):
        raise Failed(f"benchmarks.{name}: {len(items) - len(ids)} items share an id with another", cause="data")
    if shard is not None:
        items = tuple(part(items, shard["index"], shard["of"]))
    return Task(benchmark, sampler, entry["domain"], entry.get("subdomain"), items)


def _check_rows(name: str, data: Mapping[str, Any], data_dir: Path | None) -> None:
    """The job's identity names the rows that it was made for, those of the examples too."""
    for key, split in (("rows", "test"), ("example_rows", "train")):
        if key in data and data[key] != identity(name, data_dir, split):
            raise Failed(
                f"benchmarks.{name}: its {split} rows on this disk are not those of when the job was made; run "
                "`manager sweep` again to make jobs of these",
                cause="data_changed",
            )


def _read_items(benchmark: Benchmark, limit: int | None, data_dir: Path | None) -> tuple[Item, ...]:
    """The test items; a row that is not as the benchmark expects it is told with its place."""
    items: list[Item] = []
    try:
        items.extend(islice(benchmark.items("test", data_dir), limit))
    except UserError as error:
        raise Failed(str(error), cause="data") from error
    except NOT_AS_EXPECTED as error:
        raise Failed(
            f"benchmarks.{benchmark.name}: {of_other_fields(benchmark.name, len(items), error)}", cause="data"
        ) from error
    except FileNotFoundError as error:
        raise Failed(f"benchmarks.{benchmark.name}: its data cannot be read: {error}", cause="data") from error
    return tuple(items)


def owed(tasks: Sequence[Task], seed: int, done: Mapping[str, Collection[Key]]) -> list[Owed]:
    """The samples without a record, those expected to take longest first: none of them ends the job alone."""
    missing = [
        Owed(task, item, sample, sample_seed(seed, task.name, item.id, sample))
        for task in tasks
        for item in task.items
        for sample in range(task.sampler.samples)
        if (item.id, sample) not in done[task.name]
    ]
    return sorted(missing, key=lambda work: -expected_tokens(work.task))


def expected_tokens(task: Task) -> int:
    """How long an answer is expected to be: the benchmark's own `expected_tokens`, else the limit."""
    return min(task.sampler.max_tokens, int(getattr(task.benchmark, "expected_tokens", task.sampler.max_tokens)))
