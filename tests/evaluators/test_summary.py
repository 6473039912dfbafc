"""pass@k against counting all ways to choose, and what is undefined stays undefined."""

from __future__ import annotations

from itertools import combinations

import pytest

from evaluators.benchmark import Outcome
from evaluators.records import Record
from evaluators.summary import benchmark_summary, domain_scores, pass_at_k


@pytest.mark.parametrize("samples", [1, 3, 6])
def test_pass_at_k_is_the_share_of_choices_with_a_right_one(samples: int) -> None:
    for right in range(samples + 1):
        answers = [1] * right + [0] * (samples - right)
        for k in range(1, samples + 1):
            choices = list(combinations(answers, k))
            assert pass_at_k(samples, right, k) == pytest.approx(sum(map(any, choices)) / len(choices))


def test_pass_at_k_of_more_than_there_is_is_undefined_and_nonsense_is_refused() -> None:
    assert pass_at_k(4, 2, 8) is None
    for bad in ((4, 5, 1), (4, -1, 1), (4, 2, 0)):
        with pytest.raises(ValueError, match="pass@"):
            pass_at_k(*bad)


def record(item: str, sample: int, value: float | None, outcome: Outcome) -> Record:
    return Record(item, sample, 0, value, outcome, None, None, "", None, 3, 5, "")


def test_items_weigh_the_same_and_what_no_grader_judged_is_left_out() -> None:
    records = [
        record("a", 0, 1.0, Outcome.RIGHT),
        record("a", 1, 0.0, Outcome.WRONG),
        record("b", 0, 1.0, Outcome.RIGHT),
        record("b", 1, None, Outcome.GRADER_FAILED),
        record("c", 0, None, Outcome.ENGINE_FAILED),
        record("c", 1, None, Outcome.GRADER_FAILED),
    ]
    summary = benchmark_summary(records, "math", None, 2)
    assert summary["pass_at_1"] == pytest.approx((0.5 + 1.0) / 2)
    assert (summary["items"], summary["outcomes"]["grader_failed"], summary["outcomes"]["right"]) == (3, 2, 2)
    assert summary["pass_at_k"] == {"2": 1.0}


def test_a_benchmark_without_one_score_has_none_and_so_has_its_domain() -> None:
    lost = benchmark_summary([record("a", 0, None, Outcome.ENGINE_FAILED)], "law", None, 1)
    found = benchmark_summary([record("a", 0, 1.0, Outcome.RIGHT)], "math", None, 1)
    half = benchmark_summary([record("a", 0, 0.0, Outcome.TRUNCATED)] * 9, "math", None, 1)
    assert lost["pass_at_1"] is None
    assert domain_scores({"x": lost, "y": found, "z": half}) == {"law": None, "math": 0.5}


def test_partial_scores_have_a_mean_and_no_pass_at_k() -> None:
    summary = benchmark_summary([record("a", s, 0.25, Outcome.WRONG) for s in range(4)], "math", None, 4)
    assert (summary["pass_at_1"], summary["pass_at_k"]) == (0.25, {})
