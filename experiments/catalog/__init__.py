"""The catalogue: what sweeps may name. Reads the YAML rows beside it and the benchmarks' own facts.

    catalog = load()                       # the shipped rows
    catalog = load([Path("my-catalog")])   # and those of a folder with models.yaml, domains.yaml, …

Rows of a later folder replace rows of the same name. A row is checked when it is read; a suite may name a
benchmark that does not exist until a sweep uses it.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from evaluators import benchmarks, environments
from evaluators.benchmark_data import has_train
from evaluators.benchmark_data import identity as data_identity
from evaluators.data import default_data_dir
from experiments import study
from manager.catalog import BenchmarkRow, Catalog, EnvironmentRow
from manager.sweep.mistakes import Mistakes, unknown
from manager.sweep.nodes import Node, parse

HERE = Path(__file__).parent
FILES = ("models.yaml", "domains.yaml", "suites.yaml", "trainers.yaml")
UNPINNED = "unpinned"

MODEL_KEYS = (
    "hub",
    "revision",
    "scratch",
    "base",
    "domains",
    "subdomains",
    "family",
    "size_b",
    "chat_template",
    "licence",
    "source",
    "inferred",
)
DOMAIN_KEYS = ("domain", "sources", "size", "seed", "decontaminate", "inferred")
SOURCE_KEYS = (
    "benchmark",
    "hub",
    "config",
    "split",
    "revision",
    "filters",
    "weight",
    "domain",
    "subdomain",
    "note",
)


@dataclass(frozen=True)
class _Benchmarks(Mapping[str, BenchmarkRow]):
    """The benchmarks by name; a module is imported when its row is asked for."""

    names: tuple[str, ...]
    _rows: dict[str, BenchmarkRow] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> BenchmarkRow:
        if name not in self.names:
            raise KeyError(name)
        if name not in self._rows:
            self._rows[name] = self._read(name)
        return self._rows[name]

    def _read(self, name: str) -> BenchmarkRow:
        found = benchmarks.get(name)
        source = {key: value for key, value in asdict(found.source).items() if key != "folder" and value}
        if found.source.folder and default_data_dir() is not None:
            # A data folder takes the hub's place: what is in it decides the result, not the revision that is pinned.
            source["rows"] = data_identity(name)
            source.pop("revision", None)
        sampler = asdict(found.sampler) | {"stop": list(found.sampler.stop)}
        row = BenchmarkRow(found.name, found.domain, found.subdomain, found.version, sampler, source)
        if "rows" in source and has_train(found):
            return replace(row, example_rows=lambda: data_identity(name, split="train"))
        return row

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names


@dataclass(frozen=True)
class _Environments(Mapping[str, EnvironmentRow]):
    """The text environments by name; a module is imported when its row is asked for."""

    names: tuple[str, ...]

    def __getitem__(self, name: str) -> EnvironmentRow:
        if name not in self.names:
            raise KeyError(name)
        found = environments.facts(name)
        return EnvironmentRow(
            name, found.version, found.options, found.prompt_tokens, found.response_tokens, found.files
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names


def load(extra_dirs: Iterable[Path] = ()) -> Catalog:
    """The catalogue with the rows of these folders over it; all mistakes are told, as `SweepErrors`."""
    mistakes = Mistakes()
    tables: dict[str, dict[str, Node]] = {name: {} for name in FILES}
    for folder in (HERE, *extra_dirs):
        for name in FILES:
            if (folder / name).is_file():
                tables[name] |= _table(folder / name, mistakes)
    trainers = {key: node.plain() for key, node in tables["trainers.yaml"].items()}
    catalog = Catalog(
        models={
            name: _model(name, node, tables["models.yaml"], mistakes) for name, node in tables["models.yaml"].items()
        },
        domains={name: _domain(name, node, mistakes) for name, node in tables["domains.yaml"].items()},
        suites={name: _suite(name, node, mistakes) for name, node in tables["suites.yaml"].items()},
        benchmarks=_Benchmarks(benchmarks.names()),
        environments=_Environments(environments.names()),
        rewards=trainers["rewards"],
        algorithms=trainers["algorithms"],
        studies=study.names(),
        report_settings=_report_settings(),
        engines=tuple(trainers["engines"]),
        prompting=tuple(trainers["prompting"]),
        deepspeed=tuple(trainers["deepspeed"]),
        generation=tuple(trainers["generation"]),
        trainer_fields=json.loads((HERE / "trainer_fields.json").read_text(encoding="utf-8"))["classes"],
        trainer_values={key: tuple(values) for key, values in trainers["values"].items()},
        trainer_bounds=trainers["bounds"],
        trainer_refused=trainers["refused"],
    )
    for name, row in catalog.domains.items():
        if row.get("decontaminate", "all16") not in catalog.suites:
            why = unknown("suite", row["decontaminate"], catalog.suites)
            mistakes.add(tables["domains.yaml"][name].place, (name, "decontaminate"), why)
    mistakes.raise_if_any()
    return catalog


def _report_settings() -> dict[str, str]:
    """The keys of a report's `settings`, from the text of the class that reads them: its module loads numpy."""
    tree = ast.parse((HERE.parent / "transfer.py").read_text(encoding="utf-8"))
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings")
    fields = (line for line in found.body if isinstance(line, ast.AnnAssign))
    types = {ast.unparse(line.target): ast.unparse(line.annotation).replace(" ", "") for line in fields}
    return {name: kind.replace("[int]", "") for name, kind in types.items()} | {"pairs": "list"}


