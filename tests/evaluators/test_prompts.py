"""How items become prompts: chat template, thinking, few shots; and the prompt that people can see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluators import benchmarks
from evaluators.benchmark import Item
from evaluators.command import show_prompt
from evaluators.prompts import SHOTS, Prompter, Prompting
from manager.errors import UserError
from tests.data import DATA, needs_data
from tests.evaluators.tiny import make_model


def test_the_prompt_of_an_item_is_what_the_template_makes_of_it(tiny_model: Path) -> None:
    shown = show_prompt("mini_math", "27+7", str(tiny_model))
    assert shown.text == "<|user|>27+7=<|end|><|assistant|>"
    assert (shown.tokens, shown.gold) == (8, "34")
    assert show_prompt("mini_math", "0", str(tiny_model)).item == next(
        iter(benchmarks.get("mini_math").items("test", None))
    ).id  # fmt: skip


def test_thinking_and_system_go_to_the_template(tiny_model: Path) -> None:
    prompting = {"mode": "chat", "thinking": False, "system": "Think."}
    shown = show_prompt("mini_math", "27+7", str(tiny_model), prompting=prompting)
    assert shown.text == "<|system|>Think.<|end|><|user|>27+7=<|end|><|assistant|><nothink>"


def test_few_shots_are_train_items_with_their_gold_answers(tmp_path: Path) -> None:
    model = make_model(tmp_path / "base", template=None)
    shown = show_prompt("mini_knowledge", "0", str(model), prompting="base_fewshot")
    parts = shown.text.split("\n\n")
    assert len(parts) == 1 + SHOTS + 1
    train = {item.fields["question"]: item for item in benchmarks.get("mini_knowledge").items("train", None)}
    for part in parts[1:-1]:
        question, _, answer = part.removeprefix("Question: ").partition("\nAnswer: ")
        assert answer == train[question].answer
    assert parts[-1].endswith("\nAnswer:")
    assert shown.stop == ("\nQuestion:",)


class NoEngine:
    """Gives the text back."""

    def plain(self, text: str) -> str:
        return text


@needs_data
def test_a_benchmark_without_train_split_never_shows_the_answer_to_the_question() -> None:
    benchmark = benchmarks.get("humaneval")
    engine: Any = NoEngine()
    prompter = Prompter.of(benchmark, Prompting.parse("base_fewshot"), engine, DATA)
    items: list[Item] = [item for item, _ in zip(benchmark.items("test", DATA), range(7), strict=False)]
    for item in items:
        text: Any = prompter.prompt(item)
        assert text.count("\nAnswer: ") == SHOTS
        assert text.count(benchmark.messages(item)[-1]["content"]) == 1


def write_task(folder: Path, task: str, train: int, test: int) -> None:
    place = folder / "legalbench" / task
    place.mkdir(parents=True)
    for split, count in (("train", train), ("test", test)):
        rows = [
            {"index": str(number), "text": f"{task} {split} {number}.", "answer": "Yes" if number % 2 else "No"}
            for number in range(count)
        ]
        if rows:
            (place / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_benchmark_of_many_tasks_takes_turns_and_shows_examples_of_the_same_task(tmp_path: Path) -> None:
    write_task(tmp_path, "hearsay", train=6, test=3)
    write_task(tmp_path, "proa", train=2, test=1)
    write_task(tmp_path, "personal_jurisdiction", train=0, test=2)
    benchmark = benchmarks.get("legalbench")
    items = list(benchmark.items("test", tmp_path))
    order = [item.fields["task"] for item in items]
    first = list(dict.fromkeys(order))
    assert set(first) == {"hearsay", "proa", "personal_jurisdiction"} == set(order[:3])
    assert order == [*first, *(task for task in first if task != "proa"), "hearsay"]
    assert [item.id for item in benchmark.items("test", tmp_path)] == [item.id for item in items]
    engine: Any = NoEngine()
    prompter = Prompter.of(benchmark, Prompting.parse("base_fewshot"), engine, tmp_path)
    shown = {item.id: str(prompter.prompt(item)) for item in items if item.fields["task"] != "personal_jurisdiction"}
    assert {name: text.count(" train ") for name, text in shown.items()} == {
        "hearsay/test/0": SHOTS, "hearsay/test/1": SHOTS, "hearsay/test/2": SHOTS, "proa/test/0": 2,
    }  # fmt: skip
    for name, text in shown.items():
        task = name.split("/")[0]
        assert text.count(f"{task} train ") == text.count(" train ")
        assert text.count(" test ") == 1
    with pytest.raises(UserError, match="no train item of 'personal_jurisdiction'"):
        prompter.prompt(next(item for item in items if item.fields["task"] == "personal_jurisdiction"))


def test_mistakes_are_told_in_one_line(tiny_model: Path, tmp_path: Path) -> None:
    wrong: list[tuple[str, tuple[str, str, str], Any]] = [
        ("mini_math", ("mini_maths", "0", str(tiny_model)), "chat"),
        ("ids are like", ("mini_math", "nope", str(tiny_model)), "chat"),
        ("no model here", ("mini_math", "0", str(tmp_path)), "chat"),
        ("chat, base_fewshot", ("mini_math", "0", str(tiny_model)), "base"),
        ("mode, thinking, system", ("mini_math", "0", str(tiny_model)), {"mod": "chat"}),
    ]
    for expected, arguments, prompting in wrong:
        with pytest.raises(UserError, match=expected) as caught:
            show_prompt(*arguments, prompting=prompting)
        assert "\n" not in str(caught.value)
