"""Codeforces: 408 contest problems in CodeElo / DeepCoder form, solved in Python from standard input.

An answer passes when the 15 tests with the longest input pass. Problems with several right outputs are judged
by equality all the same, as in the source: their checkers are not part of the data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from evaluators.benchmark import DataSource, Item, Sampler
from evaluators.benchmarks._code import CodeBenchmark, answer_table, fenced, short_digest
from evaluators.scoring.code_tests import IoTest, io_programs, longest

if TYPE_CHECKING:
    from evaluators.sandbox import Program

_MOST_TESTS = 15
_CPU_S = 12


class Codeforces(CodeBenchmark):
    """The rows carry no reference solution: `gold` prints the tests' own outputs, no demonstration."""

    name = "codeforces"
    source = DataSource(
        hub="agentica-org/DeepCoder-Preview-Dataset",
        revision="177913a7bd43791646ef6a43645caa3c871ab3db",
        config="codeforces",
        folder="codeforces",
        splits={"test": "test"},
    )
    sampler = Sampler(samples=1, temperature=0.0, top_p=1.0, max_tokens=16192)

    def item(self, row: dict[str, Any], index: int) -> Item:
        tests = row["tests"] if isinstance(row["tests"], list) else json.loads(row["tests"])
        pairs = tuple(IoTest(test["input"], test["output"]) for test in tests)
        identifier = f"{index}-{short_digest(row['problem'])}"
        return Item(identifier, {"problem": row["problem"], "tests": pairs})

    def question(self, item: Item) -> str:
        return (
            "Solve this programming problem in Python 3. The program reads standard input and writes "
            "standard output. Give the whole program in one fenced code block.\n\n"
            f"{item.fields['problem'].strip()}"
        )

    def programs(self, item: Item, solution: str) -> Iterator[Program]:
        yield from io_programs(solution, self.tests(item), cpu_s=_CPU_S, memory_mb=1024)

    def tests(self, item: Item) -> list[IoTest]:
        return longest(item.fields["tests"], _MOST_TESTS)

    def gold(self, item: Item) -> str:
        return fenced(answer_table({test.stdin: test.expected for test in item.fields["tests"]}))

    def wrong(self, item: Item, seed: int) -> str:
        return fenced(f'print("no answer {seed}")\n')


BENCHMARK = Codeforces()
