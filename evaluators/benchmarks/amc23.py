"""AMC 2023: forty problems of the AMC 12 whose answers are integers (problems by the MAA)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluators.benchmark import DataSource
from evaluators.benchmarks._math import MathBenchmark, plain_sampler, read_math_train


def _read(row: Mapping[str, Any], index: int) -> tuple[str, str, str, str]:
    answer = row["answer"]
    # "27", 27 and 27.0 are all found in copies of this data.
    return (
        str(row["id"]),
        row["question"],
        "",
        str(int(float(answer))) if float(answer).is_integer() else str(answer),
    )


BENCHMARK = MathBenchmark(
    name="amc23",
    source=DataSource(hub="math-ai/amc23", revision="80815d37005feb82cd7f8fbc6901d5d3eff43057", folder="amc23"),
    sampler=plain_sampler(16),
    read=_read,
    read_train=read_math_train,
)
