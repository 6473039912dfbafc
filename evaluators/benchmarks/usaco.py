"""USACO: contest problems with all their official tests and limits of their own (Shi et al. 2024).

The tests are a file of their own beside the problems (`tests.jsonl`: problem_id, test_id, input, output).
They are gigabytes for the whole set, so an item keeps where its tests are; they are read when it is scored.
Statements and tests belong to USACO and have no open licence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.benchmark import DataSource, Item, Sampler
from evaluators.benchmarks._code import CodeBenchmark, answer_table, fenced
from evaluators.data import default_data_dir, load_rows
from evaluators.scoring.code_tests import IoTest, io_programs
from manager.errors import UserError

if TYPE_CHECKING:
    from evaluators.sandbox import Program

_SOURCE = DataSource(hub=None, folder="usaco", splits={"test": "test", "tests": "tests"})


class Usaco(CodeBenchmark):
    """The solutions in the data are C++ inside prose: `gold` prints the tests' own outputs."""

    name = "usaco"
    source = _SOURCE
    beside = ("usaco/tests.jsonl",)
    sampler = Sampler(samples=1, temperature=0.7, top_p=1.0, max_tokens=16192)

    def items(self, split: str, data_dir: Path | None = None) -> Iterator[Item]:
        folder = data_dir or default_data_dir()
        for index, row in enumerate(load_rows(self.source, split, data_dir)):
            yield self.item({**row, "tests_file": str(_tests_file(folder))}, index)

    def item(self, row: dict[str, Any], index: int) -> Item:
        fields = {
            "description": row["description"],
            "cpu_s": float(row["runtime_limit"]),
            "memory_mb": int(row["memory_limit"]),
            "tests_file": row["tests_file"],
            "num_tests": int(row["num_tests"]),
        }
        return Item(str(row["problem_id"]), fields)

    def question(self, item: Item) -> str:
        return (
            "Solve this programming contest problem in Python 3. The program reads standard input and "
            "writes standard output, also where the statement names files. It must end within "
            f"{item.fields['cpu_s']:g} s and use at most {item.fields['memory_mb']} MB on each test. "
            f"Give the whole program in one fenced code block.\n\n{item.fields['description'].strip()}"
        )

    def programs(self, item: Item, solution: str) -> Iterator[Program]:
        limits = item.fields
        tests = self.tests(item)
        yield from io_programs(solution, tests, cpu_s=limits["cpu_s"], memory_mb=limits["memory_mb"])

    def tests(self, item: Item) -> Iterator[IoTest]:
        """The official tests, in order, read from the disk one by one."""
        path = item.fields["tests_file"]
        with open(path, "rb") as stream:
            for offset in _offsets(path).get(item.id, ()):
                stream.seek(offset)
                row = json.loads(stream.readline())
                yield IoTest(row["input"], row["output"])

    def gold(self, item: Item) -> str:
        return fenced(answer_table({test.stdin: test.expected for test in self.tests(item)}))

    def wrong(self, item: Item, seed: int) -> str:
        return fenced(f'print("no answer {seed}")\n')


def _tests_file(folder: Path | None) -> Path:
    path = None if folder is None else folder / "usaco" / "tests.jsonl"
    if path is None or not path.is_file():
        raise UserError(
            f"data of 'usaco': {path or 'tests.jsonl'} does not exist; it has one JSON object a line "
            "(problem_id, test_id, input, output): put it there, or set MANAGER_DATA_DIR to the folder "
            "that has usaco/tests.jsonl"
        )
    return path


@cache
def _offsets(path: str) -> dict[str, tuple[int, ...]]:
    """Where the tests of each problem begin in the file."""
    found: dict[str, list[tuple[int, int]]] = {}
    with open(path, "rb") as stream:
        offset = 0
        for line in stream:
            if line.strip():
                row = json.loads(line)
                found.setdefault(str(row["problem_id"]), []).append((int(row["test_id"]), offset))
            offset += len(line)
    return {name: tuple(offset for _, offset in sorted(places)) for name, places in found.items()}


BENCHMARK = Usaco()
