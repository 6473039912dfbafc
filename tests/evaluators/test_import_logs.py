"""Logs of lm-eval and inspect come into the store with both scores; what does not fit is listed."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from evaluators import benchmarks
from evaluators.benchmark import Item
from evaluators.import_logs import import_logs
from evaluators.records import OutcomeFiles, Record
from manager.atomic import read_jsonl
from manager.errors import UserError
from manager.store import Store
from tests.data import DATA, needs_data


def items(name: str, count: int) -> list[Item]:
    return list(benchmarks.get(name).items("test", DATA))[:count]


def by_key(outcomes: Path, benchmark: str) -> dict[tuple[str, int], Record]:
    return {record.key: record for record in OutcomeFiles(outcomes).finished(benchmark)}


def lm_eval_row(place: int, question: str, texts: list[str], score: float, **more: Any) -> dict[str, Any]:
    """A line of samples_*.jsonl as lm-eval 0.4 writes it."""
    return {
        "doc_id": place,
        "doc": {"question": question, "answer": "as in the data #### 1"},
        "target": "1",
        "arguments": {"gen_args_0": {"arg_0": f"Question: {question}\nAnswer:", "arg_1": {"until": ["Question:"]}}},
        "resps": [texts],
        "filtered_resps": ["1"],
        "filter": "strict-match",
        "metrics": ["exact_match"],
        "exact_match": score,
        "doc_hash": "0" * 64,
        **more,
    }


def write_lm_eval(folder: Path, task: str, rows: list[dict[str, Any]], model: str | None = "org/model") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"samples_{task}_2026-01-02T03-04-05.678901.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if model:
        (folder / "results_2026-01-02T03-04-05.678901.json").write_text(json.dumps({"model_name": model}))
    return folder


@needs_data
def test_lm_eval_samples_are_scored_again_and_disagreements_are_listed(tmp_path: Path) -> None:
    chosen = items("gsm8k", 4)
    gold = [benchmarks.get("gsm8k").gold(item) for item in chosen]
    question = [item.fields["problem"] for item in chosen]
    rows = [
        lm_eval_row(0, question[0], [gold[0]], 0.0),  # the strict filter missed it
        lm_eval_row(0, question[0], [gold[0]], 1.0, filter="flexible-extract"),
        lm_eval_row(1, question[1], [gold[1]], 0.0),  # lm-eval says wrong, it is right
        lm_eval_row(2, question[2], ["I do not know."], 0.0),
        lm_eval_row(3, "A question that the data does not have?", ["5"], 1.0),
    ]
    store = Store.open(tmp_path / "store", create=True)
    found = import_logs(store, "lm-eval", write_lm_eval(tmp_path / "log", "gsm8k_cot", rows), data_dir=DATA)
    assert (found.benchmark, found.records, found.rescored, found.unmatched) == ("gsm8k", 3, 3, ("3",))
    assert [(d.item, d.theirs, d.ours) for d in found.disagreements] == [(chosen[1].id, 0.0, 1.0)]
    run = store.run(found.job)
    assert run.is_done()
    records = by_key(run.outcomes, "gsm8k")
    assert [records[item.id, 0].value for item in chosen[:3]] == [1.0, 1.0, 0.0]
    comparison = list(read_jsonl(run.path / "artifacts" / "imported-gsm8k.jsonl"))
    first = next(line for line in comparison if line["item"] == chosen[0].id)
    assert first["their_scores"] == {"exact_match,strict-match": 0.0, "exact_match,flexible-extract": 1.0}
    assert (first["theirs"], first["ours"], first["agree"]) == (1.0, 1.0, True)
    assert run.job().config["model"]["name"] == "org/model"
    result = run.result()
    assert result is not None
    assert result["benchmarks"]["gsm8k"]["pass_at_1"] == pytest.approx(2 / 3)


def test_the_same_log_again_is_the_same_job_and_adds_nothing(tmp_path: Path) -> None:
    chosen = items("mini_knowledge", 3)
    rows = [lm_eval_row(n, item.fields["question"], ["a", "b"], 1.0) for n, item in enumerate(chosen)]
    store = Store.open(tmp_path / "store", create=True)
    folder = write_lm_eval(tmp_path / "log", "mini_knowledge", rows)
    first, second = (import_logs(store, "lm-eval", folder) for _ in range(2))
    assert first == second
    assert first.records == 6  # two repeats an item
    assert len(list(read_jsonl(store.run(first.job).outcomes / "mini_knowledge.jsonl"))) == 6


def test_where_only_likelihoods_were_compared_their_score_stays(tmp_path: Path) -> None:
    item = items("mini_knowledge", 1)[0]
    row = lm_eval_row(0, item.fields["question"], [], 1.0) | {"resps": [[[-1.5, False]], [[-0.5, True]]]}
    store = Store.open(tmp_path / "store", create=True)
    found = import_logs(store, "lm-eval", write_lm_eval(tmp_path / "log", "mini_knowledge", [row]))
    assert (found.records, found.rescored) == (1, 0)
    record = next(iter(by_key(store.run(found.job).outcomes, "mini_knowledge").values()))
    assert (record.value, "own score" in record.why) == (1.0, True)


def inspect_log(chosen: list[Item], answers: list[tuple[str, str, str]]) -> dict[str, Any]:
    """A log of inspect: answer, stop reason and grade of each item."""
    samples = [
        {
            "id": number + 1, "epoch": 1, "input": f"Choose one.\n\n{item.fields['question']}\nAnswer:", "target": "x",
            "output": {
                "model": "openai/gpt", "usage": {"output_tokens": 3},
                "choices": [{"message": {"role": "assistant", "content": text}, "stop_reason": stop}],
            },
            "scores": {"choice": {"value": grade, "answer": "A"}},
        }
        for number, (item, (text, stop, grade)) in enumerate(zip(chosen, answers, strict=True))
    ]  # fmt: skip
    return {"version": 2, "status": "success", "eval": {"task": "me/mini_knowledge", "model": "openai/gpt"},
            "samples": samples}  # fmt: skip


@pytest.mark.parametrize("zipped", [False, True])
def test_inspect_logs_in_both_their_formats(tmp_path: Path, zipped: bool) -> None:
    chosen = items("mini_knowledge", 3)
    gold = benchmarks.get("mini_knowledge").gold(chosen[0])
    log = inspect_log(chosen, [(gold, "stop", "C"), ("Hmm", "max_tokens", "I"), (gold + "!", "stop", "P")])
    path = tmp_path / ("log.eval" if zipped else "log.json")
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("header.json", json.dumps({key: log[key] for key in ("version", "eval")}))
            for sample in log["samples"]:
                archive.writestr(f"samples/{sample['id']}_epoch_1.json", json.dumps(sample))
    else:
        path.write_text(json.dumps(log))
    store = Store.open(tmp_path / "store", create=True)
    found = import_logs(store, "inspect", path)
    records = by_key(store.run(found.job).outcomes, "mini_knowledge")
    assert [records[item.id, 0].outcome for item in chosen[:2]] == ["right", "truncated"]
    assert [(d.item, d.theirs) for d in found.disagreements] == [(chosen[2].id, 0.5)]
    assert store.run(found.job).job().config["model"]["name"] == "openai/gpt"


def test_what_is_no_log_is_told_in_one_line(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    item = items("mini_knowledge", 1)[0]
    row = lm_eval_row(0, item.fields["question"], ["a"], 1.0)
    broken = tmp_path / "broken" / "samples_mini_math_2026-01-02T03-04-05.6.jsonl"
    broken.parent.mkdir()
    broken.write_text('{"doc_id": 0}\n{"doc')
    (tmp_path / "log.json").write_text("[]")
    (tmp_path / "empty").mkdir()
    cases: list[tuple[str, str, Path, dict[str, str]]] = [
        ("lm-eval, inspect", "helm", tmp_path, {}),
        ("log_samples", "lm-eval", tmp_path / "empty", {}),
        (":2: not a sample", "lm-eval", broken, {}),
        ("not a log of inspect", "inspect", tmp_path / "log.json", {}),
        ("--benchmark", "lm-eval", write_lm_eval(tmp_path / "a", "hellaswag", [row]), {}),
        ("--model", "lm-eval", write_lm_eval(tmp_path / "b", "mini_knowledge", [row], model=None), {}),
        ("none of its 1 samples", "lm-eval", tmp_path / "a", {"benchmark": "mini_code"}),
        ("there are: ", "lm-eval", tmp_path / "a", {"benchmark": "hellaswag"}),
    ]
    for expected, tool, path, more in cases:
        with pytest.raises(UserError, match=expected) as caught:
            import_logs(store, tool, path, **more)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    assert store.job_ids() == []
