"""LiveCodeBench code generation: contest problems with public and private tests (Jain et al. 2024).

Two kinds of items: programs that read standard input, and LeetCode classes of which one method is called. The
latter's tests run in a process of their own. Statements belong to AtCoder, LeetCode and Codeforces.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from evaluators.benchmark import DataSource, Item, Sampler
from evaluators.benchmarks._code import CodeBenchmark, answer_table, fenced
from evaluators.scoring.code_private_tests import decode
from evaluators.scoring.code_tests import PRELUDE, IoTest, calls_program, io_programs

if TYPE_CHECKING:
    from evaluators.sandbox import Program, Sandbox

_TEST_S = 6
_MEMORY_MB = 4096


class LiveCodeBench(CodeBenchmark):
    """The rows carry no reference solution: `gold` answers from a table of the tests' own results."""

    name = "livecodebench"
    source = DataSource(
        hub="livecodebench/code_generation_lite",
        # Not of the main branch, whose commits are a loading script: the releases as Parquet, proposed as refs/pr/7.
        revision="c52cd175916e995019dcd848d1054b419d2e70b5",
        config="release_v6",
        folder="livecodebench",
        splits={"test": "test"},
    )
    sampler = Sampler(samples=1, temperature=0.0, top_p=1.0, max_tokens=16192)

    def item(self, row: dict[str, Any], index: int) -> Item:
        metadata = json.loads(row["metadata"] or "{}")
        fields = {
            "question": row["question_content"],
            "starter_code": row["starter_code"],
            "function": metadata.get("func_name"),
            "public": row["public_test_cases"],
            "private": row["private_test_cases"],  # decoded when scored: the whole set is gigabytes
        }
        return Item(str(row["question_id"]), fields)

    def question(self, item: Item) -> str:
        starter = item.fields["starter_code"]
        if item.fields["function"]:
            how = f"Complete this class. Give all of it in one fenced code block.\n\n{fenced(starter)}"
        else:
            how = (
                "The program reads standard input and writes standard output. Give the whole program in one "
                "fenced code block."
            )
        return f"Solve this programming problem in Python 3.\n\n{item.fields['question'].strip()}\n\n{how}"

    def tests(self, item: Item) -> list[IoTest]:
        """Public tests first, then private ones."""
        tests = [*json.loads(item.fields["public"]), *decode(item.fields["private"])]
        return [IoTest(test["input"], test["output"]) for test in tests]

    def programs(self, item: Item, solution: str) -> Iterator[Program]:
        tests = self.tests(item)
        function = item.fields["function"]
        if not function:
            yield from io_programs(solution, tests, cpu_s=_TEST_S, memory_mb=_MEMORY_MB, prelude=PRELUDE)
        elif tests:
            call = f"Solution().{function}"
            wall_s = _TEST_S * len(tests) + 30
            yield calls_program(solution, call, tests, call_s=_TEST_S, memory_mb=_MEMORY_MB, wall_s=wall_s)

    def sandbox(self) -> Sandbox:
        from evaluators import sandbox

        return sandbox.shared((*sandbox.STANDARD, "random", "statistics"))  # as the prelude has them

    def gold(self, item: Item) -> str:
        tests, function = self.tests(item), item.fields["function"]
        if not function:
            return fenced(answer_table({test.stdin: test.expected for test in tests}))
        table = [
            [[json.loads(line) for line in test.stdin.split("\n") if line.strip()], json.loads(test.expected)]
            for test in tests
        ]
        return fenced(
            "class Solution:\n"
            f"    def {function}(self, *values):\n"
            f"        return next(result for known, result in {table!r} if known == list(values))\n"
        )

    def wrong(self, item: Item, seed: int) -> str:
        if not item.fields["function"]:
            return fenced(f'print("no answer {seed}")\n')
        return fenced(
            f"class Solution:\n    def {item.fields['function']}(self, *values):\n"
            f"        return ['no answer', {seed}]\n"
        )


BENCHMARK = LiveCodeBench()
