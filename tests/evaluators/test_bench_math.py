"""GSM8K, MATH-500, AIME 2024, AMC 2023: the gold answer of every row scores 1, a perturbed one 0."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from evaluators.benchmark import Item, Outcome
from evaluators.benchmarks import get
from evaluators.benchmarks._math import another
from manager.errors import UserError
from tests.data import DATA, needs_data

ITEMS = {"gsm8k": 1319, "math500": 500, "aime24": 30, "amc23": 40}
SAMPLES = {"gsm8k": 1, "math500": 1, "aime24": 16, "amc23": 16}


def _check(name: str, items: list[Item], seeds: range) -> Iterator[str]:
    benchmark = get(name)
    for item in items:
        score = benchmark.score(item, benchmark.gold(item))
        if (score.value, score.outcome) != (1.0, Outcome.RIGHT):
            yield f"{item.id} gold {item.answer!r}: {score}"
        for seed in seeds:
            wrong = benchmark.wrong(item, seed)
            score = benchmark.score(item, wrong)
            if (score.value, score.outcome) != (0.0, Outcome.WRONG):
                yield f"{item.id} wrong {wrong!r} for {item.answer!r}: {score}"


@needs_data
@pytest.mark.parametrize("name", ITEMS)
def test_every_gold_answer_is_right_and_a_perturbed_one_wrong(name: str) -> None:
    items = list(get(name).items("test", DATA))
    assert len(items) == ITEMS[name]
    assert len({item.id for item in items}) == len(items)
    assert list(_check(name, items, range(1))) == []


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "split"), [*((name, "test") for name in ITEMS), ("gsm8k", "train"), ("math500", "train")]
)
def test_many_perturbations_are_wrong(name: str, split: str) -> None:
    assert list(_check(name, list(get(name).items(split, DATA)), range(1, 6))) == []


@needs_data
@pytest.mark.parametrize("name", ITEMS)
def test_items_come_in_the_same_order_with_the_same_ids(name: str) -> None:
    assert list(get(name).items("test", DATA)) == list(get(name).items("test", DATA))


@needs_data
def test_gsm8k_final_number_counts_without_any_form() -> None:
    benchmark = get("gsm8k")
    for item in random.Random(0).sample(list(benchmark.items("test", DATA)), 200):
        for text in (
            f"So the result is {item.answer}.",
            f"<think>1 or 2?</think>\n... = ${item.answer}",
            item.answer,
        ):
            assert benchmark.score(item, text).outcome is Outcome.RIGHT, (item.id, text)


@needs_data
def test_gsm8k_prompt_shows_the_question_and_not_the_answer() -> None:
    item = next(iter(get("gsm8k").items("test", DATA)))
    (message,) = get("gsm8k").messages(item)
    assert message["role"] == "user"
    assert message["content"].startswith("Janet’s ducks lay 16 eggs per day.")
    assert message["content"].endswith("put your final answer within \\boxed{}.")
    assert "18" not in message["content"]
    assert "<<" not in get("gsm8k").gold(item)


@needs_data
def test_math500_solution_text_is_right_as_written() -> None:
    benchmark = get("math500")
    for item in benchmark.items("test", DATA):
        assert benchmark.score(item, item.fields["solution"]).outcome is Outcome.RIGHT, item.id


@pytest.mark.parametrize("name", ITEMS)
def test_sampler_is_pinned(name: str) -> None:
    sampler = get(name).sampler
    assert (sampler.samples, sampler.temperature, sampler.top_p, sampler.max_tokens) == (
        SAMPLES[name],
        0.6,
        0.95,
        16192,
    )


@pytest.mark.parametrize("name", ["gsm8k", "aime24"])
def test_split_that_does_not_exist_is_told(name: str) -> None:
    with pytest.raises(UserError, match="has no split 'validation'"):
        next(iter(get(name).items("validation", None)))


def test_perturbed_answers_differ_in_every_form() -> None:
    for answer in (
        "18",
        "-3",
        "\\frac{1}{2}",
        "(2, 3]",
        "\\text{(C)}",
        "\\text{east}",
        "p - q",
        "0.5",
        "52_8",
    ):
        assert all(another(answer, seed) != answer for seed in range(20))


@needs_data
def test_contest_benchmarks_borrow_worked_problems_of_math() -> None:
    borrowed = next(iter(get("aime24").items("train", DATA)))
    assert borrowed == next(iter(get("math500").items("train", DATA)))
    assert get("aime24").score(borrowed, get("aime24").gold(borrowed)).outcome is Outcome.RIGHT
