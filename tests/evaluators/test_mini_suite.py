"""The mini suite: gold is right, wrong is wrong, train and test are disjoint, programs are bounded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from evaluators import benchmarks
from evaluators.benchmark import Item, Outcome
from evaluators.benchmarks._mini_language import ProgramError, execute

MINI = ("mini_code", "mini_knowledge", "mini_math")


def items(name: str, split: str) -> list[Item]:
    return list(benchmarks.get(name).items(split, None))


@pytest.mark.parametrize("name", MINI)
def test_gold_scores_one_and_wrong_scores_zero_for_every_item(name: str) -> None:
    benchmark = benchmarks.get(name)
    for item in items(name, "test") + items(name, "train"):
        assert benchmark.score(item, benchmark.gold(item)).outcome is Outcome.RIGHT
        for seed in range(3):
            score = benchmark.score(item, benchmark.wrong(item, seed))
            assert (score.value, score.outcome) == (0.0, Outcome.WRONG), (item, seed)


@pytest.mark.parametrize("name", MINI)
def test_train_and_test_share_no_item_and_no_question(name: str) -> None:
    train, test = items(name, "train"), items(name, "test")
    assert len({item.id for item in train + test}) == len(train) + len(test)
    assert not {item.fields["question"] for item in train} & {item.fields["question"] for item in test}
    assert len(test) >= 40
    assert len(train) >= 2 * len(test)


def test_no_pair_of_summands_is_in_both_splits_either_way_round() -> None:
    pairs = {
        split: {frozenset(item.id.split("+")) for item in items("mini_math", split)} for split in ("train", "test")
    }
    assert not pairs["train"] & pairs["test"]


def test_no_function_of_mini_code_is_in_both_splits() -> None:
    functions = {split: {item.answer for item in items("mini_code", split)} for split in ("train", "test")}
    assert not functions["train"] & functions["test"]


def test_every_fact_asked_in_test_is_asked_in_train_with_other_options() -> None:
    def facts(split: str) -> set[tuple[str, ...]]:
        return {tuple(item.fields["question"].split()[:2]) for item in items("mini_knowledge", split)}

    assert facts("test") == facts("train")


@pytest.mark.parametrize("name", MINI)
def test_items_are_the_same_in_every_process(name: str) -> None:
    code = f"from evaluators import benchmarks as b; print([i.id for i in b.get({name!r}).items('test', None)])"
    environment = {"PYTHONHASHSEED": "99", "PYTHONPATH": ":".join(sys.path)}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert out.stdout.strip() == str([item.id for item in items(name, "test")])


@pytest.mark.parametrize("name", MINI)
def test_empty_huge_and_cut_off_answers_are_told_apart(name: str) -> None:
    benchmark, item = benchmarks.get(name), items(name, "test")[0]
    assert benchmark.score(item, "").outcome is Outcome.NO_ANSWER
    assert benchmark.score(item, " \n", truncated=True).outcome is Outcome.TRUNCATED
    assert benchmark.score(item, benchmark.gold(item), truncated=True).outcome is Outcome.RIGHT
    assert benchmark.score(item, "7" * 10_000_000).value == 0.0
    assert benchmark.score(item, "(" * 10_000_000).value == 0.0


def test_code_answers_are_judged_by_what_they_compute() -> None:
    benchmark = benchmarks.get("mini_code")
    item = next(item for item in items("mini_code", "train") if item.answer.startswith("2*x+"))
    summand = item.answer.removeprefix("2*x+")
    for program in (f"x+x+{summand}", f"{summand}+x*2", f"```\n2*(x)+{summand}\n```", f"-(-2*x)--{summand}"):
        assert benchmark.score(item, program).outcome is Outcome.RIGHT, program
    assert benchmark.score(item, item.fields["question"]).outcome is Outcome.WRONG


@pytest.mark.parametrize(
    "program",
    ["", "x x", "x+", "y", "(x", "x)", "9" * 20, "x*" * 20 + "x", "(" * 20 + "x" + ")" * 20, "x" + "+x" * 60,
     "x**9",
     "__import__('os')", "²", "٣", "\0"],
)  # fmt: skip
def test_bad_and_unbounded_programs_are_refused(program: str) -> None:
    with pytest.raises(ProgramError):
        execute(program, 1000)


@pytest.mark.parametrize(
    ("program", "x", "value"), [("x", 4, 4), ("2*x+3", 5, 13), ("2*(x+3)", 5, 16), ("-x-1", 2, -3)]
)
def test_programs_compute(program: str, x: int, value: int) -> None:
    assert execute(program, x) == value