def _table(path: Path, mistakes: Mistakes) -> dict[str, Node]:
    node = parse(path.read_text(encoding="utf-8"), str(path), mistakes)
    if isinstance(node.value, dict):
        return node.value
    mistakes.add(node.place, "", "expected a mapping of names to rows")
    return {}


def _row(name: str, node: Node, keys: tuple[str, ...], mistakes: Mistakes) -> dict[str, Any]:
    if not isinstance(node.value, dict):
        mistakes.add(node.place, name, "expected a mapping")
        return {}
    for key, child in node.value.items():
        if key not in keys:
            mistakes.add(child.place, (name, key), unknown("key", key, keys))
    row: dict[str, Any] = node.plain()
    return row


def _pinned(row: dict[str, Any]) -> dict[str, Any]:
    """A revision that nobody has written down is None, like everywhere else."""
    return {**row, "revision": None} if row.get("revision") == UNPINNED else row


def _model(name: str, node: Node, models: Mapping[str, Node], mistakes: Mistakes) -> dict[str, Any]:
    row = _pinned(_row(name, node, MODEL_KEYS, mistakes))
    if not isinstance(node.value, dict):
        return row
    if ("hub" in row) == ("scratch" in row):
        mistakes.add(node.place, name, "a model has either hub and revision, or scratch")
    elif "hub" in row and "revision" not in row:
        mistakes.add(node.place, name, f"revision is missing; the commit, or {UNPINNED}")
    if "base" in row and row["base"] not in models:
        mistakes.add(node.at(["base"]).place, (name, "base"), unknown("model", row["base"], models))
    if "base" in row and not row.get("domains"):
        mistakes.add(node.place, name, "a model with a base says the domains that it was trained on")
    return row


def _domain(name: str, node: Node, mistakes: Mistakes) -> dict[str, Any]:
    row = _row(name, node, DOMAIN_KEYS, mistakes)
    sources = node.value.get("sources") if isinstance(node.value, dict) else None
    if sources is None or not isinstance(sources.value, list) or not sources.value:
        mistakes.add(node.place, name, "a domain has a list of sources")
        return row
    row["sources"] = [_source((name, "sources", number), child, mistakes) for number, child in enumerate(sources.value)]
    return row


def _source(at: tuple[Any, ...], node: Node, mistakes: Mistakes) -> dict[str, Any]:
    if not isinstance(node.value, dict):
        mistakes.add(node.place, at, "expected a mapping with benchmark, or with hub and revision")
        return {}
    for key, child in node.value.items():
        if key not in SOURCE_KEYS:
            mistakes.add(child.place, (*at, key), unknown("key", key, SOURCE_KEYS))
    row = node.plain()
    if ("benchmark" in row) == ("hub" in row):
        mistakes.add(node.place, at, "a source has either benchmark or hub")
    elif "hub" in row and "revision" not in row:
        mistakes.add(node.place, at, f"revision is missing; the commit, or {UNPINNED}")
    return _pinned(row)


def _suite(name: str, node: Node, mistakes: Mistakes) -> tuple[str, ...]:
    names = node.plain()
    if isinstance(names, list) and names and all(isinstance(one, str) for one in names):
        return tuple(names)
    mistakes.add(node.place, name, "expected a list of names of benchmarks")
    return ()


def architectures() -> dict[str, dict[str, Any]]:
    """The sizes of base models by their catalogue name, as their config.json names them."""
    rows: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "architectures.yaml").read_text(encoding="utf-8"))
    return rows
