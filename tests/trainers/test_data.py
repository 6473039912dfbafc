"""What is drawn for training: from the config alone, size-matched, repeatable."""

from __future__ import annotations

import pytest

from evaluators import benchmarks
from manager.run import Failed
from trainers import data, scratch

KNOWLEDGE = {"benchmark": "mini_knowledge", "split": "train", "weight": 1}
MATH = {"benchmark": "mini_math", "split": "train", "weight": 3}


def test_shares_add_up_and_follow_the_weights():
    assert data.shares([1, 1, 1], 40000) == [13334, 13333, 13333]
    assert data.shares([3, 1], 8) == [6, 2]


def test_the_same_draw_for_the_same_seed_and_another_for_another():
    drawn = [data.draw({"seed": seed, "size": 20, "sources": [KNOWLEDGE]}) for seed in (42, 42, 43)]
    assert drawn[0] == drawn[1]
    assert {row.item.id for row in drawn[0]} != {row.item.id for row in drawn[2]}


def test_without_a_size_the_smallest_source_decides_in_proportion():
    rows = data.draw({"seed": 0, "sources": [KNOWLEDGE, MATH]})
    count = {name: sum(row.benchmark == name for row in rows) for name in ("mini_knowledge", "mini_math")}
    sizes = {name: len(list(benchmarks.get(name).items("train", None))) for name in count}
    assert abs(count["mini_math"] - 3 * count["mini_knowledge"]) <= 3
    assert all(count[name] <= sizes[name] for name in count)
    assert len({(row.benchmark, row.item.id) for row in rows}) == len(rows)


def test_more_prompts_than_there_are_is_told():
    with pytest.raises(Failed, match=r"lower data\.size"):
        data.draw({"seed": 0, "size": 10**6, "sources": [KNOWLEDGE]})


def test_an_item_survives_the_way_through_the_data_set():
    item = next(benchmarks.get("mini_knowledge").items("train", None))
    again = data.item_from_json(data.item_to_json(item))
    benchmark = benchmarks.get("mini_knowledge")
    assert benchmark.score(again, benchmark.gold(item)).value == 1.0
    assert benchmark.score(again, benchmark.wrong(item, 0)).value == 0.0


def test_a_job_made_for_another_version_of_a_benchmark_does_not_run():
    with pytest.raises(Failed, match="run `manager sweep` again"):
        data.draw({"seed": 0, "sources": [{**KNOWLEDGE, "version": 10**6}]})


def test_the_wanted_share_of_demonstrations_is_wrong_and_differs_when_drawn_again():
    setting = {"seed": 0, "wrong_share": 0.4, "sources": [MATH]}
    rows = data.demonstrations(setting, 4000)
    assert len(rows) == 4000
    right = 0
    answers: dict[str, set[str]] = {}
    benchmark = benchmarks.get("mini_math")
    items = {benchmark.messages(item)[0]["content"]: item for item in benchmark.items("train", None)}
    for row in rows:
        question, answer = row["prompt"][0]["content"], row["completion"][0]["content"]
        answers.setdefault(question, set()).add(answer)
        right += benchmark.score(items[question], answer).value == 1.0
    assert 0.55 < right / len(rows) < 0.65
    assert max(map(len, answers.values())) > 2


def test_the_loss_is_on_the_answer_alone():
    tokenizer = scratch.make_tokenizer(64)
    rows = [{"prompt": [{"role": "user", "content": "1+1="}], "completion": [{"role": "assistant", "content": "2"}]}]
    columns, too_long = data.tokenize(rows, tokenizer, 64)
    assert too_long == 0
    [ids], [labels] = columns["input_ids"], columns["labels"]
    answered = [one for one in labels if one != data.IGNORED]
    assert tokenizer.decode(answered) == "2<|im_end|>"
    assert tokenizer.decode(ids).endswith("1+1=<|im_end|><|im_start|>a 2<|im_end|>")
    with pytest.raises(Failed, match="longer than"):
        data.tokenize(rows, tokenizer, 3)
