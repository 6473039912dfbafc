"""Planted benchmark items are found in training prompts; different problems are not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.benchmarks import get
from evaluators.contamination import (
    TEMPLATE_ITEMS,
    BenchmarkIndex,
    Overlap,
    Text,
    benchmark_texts,
    find_overlaps,
    words_of,
)
from tests.data import DATA, needs_data

QUESTION = (
    "Janet’s ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins for her "
    "friends every day with four."
)


def _index(*texts: str) -> BenchmarkIndex:
    return BenchmarkIndex(Text("bench", str(number), text) for number, text in enumerate(texts))


def test_same_text_in_another_spelling_is_exact() -> None:
    report = _index(QUESTION).compare(["unrelated words", QUESTION.upper().replace(".", " !")])
    (hit,) = report.hits
    assert (hit.prompt, hit.item, hit.overlap) == (1, "0", Overlap.EXACT)
    assert report.contaminated == {1}
    assert report.by_benchmark() == {"bench": (1, 1)}


def test_thirteen_words_in_a_row_are_an_overlap_and_twelve_are_not() -> None:
    words = words_of(QUESTION)
    index = _index(QUESTION)
    thirteen = "Here is a story: " + " ".join(words[5:18]) + " and so on"
    twelve = "Here is a story: " + " ".join(words[5:17]) + " and so on"
    (hit,) = index.compare([thirteen]).hits
    assert (hit.overlap, hit.words) == (Overlap.WORDS, " ".join(words[5:18]))
    assert index.compare([twelve]).hits == ()


def test_short_items_count_only_as_a_whole() -> None:
    index = _index("What is 2 + 2?")
    assert index.compare(["What is 2 + 2? Explain your answer."]).hits == ()
    assert index.compare(["what is 2 2"]).hits[0].overlap is Overlap.EXACT


def test_template_shared_by_many_items_is_no_overlap() -> None:
    template = "which of the following is the most likely explanation of the findings in this patient"
    texts = [f"Case {number} {'x' * number}: {template}" for number in range(TEMPLATE_ITEMS + 1)]
    assert _index(*texts).compare([f"Another case: {template}"]).hits == ()
    assert _index(*texts[:2]).compare([f"Another case: {template}"]).contaminated == {0}


@needs_data
def test_bare_question_of_any_length_is_found() -> None:
    items = list(get("amc23").items("test", DATA)) + list(get("math500").items("test", DATA))
    long_enough = [item for item in items if len(words_of(item.fields["problem"])) >= 5]
    assert len(long_enough) > 500
    report = find_overlaps((item.fields["problem"] for item in long_enough), ["amc23", "math500"], DATA)
    exact = {hit.prompt for hit in report.hits if hit.overlap is Overlap.EXACT}
    assert exact == set(range(len(long_enough)))


def test_nothing_to_compare() -> None:
    assert _index().compare([QUESTION, ""]).hits == ()
    assert _index(QUESTION, "").compare(["", " !"]).hits == ()


@given(st.lists(st.sampled_from("abcdefgh"), min_size=13, max_size=40), st.integers(0, 20))
@settings(deadline=None)
def test_hits_are_the_runs_that_the_texts_share(words: list[str], shift: int) -> None:
    other = words[shift:] + ["z"] * 3 + words[:shift]
    runs = {tuple(words[start : start + 13]) for start in range(len(words) - 12)}
    shared = any(tuple(other[start : start + 13]) in runs for start in range(len(other) - 12))
    assert bool(_index(" ".join(words)).compare([" ".join(other)]).hits) == shared


@needs_data
@pytest.mark.parametrize("name", ["gsm8k", "math500", "aime24", "amc23", "medqa", "tabfact", "pubmedqa"])
def test_planted_items_of_every_benchmark_are_found(name: str) -> None:
    benchmark = get(name)
    items = list(benchmark.items("test", DATA))[:20]
    prompts = [benchmark.messages(item)[0]["content"] for item in items]
    report = find_overlaps(prompts, [name], DATA)
    assert report.contaminated == set(range(len(items)))


@needs_data
def test_training_slices_against_their_own_benchmark() -> None:
    assert DATA is not None
    rows = [json.loads(line) for line in (DATA / "gsm8k" / "train.jsonl").open(encoding="utf-8")]
    index = BenchmarkIndex(benchmark_texts(["gsm8k"], DATA))
    report = index.compare(row["question"] for row in rows)
    assert (report.prompts, report.items) == (2000, 1319)
    assert not any(hit.overlap is Overlap.EXACT for hit in report.hits)
    assert 0 < len(report.contaminated) < 40  # sentences that two problems share
