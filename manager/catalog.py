"""What a sweep may name: models, domains, suites, benchmarks, rewards and trainers. Rows only; reads nothing.

The rows come from experiments/catalog (YAML) and from the benchmarks' own modules; they are given to the
expansion as one value, so that the control plane imports neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class BenchmarkRow:
    """What of a benchmark is part of an evaluation's identity."""

    name: str
    domain: str
    subdomain: str | None
    version: int
    sampler: Mapping[str, Any]
    source: Mapping[str, Any]  # hub, config, revision, splits; empty for procedural ones
    # What identifies the rows that examples are taken from; asked where a prompt shows some, since files are read.
    example_rows: Callable[[], str | None] = lambda: None


@dataclass(frozen=True)
class EnvironmentRow:
    """What of a text environment is part of a job's identity."""

    name: str
    version: int
    options: Mapping[str, Any]  # with their defaults
    prompt_tokens: int
    response_tokens: int
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # option that names files -> which of a folder


@dataclass(frozen=True)
class Catalog:
    """Everything that a sweep may name, each by its name."""

    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    domains: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    suites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    benchmarks: Mapping[str, BenchmarkRow] = field(default_factory=dict)
    environments: Mapping[str, EnvironmentRow] = field(default_factory=dict)
    rewards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    algorithms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    studies: tuple[str, ...] = ()
    report_settings: Mapping[str, str] = field(default_factory=dict)  # key -> its type as text
    engines: tuple[str, ...] = ()
    prompting: tuple[str, ...] = ()
    deepspeed: tuple[str, ...] = ()
    generation: tuple[str, ...] = ()
    # config class (GRPOConfig …) -> field -> its type as text: "int", "float|null", "any"
    trainer_fields: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # field -> its closed list of values
    trainer_values: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    # field -> the bounds of its number (manager/sweep/bounds.py)
    trainer_bounds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    # field that the system sets itself -> what to write instead
    trainer_refused: Mapping[str, str] = field(default_factory=dict)
