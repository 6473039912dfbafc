"""MATH-500: 500 problems of MATH (Hendrycks et al. 2021; selection of Lightman et al. 2023; MIT)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluators.benchmark import DataSource
from evaluators.benchmarks._math import MathBenchmark, plain_sampler, read_math_train


def _read(row: Mapping[str, Any], index: int) -> tuple[str, str, str, str]:
    return row["unique_id"], row["problem"], row["solution"], row["answer"]


BENCHMARK = MathBenchmark(
    name="math500",
    source=DataSource(
        hub="HuggingFaceH4/MATH-500", revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", folder="math500"
    ),
    sampler=plain_sampler(1),
    read=_read,
    read_train=read_math_train,
)
