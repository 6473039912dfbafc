"""KodCode's rows as training items: rows written by hand in its schema, judged in the real sandbox."""

from __future__ import annotations

from typing import Any

import pytest

from evaluators import benchmarks
from evaluators.benchmark import Outcome
from tests.evaluators.needs_sandbox import needs_sandbox
from trainers import kodcode
from trainers.sources import READERS

TESTS = """
from solution import add_all, Counter
import math

LIMIT = 3

def test_adds():
    assert add_all([1, 2, LIMIT]) == 6
    assert math.isclose(add_all([0.5, 0.25]), 0.75)

def test_empty():
    assert add_all([]) == 0

def test_class():
    counter = Counter()
    counter.step()
    assert counter.value() == 1
"""
SOLUTION = """
def add_all(numbers, start=0):
    return sum(numbers, start)

class Counter:
    def __init__(self):
        self.count = 0
    def step(self):
        self.count += 1
    def value(self):
        return self.count
"""
ROW = {
    "question": "Add all numbers. Also count steps.",
    "solution": SOLUTION,
    "test": TESTS,
    "style": "instruct",
    "gpt_difficulty": "easy",
    "gpt_pass_percentage": 0.9,
}


def test_the_tests_are_split_and_the_import_is_taken_out() -> None:
    tests = kodcode.read_tests(TESTS)
    assert tests is not None
    assert tests.names == ("add_all", "Counter")
    assert [test.splitlines()[-1] for test in tests.tests] == ["test_adds()", "test_empty()", "test_class()"]
    assert "solution" not in tests.setup
    assert "LIMIT = 3" in tests.setup


@pytest.mark.parametrize(
    "source",
    [
        "from solution import f\nimport pytest\ndef test_a():\n    with pytest.raises(ValueError):\n        f()",
        "from solution import f\nimport pytest\n@pytest.mark.parametrize('x', [1])\ndef test_a(x):\n    assert f(x)",
        "from solution import f\ndef test_a(tmp_path):\n    assert f(tmp_path)",
        "import solution\ndef test_a():\n    assert solution.f()",
        "from solution import *\ndef test_a():\n    assert f()",
        "from solution import f",
        "def test_a():\n    assert True",
        "def test_a(:",
        "",
    ],
)
def test_rows_that_need_pytest_itself_are_left_out(source: str) -> None:
    assert kodcode.read_tests(source) is None
    assert READERS["KodCode/KodCode-V1"].read({**ROW, "test": source}, "k/1") is None


@pytest.mark.parametrize("missing", ["question", "solution", "test"])
def test_rows_without_what_is_needed_are_left_out(missing: str) -> None:
    assert kodcode.item({**ROW, missing: None}, "k/1") is None


def test_the_prompt_shows_declarations_and_no_tests() -> None:
    item = kodcode.item(ROW, "k/1")
    assert item is not None
    (message,) = benchmarks.get("mbpp").messages(item)
    assert "def add_all(numbers, start=0):" in message["content"]
    assert "assert" not in message["content"]
    told: dict[str, Any] = {**ROW, "test_info": [{"function_declaration": "def add_all(numbers: list) -> int:"}]}
    other = kodcode.item(told, "k/1")
    assert other is not None
    assert "def add_all(numbers: list) -> int:" in benchmarks.get("mbpp").messages(other)[0]["content"]


@needs_sandbox
def test_the_solution_is_right_and_others_are_not() -> None:
    entry = READERS["KodCode/KodCode-V1-SFT-R1"].read({**ROW, "test": None, "test_code": TESTS}, "k/1")
    assert entry is not None
    benchmark = benchmarks.get(entry.benchmark)

    def outcome(answer: str) -> Outcome:
        return benchmark.score(entry.item, answer, truncated=False).outcome

    assert outcome(benchmark.gold(entry.item)) is Outcome.RIGHT
    assert outcome(benchmark.wrong(entry.item, 1)) is Outcome.WRONG
    assert outcome(benchmark.gold(entry.item).replace("sum(numbers, start)", "7")) is Outcome.WRONG
    assert outcome("no program") is Outcome.NO_ANSWER
