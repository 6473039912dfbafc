"""PubMedQA, MedQA, TabFact, LegalBench, FinBench: gold answers score 1, others 0; prompts leak nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from evaluators.benchmark import Item, Outcome
from evaluators.benchmarks import finbench, get, legalbench
from evaluators.benchmarks._legalbench_tasks import INSTRUCTIONS, NEEDS_PROMPT_TEXT
from evaluators.benchmarks.tabfact import markdown
from evaluators.scoring.labels import balanced_accuracy, normal, scores_by_task
from manager.errors import UserError
from tests.data import DATA, needs_data

ITEMS = {"pubmedqa": 500, "medqa": 1273, "tabfact": 500, "legalbench": 1283, "finbench": 500}


@needs_data
@pytest.mark.parametrize("name", ITEMS)
def test_every_gold_answer_is_right_and_every_other_wrong(name: str) -> None:
    benchmark = get(name)
    items = list(benchmark.items("test", DATA))
    assert len(items) == ITEMS[name]
    assert len({item.id for item in items}) == len(items)
    for item in items:
        assert benchmark.score(item, benchmark.gold(item)).outcome is Outcome.RIGHT, item.id
        for seed in range(3):
            assert benchmark.score(item, benchmark.wrong(item, seed)).outcome is Outcome.WRONG, item.id


@needs_data
@pytest.mark.parametrize(
    ("name", "rows"), [("pubmedqa", 500), ("medqa", 1030), ("legalbench", 163), ("finbench", 500)]
)
def test_training_rows_are_scored_too(name: str, rows: int) -> None:
    benchmark = get(name)
    items = list(benchmark.items("train", DATA))
    assert len(items) == rows
    for item in items:
        assert benchmark.score(item, benchmark.gold(item)).outcome is Outcome.RIGHT, item.id


@needs_data
@pytest.mark.parametrize("name", ITEMS)
def test_prompt_states_the_form_and_nothing_of_the_answer(name: str) -> None:
    benchmark = get(name)
    for item in benchmark.items("test", DATA):
        (message,) = benchmark.messages(item)
        assert 'finish with one line of the form "Answer: X"' in message["content"]
        assert f"Answer: {item.answer}" not in message["content"]
        assert "{" not in message["content"].split("\n\n")[-1]


@needs_data
def test_pubmedqa_picks_its_test_half_from_the_joined_split(tmp_path: Path) -> None:
    assert DATA is not None
    folder = tmp_path / "pubmedqa"
    folder.mkdir()
    rows = [(DATA / "pubmedqa" / f"{split}.jsonl").read_text(encoding="utf-8") for split in ("train", "test")]
    (folder / "train.jsonl").write_text("".join(rows), encoding="utf-8")
    for split in ("test", "train"):
        assert {item.id for item in get("pubmedqa").items(split, tmp_path)} == {
            item.id for item in get("pubmedqa").items(split, DATA)
        }
    prompt = get("pubmedqa").messages(next(iter(get("pubmedqa").items("test", tmp_path))))[0]["content"]
    assert "Conclusion" not in prompt


@needs_data
def test_medqa_option_text_counts_as_its_letter() -> None:
    benchmark = get("medqa")
    missed = []
    for item in benchmark.items("test", DATA):
        options = item.fields["options"]
        if len({text.lower() for text in options.values()}) == 4 and all(
            len(text) > 3 for text in options.values()
        ):
            score = benchmark.score(item, f"The answer is {options[item.answer]}.")
            if score.outcome is not Outcome.RIGHT:
                missed.append((item.id, options, score))
    assert missed == []


def test_table_becomes_markdown() -> None:
    assert (
        markdown("name#wins\r\na|b#1\nlast\n") == "| name | wins |\n| --- | --- |\n| a\\|b | 1 |\n| last |  |"
    )


def test_legalbench_declares_the_exact_match_tasks() -> None:
    assert len(INSTRUCTIONS) == 155
    assert "rule_qa" not in INSTRUCTIONS
    assert len(NEEDS_PROMPT_TEXT) == 34


@needs_data
def test_legalbench_hides_fields_that_give_the_answer_away() -> None:
    for item in get("legalbench").items("test", DATA):
        assert not {"aic_is_met", "parties_are_diverse", "slice", "index", "answer"} & set(
            item.fields["shown"]
        )


@needs_data
def test_legalbench_labels_are_found_in_the_data() -> None:
    assert legalbench.labels_of("abercrombie", DATA) == (
        "arbitrary",
        "descriptive",
        "fanciful",
        "generic",
        "suggestive",
    )
    assert legalbench.labels_of("successor_liability", DATA) == (
        "de facto merger",
        "express agreement",
        "fraudulent conveyance",
        "mere continuation",
    )
    with pytest.raises(UserError, match="no choice among labels"):
        legalbench.labels_of("rule_qa", DATA)


@needs_data
def test_legalbench_several_labels_must_all_be_named() -> None:
    benchmark = get("legalbench")
    items = [item for item in benchmark.items("train", DATA) if item.fields["task"] == "successor_liability"]
    both = next(item for item in items if "," in item.answer)
    first, second = both.answer.split(",")
    assert benchmark.score(both, f"Answer: {second}, {first}").outcome is Outcome.RIGHT
    assert benchmark.score(both, f"Answer: {first}").outcome is Outcome.WRONG
    assert benchmark.score(both, "I do not know.").outcome is Outcome.NO_ANSWER


def test_legalbench_task_with_its_own_prompt_text(tmp_path: Path) -> None:
    task = "maud_type_of_consideration"
    folder = tmp_path / "legalbench" / task
    folder.mkdir(parents=True)
    rows = [
        {"index": "0", "text": "in cash", "answer": "A"},
        {"index": "1", "text": "in stock", "answer": "B"},
    ]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(UserError, match="data of 'legalbench' not found"):
        next(iter(get("legalbench").items("test", tmp_path)))
    (folder / "base_prompt.txt").write_text(
        "Option A: Cash\nOption B: Stock\n\nAgreement: {{text}}\nAnswer:", encoding="utf-8"
    )
    first, second = get("legalbench").items("test", tmp_path)
    prompt = get("legalbench").messages(first)[0]["content"]
    assert prompt.startswith("Option A: Cash\nOption B: Stock\n\nAgreement: in cash\n\nThink step by step.")
    assert get("legalbench").score(second, "A merger for stock. Answer: B").outcome is Outcome.RIGHT
    assert get("legalbench").score(second, "A merger for stock.").outcome is Outcome.NO_ANSWER


def test_balanced_accuracy_weighs_labels_alike() -> None:
    judged = [("Yes", 1.0), ("yes", 1.0), ("Yes.", 0.0), ("Yes", 0.0), ("No", 1.0)]
    assert balanced_accuracy(judged) == pytest.approx((2 / 4 + 1 / 1) / 2)
    assert balanced_accuracy([]) is None
    found = scores_by_task([("a", "Yes", 1.0), *(("b", *each) for each in judged)])
    assert found["tasks"]["a"] == {"samples": 1, "exact_match": 1.0, "balanced_accuracy": 1.0}
    assert found["tasks"]["b"] == {"samples": 5, "exact_match": 0.6, "balanced_accuracy": 0.75}
    assert (found["balanced_accuracy"], found["exact_match_by_task"]) == (0.875, 0.8)
    assert scores_by_task([])["balanced_accuracy"] is None


@needs_data
def test_the_result_has_the_balanced_accuracy_of_each_task() -> None:
    """Somebody who always says the most frequent label of each task is right half the time, at two labels."""
    benchmark = get("legalbench")
    items = list(benchmark.items("test", DATA))
    frequent: dict[str, str] = {}
    for task in {item.fields["task"] for item in items}:
        golds = [item.answer for item in items if item.fields["task"] == task]
        frequent[task] = max(sorted(set(golds)), key=golds.count)
    judged = [(item.id, item.answer, float(item.answer == frequent[item.fields["task"]])) for item in items]
    found = benchmark.more_scores(judged)  # type: ignore[attr-defined]
    for task, scores in found["tasks"].items():
        labels = {item.answer for item in items if item.fields["task"] == task}
        assert scores["balanced_accuracy"] == pytest.approx(1 / len({normal(label) for label in labels})), task
        assert scores["exact_match"] >= scores["balanced_accuracy"]
    perfect = benchmark.more_scores([(item.id, item.answer, 1.0) for item in items])  # type: ignore[attr-defined]
    assert perfect["balanced_accuracy"] == 1.0


@needs_data
def test_finbench_stand_in_rows_say_so_and_give_way_to_real_ones(tmp_path: Path) -> None:
    assert DATA is not None
    assert all(item.id.startswith("cd2_source/") for item in get("finbench").items("test", DATA))
    (tmp_path / "finbench" / "cd2").mkdir(parents=True)
    shutil.copy(DATA / "finbench_cd2_source" / "test.jsonl", tmp_path / "finbench" / "cd2" / "test.jsonl")
    shutil.copytree(DATA / "finbench_cd2_source", tmp_path / "finbench_cd2_source")
    (tmp_path / "finben" / "german").mkdir(parents=True)
    row = {
        "id": "g1",
        "query": "Good or bad credit?\nAnswer:",
        "answer": "bad",
        "choices": ["good", "bad"],
        "gold": 1,
    }
    (tmp_path / "finben" / "german" / "test.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    items = list(get("finbench").items("test", tmp_path))
    assert {item.fields["subsource"] for item in items} == {"finbench/cd2", "finben/german"}
    last = items[-1]
    assert last.answer == "bad"
    assert get("finbench").score(last, "Answer: bad").outcome is Outcome.RIGHT
    assert finbench.BENCHMARK.messages(last)[0]["content"].startswith("Good or bad credit?\n\nThink")


@needs_data
def test_finbench_record_is_listed_line_by_line() -> None:
    item: Item = next(iter(get("finbench").items("test", DATA)))
    content = get("finbench").messages(item)[0]["content"]
    assert "- LIMIT BAL: 20000.0\n- SEX: 2.0\n" in content
    assert "profile" not in content


@needs_data
@pytest.mark.parametrize("name", ["pubmedqa", "medqa", "tabfact", "legalbench", "finbench"])
def test_empty_and_cut_off_answers_are_told_apart(name: str) -> None:
    benchmark = get(name)
    item = next(iter(benchmark.items("test", DATA)))
    assert benchmark.score(item, "").outcome is Outcome.NO_ANSWER
    assert benchmark.score(item, "Let us think", truncated=True).outcome is Outcome.TRUNCATED
