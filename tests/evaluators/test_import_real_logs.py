"""Logs that lm-eval and inspect themselves wrote come into the store (tests/evaluators/logs/README.md)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from evaluators.import_logs import import_logs
from evaluators.logs import read_lm_eval
from evaluators.records import OutcomeFiles
from manager.atomic import read_jsonl
from manager.errors import UserError
from manager.store import Store

LOGS = Path(__file__).parent / "logs"
(GENERATED,) = (LOGS / "lm-eval-0.4.13").glob("samples_mini_math_*.jsonl")
(CHOICE,) = (LOGS / "lm-eval-0.4.13").glob("samples_mini_choice_*.jsonl")
INSPECT = LOGS / "inspect-0.3.285-mini-math.eval"


def test_generated_samples_of_lm_eval(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    found = import_logs(store, "lm-eval", GENERATED)
    # Two repeats of each item, under two filters each: four lines an item are two samples.
    assert (found.benchmark, found.records, found.rescored) == ("mini_math", 4, 4)
    assert found.unmatched == ("1", "1")  # `5+0=` is too short to tell an item by
    run = store.run(found.job)
    assert run.job().config["model"]["name"] == "tiny"
    texts = {record.key: record.text for record in OutcomeFiles(run.outcomes).finished("mini_math")}
    first = json.loads(GENERATED.read_text().split("\n")[0])
    assert [texts["27+7", 0], texts["27+7", 1]] == first["resps"][0]
    comparison = read_jsonl(run.path / "artifacts" / "imported-mini_math.jsonl")
    rows = {(row["item"], row["sample"]): row for row in comparison}
    assert set(rows["27+7", 0]["their_scores"]) == {"exact_match,strict-match", "exact_match,flexible-extract"}
    assert (rows["27+7", 0]["theirs"], rows["27+7", 1]["theirs"], rows["27+7", 1]["agree"]) == (0.0, None, None)


def test_likelihoods_of_lm_eval_keep_their_score() -> None:
    log = read_lm_eval(CHOICE)
    assert [(one.text, one.scores, one.score) for one in log.samples] == [
        (None, {"acc,none": 0.0, "acc_norm,none": 1.0}, 0.0)
    ] * 3


def test_a_log_of_inspect_with_zstd_inside(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    found = import_logs(store, "inspect", INSPECT)
    assert (found.benchmark, found.records, found.rescored) == ("mini_math", 4, 4)
    assert found.unmatched == ("2", "2")
    # Its scorer read the text that the mock model put beside its message: x.
    assert [(one.item, one.theirs, one.ours) for one in found.disagreements] == [("27+7", 0.0, 1.0)] * 2
    records = {record.key: record for record in OutcomeFiles(store.run(found.job).outcomes).finished("mini_math")}
    right, cut = records["27+7", 1], records["27+2", 0]
    assert (right.text, right.value, right.completion_tokens) == ("<think>carry nothing</think>34", 1.0, 7)
    assert (cut.text, cut.outcome, cut.ended) == ("Let me see", "truncated", "length")


def test_a_damaged_log_of_inspect_is_told(tmp_path: Path) -> None:
    content = bytearray(INSPECT.read_bytes())
    place = content.index(b"samples/1_epoch_1.json") + 60
    content[place : place + 40] = bytes(40)
    (tmp_path / "log.eval").write_bytes(content)
    with pytest.raises(UserError, match="not a log of inspect"):
        import_logs(Store.open(tmp_path / "store", create=True), "inspect", tmp_path / "log.eval")


def test_line_separators_within_an_answer_do_not_end_its_line(tmp_path: Path) -> None:
    row = json.loads(GENERATED.read_text().split("\n")[0])
    row["resps"] = [["one\u2028two\x85three"]]
    path = tmp_path / GENERATED.name
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.copy(next(GENERATED.parent.glob("results_*.json")), tmp_path)
    (sample,) = read_lm_eval(path).samples
    assert sample.text == "one\u2028two\x85three"
