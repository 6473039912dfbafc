"""Demonstrations: the wanted share wrong, the loss on the answer alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluators import benchmarks
from manager.run import Failed, Run
from tests.trainers import running
from trainers import data, scratch, sft

MATH = {"benchmark": "mini_math", "split": "train", "weight": 3}


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


def test_what_repeats_a_benchmark_is_not_demonstrated_either(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A domain that is decontaminated is so for supervised training too, not for its prompts alone."""
    folder = tmp_path / "data"
    eggs = "Janet's ducks lay sixteen eggs a day and she eats three of them for breakfast every morning. How many?"
    seven = {"problem": "Seven times six?", "answer": "42"}
    rows = {"gsm8k/test": [{"question": eggs, "answer": "#### 13"}],
            "deepscaler/train": [{"problem": eggs, "answer": "13"}, seven]}  # fmt: skip
    for name, listed in rows.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in listed))
    monkeypatch.setenv("MANAGER_DATA_DIR", str(folder))
    source = {"hub": "agentica-org/DeepScaleR-Preview-Dataset", "split": "train", "revision": "unpinned"}
    setting = {"seed": 0, "sources": [source], "decontaminate": ["gsm8k"]}
    directory = running.add(root, "sft", running.sft_config(data=setting))
    [row] = sft._rows(Run(directory, directory.job(), tmp_path), {"max_steps": 10})
    assert row["prompt"][0]["content"].startswith("Seven times six?")
    assert "42" in row["completion"][0]["content"]
