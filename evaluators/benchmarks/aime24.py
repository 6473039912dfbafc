"""AIME 2024: thirty invitational problems, integer answers 0 to 999 (problems by the MAA)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluators.benchmark import DataSource
from evaluators.benchmarks._math import MathBenchmark, plain_sampler, read_math_train


def _read(row: Mapping[str, Any], index: int) -> tuple[str, str, str, str]:
    # Zero-padded in the data ("073"); the models are not asked to pad.
    return str(row["id"]), row["problem"], row["solution"], str(int(row["answer"]))


BENCHMARK = MathBenchmark(
    name="aime24",
    source=DataSource(
        hub="HuggingFaceH4/aime_2024",
        revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
        folder="aime24",
        splits={"test": "train"},
    ),
    sampler=plain_sampler(16),
    read=_read,
    read_train=read_math_train,
)
