"""The evaluation job with a real model: what it records, what it resumes, what it says of bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from evaluators import benchmarks
from evaluators import run as evaluation
from evaluators.benchmark import Outcome
from evaluators.benchmark_data import identity
from evaluators.engine import sample_seed
from evaluators.records import Record
from manager.atomic import read_jsonl
from manager.job import Job, Kind
from manager.run import Failed, Run, Stopped
from manager.store import Store
from tests.evaluators.tiny import config, entry, make_model, make_run

FIELDS = ["item", "sample", "seed", "value", "outcome", "extracted", "gold", "why", "ended", "prompt_tokens",
          "completion_tokens", "text", "in_thinking"]  # fmt: skip


def outcomes(run: Run) -> dict[tuple[str, str, int], dict[str, Any]]:
    """All records of a run by key; no key may be there twice."""
    records: dict[tuple[str, str, int], dict[str, Any]] = {}
    for path in sorted(run.directory.outcomes.glob("*.jsonl")):
        for record in read_jsonl(path):
            key = (path.stem, record["item"], record["sample"])
            assert key not in records
            records[key] = record
    return records


def journal(run: Run, kind: str) -> list[dict[str, Any]]:
    return [record for record in read_jsonl(run.attempt_dir / "journal.jsonl") if record["type"] == kind]


def test_every_sample_has_its_record_and_the_summary_counts_them(tiny_model: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, config(tiny_model))
    summary = evaluation.main(run)
    records = outcomes(run)
    assert len(records) == 3 * 6 * 4
    for (benchmark, item, sample), record in records.items():
        assert list(record) == FIELDS
        assert record["seed"] == sample_seed(7, benchmark, item, sample)
        assert record["prompt_tokens"] > 0
    assert set(summary["benchmarks"]) == {"mini_math", "mini_code", "mini_knowledge"}
    for name, part in summary["benchmarks"].items():
        assert (part["items"], part["samples"], sum(part["outcomes"].values())) == (6, 4, 24)
        values = [record["value"] for key, record in records.items() if key[0] == name]
        assert part["pass_at_1"] == pytest.approx(sum(values) / 24)
    logged = {name: value for record in journal(run, "metrics") for name, value in record["values"].items()}
    assert logged["mini_math/pass@1"] == summary["benchmarks"]["mini_math"]["pass_at_1"]
    assert set(logged) == {"mini_math/pass@1", "mini_code/pass@1", "mini_knowledge/pass@1",
                           "math/pass@1", "code/pass@1", "knowledge/pass@1"}  # fmt: skip
    progress = json.loads((run.attempt_dir / "progress.json").read_text())
    assert (progress["step"], progress["total"], progress["unit"]) == (72, 72, "sample")
    assert not (run.directory.outcomes / "generated").exists()


def test_a_sample_does_not_depend_on_its_company(tiny_model: Path, tmp_path: Path) -> None:
    whole = make_run(tmp_path / "a", config(tiny_model))
    part = make_run(tmp_path / "b", config(tiny_model, entry("mini_code", limit=2)))
    evaluation.main(whole)
    evaluation.main(part)
    few, all_of_them = outcomes(part), outcomes(whole)
    assert len(few) == 8
    assert all(all_of_them[key] == record for key, record in few.items())


def start_job(root: Path, model: Path, settings: dict[str, Any]) -> subprocess.Popen[bytes]:
    """The job in a process of its own, as the worker runs it."""
    code = (
        "import json, sys; from pathlib import Path; from tests.evaluators.tiny import make_run;"
        "from evaluators.run import main; main(make_run(Path(sys.argv[1]), json.loads(sys.argv[2])))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(root), json.dumps(settings)],
        cwd=Path(__file__).parents[2], start_new_session=True,
    )  # fmt: skip


def lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("jobs/*/outcomes/*.jsonl"))


def test_rows_that_are_others_than_when_the_job_was_made_are_not_asked(tiny_model: Path, tmp_path: Path) -> None:
    data = tmp_path / "data" / "gsm8k"
    data.mkdir(parents=True)
    for split, row in (
        ("test", '{"question": "1+1?", "answer": "#### 2"}'),
        ("train", '{"question": "2", "answer": "#### 2"}'),
    ):
        (data / f"{split}.jsonl").write_text(row + "\n")
    known = {"rows": identity("gsm8k", data.parent), "example_rows": identity("gsm8k", data.parent, "train")}
    asked = {**entry("gsm8k", samples=1, max_tokens=4), "data": known}
    settings = config(tiny_model, asked, prompting="base_fewshot", data_dir=str(data.parent))
    make_task(tmp_path, settings)
    for split in ("test", "train"):
        path = data / f"{split}.jsonl"
        before = path.read_text()
        path.write_text(before.replace("2", "3"))
        with pytest.raises(Failed, match=f"its {split} rows on this disk are not those") as told:
            make_task(tmp_path, settings)
        assert told.value.cause == "data_changed"
        path.write_text(before)


def make_task(root: Path, settings: dict[str, Any]) -> None:
    evaluation.Evaluation(make_run(root / "store", settings))


def test_killed_at_any_time_and_started_again_it_equals_an_undisturbed_run(tiny_model: Path, tmp_path: Path) -> None:
    entries = [entry(name, limit=40) for name in ("mini_math", "mini_code", "mini_knowledge")]
    settings = config(tiny_model, *entries, engine={"name": "transformers", "batch_size": 4})
    undisturbed = make_run(tmp_path / "undisturbed", settings)
    evaluation.main(undisturbed)
    disturbed = tmp_path / "disturbed"
    kills = 0
    for wanted in (1, 200):
        process = start_job(disturbed, tiny_model, settings)
        deadline = time.monotonic() + 120
        while lines(disturbed) < wanted and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 1
    last = make_run(disturbed, settings)
    before = lines(disturbed)
    assert evaluation.main(last)["benchmarks"] == evaluation.main(undisturbed)["benchmarks"]
    assert outcomes(last) == outcomes(undisturbed)
    assert lines(disturbed) == 480 > before
    assert journal(last, "event")[0]["name"] == "resumed"


def test_what_was_generated_but_not_scored_is_not_generated_again(tiny_model: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, config(tiny_model, entry("mini_math", limit=2)))
    item = next(iter(entry_items("mini_math")))
    generated = run.directory.outcomes / "generated" / "mini_math.jsonl"
    generated.parent.mkdir(parents=True)
    value = {"item": item.id, "sample": 0, "text": f"it is {item.answer}", "ended": "stop",
             "prompt_tokens": 3, "completion_tokens": 9}  # fmt: skip
    generated.write_text(json.dumps(value) + '\n{"item": "torn')
    evaluation.main(run)
    record = outcomes(run)["mini_math", item.id, 0]
    assert (record["text"], record["outcome"], record["value"]) == (f"it is {item.answer}", "right", 1.0)


def test_a_prompt_that_opens_thinking_is_told_to_the_scorer_and_recorded(tmp_path: Path) -> None:
    opening = "{% for message in messages %}{{ message['content'] }}{% endfor %}<|assistant|><think>\n"
    model = make_model(tmp_path / "model", template=opening, context=1024)
    rows = tmp_path / "data" / "math500" / "test.jsonl"
    rows.parent.mkdir(parents=True)
    rows.write_text(json.dumps({"problem": "27+7", "solution": "", "answer": "34", "unique_id": "one"}) + "\n")
    asked = entry("math500", samples=3, max_tokens=4, temperature=1.0)
    run = make_run(tmp_path / "store", config(model, asked, data_dir=str(tmp_path / "data")))
    item = next(iter(benchmarks.get("math500").items("test", tmp_path / "data")))
    generated = run.directory.outcomes / "generated" / "math500.jsonl"
    generated.parent.mkdir(parents=True)
    texts = ("so it is \\boxed{34} or", "perhaps \\boxed{3}</think> it is \\boxed{34}")
    facts = {"item": item.id, "ended": "length", "prompt_tokens": 3, "completion_tokens": 9, "in_thinking": True}
    generated.write_text(
        "".join(json.dumps({**facts, "sample": place, "text": text}) + "\n" for place, text in enumerate(texts))
    )
    evaluation.main(run)
    records = [outcomes(run)["math500", item.id, sample] for sample in range(3)]
    assert [record["in_thinking"] for record in records] == [True] * 3  # the one of the engine too
    assert tuple(record["text"] for record in records[:2]) == texts
    assert [record["outcome"] for record in records[:2]] == ["truncated", "right"]


def test_records_of_before_there_was_in_thinking_are_read() -> None:
    old = {name: None for name in FIELDS if name != "in_thinking"} | {"outcome": "right", "ended": "stop"}
    assert Record.from_json(old).in_thinking is False


def entry_items(name: str) -> list[Any]:
    return list(benchmarks.get(name).items("test", None))


def test_a_finished_job_loads_no_engine(tiny_model: Path, tmp_path: Path) -> None:
    settings = config(tiny_model, entry("mini_math", limit=1))
    first = evaluation.main(make_run(tmp_path, settings))
    again = make_run(tmp_path, settings)
    assert evaluation.main(again) == first
    assert "engine_loaded" not in [record["name"] for record in journal(again, "event")]


def test_asked_to_stop_it_stops_and_goes_on_later(tiny_model: Path, tmp_path: Path) -> None:
    settings = config(tiny_model, entry("mini_math", limit=30), engine={"name": "transformers", "batch_size": 2})
    run = make_run(tmp_path, settings)
    plain = run.progress

    def progress(step: int, *rest: Any, **values: Any) -> None:
        plain(step, *rest, **values)
        if step == 10:
            run.request_stop("time is up")

    run.progress = progress  # type: ignore[method-assign]
    with pytest.raises(Stopped, match="time is up"):
        evaluation.main(run)
    assert 10 <= len(outcomes(run)) < 120
    assert evaluation.main(make_run(tmp_path, settings))["benchmarks"]["mini_math"]["outcomes"]["engine_failed"] == 0
    assert len(outcomes(run)) == 120


def test_prompts_that_do_not_fit_are_recorded_as_too_long(tmp_path: Path) -> None:
    model = make_model(tmp_path / "short", context=20)
    run = make_run(tmp_path / "store", config(model, entry("mini_knowledge", limit=4), entry("mini_math", limit=4)))
    summary = evaluation.main(run)
    assert summary["benchmarks"]["mini_knowledge"]["outcomes"][Outcome.TOO_LONG] == 4 * 4
    assert summary["benchmarks"]["mini_knowledge"]["pass_at_1"] == 0.0
    assert summary["benchmarks"]["mini_math"]["outcomes"][Outcome.TOO_LONG] == 0
    record = next(record for key, record in outcomes(run).items() if key[0] == "mini_knowledge")
    assert record["completion_tokens"] == 0
    assert "20 of context" in record["why"]


def failure(root: Path, settings: dict[str, Any]) -> Failed:
    with pytest.raises(Failed) as caught:
        evaluation.main(make_run(root, settings))
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_model_path_that_does_not_exist(tmp_path: Path) -> None:
    error = failure(tmp_path, config(tmp_path / "nowhere"))
    assert error.cause == "model_missing"
    assert str(tmp_path / "nowhere") in str(error)


def test_a_broken_tokenizer(tiny_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in tiny_model.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    (broken / "tokenizer.json").write_text('{"model": ')
    assert failure(tmp_path / "store", config(broken)).cause == "tokenizer"


def test_weights_that_are_cut_off(tiny_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in tiny_model.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    (broken / "model.safetensors").write_bytes((tiny_model / "model.safetensors").read_bytes()[:1000])
    assert failure(tmp_path / "store", config(broken)).cause == "model"


def test_no_chat_template_and_the_way_round_it(tmp_path: Path) -> None:
    model = make_model(tmp_path / "base", template=None, context=512)
    error = failure(tmp_path / "store", config(model))
    assert error.cause == "no_chat_template"
    assert "base_fewshot" in str(error)
    summary = evaluation.main(make_run(tmp_path / "store", config(model, prompting="base_fewshot")))
    assert summary["benchmarks"]["mini_math"]["items"] == 6


def test_a_benchmark_of_another_version(tiny_model: Path, tmp_path: Path) -> None:
    old = {**entry("mini_math"), "version": 99}
    error = failure(tmp_path, config(tiny_model, old))
    assert (error.cause, error.retryable) == ("benchmark_version", False)
    assert "benchmarks.mini_math.version" in str(error)


def test_unknown_benchmarks_engines_and_options_list_what_exists(tiny_model: Path, tmp_path: Path) -> None:
    assert "mini_math" in str(failure(tmp_path, config(tiny_model, {**entry("mini_math"), "name": "mini_maths"})))
    assert "vllm" in str(failure(tmp_path, config(tiny_model, engine={"name": "vlm"})))
    assert "batch_size" in str(failure(tmp_path, config(tiny_model, engine={"name": "transformers", "batchsize": 2})))


def exported(model: Path, folder: Path, step: int) -> Path:
    """The model as a training job leaves it."""
    folder.mkdir(parents=True)
    for path in model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "COMPLETE.json").write_text(json.dumps({"source": {"job": "abc", "step": step}}))
    return folder


def test_the_step_of_a_folder_is_that_of_its_export(tiny_model: Path, tmp_path: Path) -> None:
    model = exported(tiny_model, tmp_path / "exported", 40)
    run = make_run(tmp_path / "store", config(model, entry("mini_math", limit=1)))
    assert evaluation.main(run)["model_step"] == 40
    assert {record["step"] for record in journal(run, "metrics")} == {40}


@pytest.mark.parametrize(("kind", "checkpoint", "step"), [("rl", "last", 8), ("rl", 8, 8), ("sft", "last", 0)])
def test_the_step_is_the_checkpoints_and_a_base_is_at_zero(
    tiny_model: Path, tmp_path: Path, kind: str, checkpoint: int | str, step: int
) -> None:
    store = Store.open(tmp_path, create=True)
    training = store.add_job(Job(Kind(kind), {"seed": 0}))
    exported(tiny_model, training.path / "models" / "step-000008", 8)
    training.write_result({"outcome": "done", "last_step": 8})
    settings = {**config(tiny_model, entry("mini_math", limit=1)), "model": {"need": 0, "checkpoint": checkpoint}}
    directory = store.add_job(Job(Kind.EVALUATE, settings, (training.id,)))
    (directory.path / "attempts" / "0001").mkdir(parents=True)
    run = Run(directory, directory.job(), directory.path / "attempts" / "0001")
    assert evaluation.main(run)["model_step"] == step


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (None, "manager data fetch"),
        ("", "no items"),
        ('{"answer": "so 7 #### 7"}\n', "question"),
        ('{"question": "What?", "answer": "#### 7"}\n{"question": "What?", "answer": null}\n', "after 1 good ones"),
        ('{"question": "What?", "answer": "#### 7"}\n{"quest', "manager data check"),
    ],
)
def test_data_that_is_missing_empty_of_other_fields_or_cut_off(
    tiny_model: Path, tmp_path: Path, rows: str | None, expected: str
) -> None:
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    if rows is not None:
        (folder / "test.jsonl").write_text(rows)
    settings = config(tiny_model, entry("gsm8k"), data_dir=str(tmp_path / "data"))
    error = failure(tmp_path / "store", settings)
    assert error.cause == "data"
    assert expected in str(error)


def test_long_prompts_are_not_padded_up_to_nor_put_together_beyond_the_memory(tiny_model: Path) -> None:
    from array import array

    from evaluators.engine import EngineSettings, Prompt, Request
    from evaluators.engines import hf

    engine = hf.load(EngineSettings(str(tiny_model), options={"kv_cache_gb": 0.25}))
    lengths = [8000, 7000, 6000, 900, 500, 400, 60, 30, 20]
    window = [
        Request(("b", str(place), 0), Prompt("", array("q", [1] * length)), place, 16, 0.0)
        for place, length in enumerate(lengths)
    ]
    batches = [[len(request.prompt.tokens or ()) for request in batch] for batch in engine._batches(window)]
    assert batches == [[8000], [7000], [6000], [900, 500], [400], [60, 30, 20]]
