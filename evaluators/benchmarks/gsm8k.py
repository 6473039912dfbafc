"""GSM8K: grade-school word problems whose answer is one number (Cobbe et al. 2021, MIT licence)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from evaluators.benchmark import DataSource
from evaluators.benchmarks._math import MathBenchmark, plain_sampler


def _read(row: Mapping[str, Any], index: int) -> tuple[str, str, str, str]:
    worked, _, answer = row["answer"].rpartition("####")
    worked = re.sub(r"<<[^<>]*>>", "", worked)  # calculator marks of the data set
    return str(index), row["question"], worked.strip(), answer.strip()


SOURCE = DataSource(
    hub="openai/gsm8k", revision="740312add88f781978c0658806c59bc2815b9866", config="main", folder="gsm8k"
)

BENCHMARK = MathBenchmark(
    name="gsm8k", source=SOURCE, sampler=plain_sampler(1), read=_read, train_source=SOURCE
)
