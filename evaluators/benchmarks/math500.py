"""MATH-500: 500 problems of MATH (Hendrycks et al. 2021; selection of Lightman et al. 2023; MIT)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluators.benchmark import DataSource
from evaluators.benchmarks._math import MathBenchmark, plain_sampler
from evaluators.scoring import answers


def _read(row: Mapping[str, Any], index: int) -> tuple[str, str, str, str]:
    return row["unique_id"], row["problem"], row["solution"], row["answer"]


def _read_train(row: Mapping[str, Any], index: int) -> tuple[str, str, str, str]:
    boxes = answers.boxed(row["solution"])
    return str(index), row["problem"], row["solution"], boxes[-1] if boxes else ""


BENCHMARK = MathBenchmark(
    name="math500",
    source=DataSource(hub="HuggingFaceH4/MATH-500", folder="math500"),
    sampler=plain_sampler(1),
    read=_read,
    # The training problems of MATH; its hub configs are subjects, so a data folder holds them joined.
    train_source=DataSource(hub="EleutherAI/hendrycks_math", config="algebra", folder="math"),
    read_train=_read_train,
)
