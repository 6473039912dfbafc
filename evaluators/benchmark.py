"""What a benchmark is: where its items are, how one becomes a prompt, how an answer is scored.

Import-light on purpose (standard library only): the control plane reads names, versions and samplers
from here to give jobs their identity, without loading torch, sympy or a data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol


class Outcome(StrEnum):
    """How one sample ended. Different things that must never be added up as the same zero."""

    RIGHT = "right"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"  # finished, but no answer could be extracted
    TRUNCATED = "truncated"  # cut off at the token limit without an answer
    TOO_LONG = "too_long"  # the prompt does not fit the context: nothing was generated
    GRADER_FAILED = "grader_failed"  # the scorer itself crashed or ran out of its limits
    ENGINE_FAILED = "engine_failed"  # no completion came back


@dataclass(frozen=True)
class Score:
    """`value` is 0..1, or None where it is undefined (grader or engine failed)."""

    value: float | None
    outcome: Outcome
    extracted: str | None = None
    why: str = ""


@dataclass(frozen=True)
class Item:
    """One question. `fields` is what prompt and scorer need; `answer` the gold answer in the data's own form."""

    id: str
    fields: Mapping[str, Any]
    answer: Any = None


@dataclass(frozen=True)
class Sampler:
    """How answers are drawn. All of it is in the evaluation job's identity."""

    samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 16192
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSource:
    """Where the items come from: a hub data set at a revision, and the folder name under a `data_dir`.

    `hub` is None for procedural benchmarks, whose items are computed.
    """

    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    folder: str | None = None
    splits: Mapping[str, str] = field(default_factory=dict)  # our split name -> the hub's


class Benchmark(Protocol):
    """One file in evaluators/benchmarks/ defines `BENCHMARK`, an object of this shape."""

    name: str
    domain: str  # math, code, knowledge (or a study's own)
    subdomain: str | None  # medicine, law, finance, tables …
    version: int  # raised with every change of prompt, extraction or scoring
    source: DataSource
    sampler: Sampler

    def items(self, split: str, data_dir: Path | None) -> Iterator[Item]:
        """The items of `train` or `test`, always in the same order with the same ids."""

    def messages(self, item: Item) -> list[dict[str, str]]:
        """The conversation that asks the question; the model's chat template is applied by the engine."""

    def score(self, item: Item, completion: str, *, truncated: bool = False) -> Score:
        """Judge one completion. May take long or crash: the caller bounds it."""

    def gold(self, item: Item) -> str:
        """A completion that is certainly right: scores 1. Also the demonstration for supervised warm-up."""

    def wrong(self, item: Item, seed: int) -> str:
        """A well-formed completion that is certainly wrong: scores 0."""
