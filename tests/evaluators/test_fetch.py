"""Fetching writes whole files with checksums, goes on where it was cut off, and tells what is not there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from evaluators.benchmark import DataSource
from evaluators.benchmarks import get
from evaluators.benchmarks.legalbench import LegalBench
from evaluators.data import load_rows
from evaluators.fetch import HuggingFaceHub, MissingSplit, check, fetch
from manager.errors import UserError


class TableHub:
    """A hub of rows in memory that counts what is asked of it."""

    def __init__(self, tables: dict[tuple[str, str], list[dict[str, Any]]], commit: str = "c1") -> None:
        self.tables = tables
        self.now = commit
        self.asked: list[tuple[str, str]] = []

    def commit(self, hub: str, revision: str | None) -> str | None:
        if not any(name == hub for name, _ in self.tables):
            raise ConnectionError(f"no such data set {hub}")
        return revision or self.now

    def rows(self, source: DataSource, split: str, revision: str | None) -> Iterable[Mapping[str, Any]]:
        assert source.hub is not None
        self.asked.append((source.hub, split))
        if (source.hub, split) not in self.tables:
            raise MissingSplit(split)
        return self.tables[(source.hub, split)]


GSM8K = {("openai/gsm8k", "test"): [{"question": "1+1?", "answer": "#### 2"}], ("openai/gsm8k", "train"): []}
AIME = {
    ("HuggingFaceH4/aime_2024", "train"): [{"id": 1, "problem": "p\u2028q", "solution": "", "answer": "073"}]
}


def test_fetched_rows_are_read_by_the_benchmark(tmp_path: Path) -> None:
    report = fetch(["gsm8k", "aime24"], tmp_path, hub=TableHub({**GSM8K, **AIME}))
    assert sorted(report.fetched) == ["aime24/train.jsonl", "gsm8k/test.jsonl", "gsm8k/train.jsonl"]
    (item,) = get("aime24").items("test", tmp_path)
    assert (item.answer, item.fields["problem"]) == ("73", "p\u2028q")
    entry = next(
        e for e in json.loads((tmp_path / "manifest.json").read_text())["files"] if "aime" in e["path"]
    )
    pinned = get("aime24").source.revision
    assert (entry["hub"], entry["revision"], entry["rows"]) == ("HuggingFaceH4/aime_2024", pinned, 1)
    assert check(tmp_path) == []
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path, check=True)


def test_second_fetch_asks_for_nothing_until_another_commit_is_wanted(tmp_path: Path) -> None:
    hub = TableHub(dict(GSM8K))
    fetch(["gsm8k"], tmp_path, hub=hub)
    hub.asked.clear()
    hub.now = "c2"  # the hub has moved; the pin has not
    assert sorted(fetch(["gsm8k"], tmp_path, hub=hub).kept) == ["gsm8k/test.jsonl", "gsm8k/train.jsonl"]
    assert hub.asked == []
    assert len(fetch(["gsm8k"], tmp_path, revisions={"openai/gsm8k": "c2"}, hub=hub).fetched) == 2


def test_a_set_that_is_not_pinned_is_fetched_again_when_the_hub_moves(tmp_path: Path) -> None:
    hub = TableHub({("lab/set", "train"): [{"a": 1}]})
    more = [("lab/set", DataSource(hub="lab/set", folder="set"), "train")]
    assert fetch([], tmp_path, more=more, hub=hub).fetched == ["set/train.jsonl"]
    assert fetch([], tmp_path, more=more, hub=hub).kept == ["set/train.jsonl"]
    hub.now = "c2"
    assert fetch([], tmp_path, more=more, hub=hub).fetched == ["set/train.jsonl"]


def test_damaged_and_missing_files_are_found_and_fetched_again(tmp_path: Path) -> None:
    hub = TableHub(dict(GSM8K))
    fetch(["gsm8k"], tmp_path, hub=hub)
    (tmp_path / "gsm8k" / "test.jsonl").write_text("{}\n")
    (tmp_path / "gsm8k" / "train.jsonl").unlink()
    (tmp_path / "gsm8k" / "extra.jsonl").write_text("{}\n")
    assert check(tmp_path) == [
        "gsm8k/test.jsonl: differs from its checksum",
        "gsm8k/train.jsonl: missing",
        "gsm8k/extra.jsonl: not listed in SHA256SUMS",
    ]
    (tmp_path / "gsm8k" / "extra.jsonl").unlink()
    assert len(fetch(["gsm8k"], tmp_path, hub=hub).fetched) == 2
    assert check(tmp_path) == []


def test_cut_off_download_leaves_no_file_and_does_not_stop_the_others(tmp_path: Path) -> None:
    class Cut(TableHub):
        def rows(self, source: DataSource, split: str, revision: str | None) -> Iterator[Mapping[str, Any]]:
            yield {"question": "1+1?", "answer": "#### 2"}
            if source.hub == "openai/gsm8k" and split == "test":
                raise ConnectionError("the line went dead")

    report = fetch(["gsm8k", "aime24"], tmp_path, hub=Cut({**GSM8K, **AIME}))
    assert report.failed["gsm8k/test.jsonl"] == "ConnectionError: the line went dead"
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "SHA256SUMS",
        "aime24/train.jsonl",
        "gsm8k/train.jsonl",
        "manifest.json",
    ]


def test_split_that_the_hub_does_not_have_is_told(tmp_path: Path) -> None:
    report = fetch(["gsm8k"], tmp_path, hub=TableHub({("openai/gsm8k", "test"): []}))
    assert report.absent == ["gsm8k/train.jsonl"]


def test_every_benchmark_says_what_it_needs(tmp_path: Path) -> None:
    report = fetch(["pubmedqa", "medqa", "tabfact", "finbench"], tmp_path, hub=TableHub({}))
    assert "finbench/cc3/test.jsonl" in report.failed
    assert "finben/german/test.jsonl" in report.failed
    assert "pubmedqa/train.jsonl" in report.failed
    assert not any(path.startswith("pubmedqa/test") for path in report.failed)


def test_prompt_texts_are_fetched_beside_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = tmp_path / "published.txt"
    published.write_text("Agreement: {{text}}\nAnswer:")
    monkeypatch.setattr(
        LegalBench, "extra_files", lambda self: {"legalbench/maud_x/base_prompt.txt": published.as_uri()}
    )
    target = tmp_path / "data"
    fetch(["legalbench"], target, hub=TableHub({}))
    assert (target / "legalbench/maud_x/base_prompt.txt").read_text() == published.read_text()
    assert check(target) == []
    assert "legalbench/maud_x/base_prompt.txt" in fetch(["legalbench"], target, hub=TableHub({})).kept


def test_legalbench_needs_a_prompt_text_for_each_merger_task() -> None:
    files = get("legalbench").extra_files()  # type: ignore[attr-defined]
    assert len(files) == 34
    assert all(url.startswith("https://") and " " not in url for url in files.values())


def test_folder_without_checksums_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="manager data fetch"):
        check(tmp_path)


def test_real_library_reads_a_published_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = tmp_path / "published"
    published.mkdir()
    (published / "test.jsonl").write_text('{"question": "1+1?", "answer": "#### 2"}\n')
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    source = DataSource(hub=str(published), folder="gsm8k")
    hub = HuggingFaceHub()
    assert hub.commit(str(published), None) is None
    assert list(hub.rows(source, "test", None)) == [{"question": "1+1?", "answer": "#### 2"}]
    with pytest.raises(MissingSplit, match="it has: test"):
        hub.rows(source, "train", None)
    monkeypatch.delenv("MANAGER_DATA_DIR", raising=False)
    assert list(load_rows(source, "test")) == [{"question": "1+1?", "answer": "#### 2"}]


def test_data_set_published_as_a_script_is_read_from_the_parquet_copy() -> None:
    class Scripted(HuggingFaceHub):
        def _load(self, hub: str, config: str | None, split: str, revision: str | None) -> Any:
            if revision != "refs/convert/parquet":
                raise RuntimeError("Dataset scripts are no longer supported, but found tab_fact.py")
            return [{"hub": hub, "config": config}]

    rows = Scripted().rows(get("tabfact").source, "test", "c1")
    assert list(rows) == [{"hub": "wenhu/tab_fact", "config": "tab_fact"}]


def test_benchmarks_and_other_data_sets_are_fetched_together(tmp_path: Path) -> None:
    hub = TableHub({**GSM8K, ("lab/set", "train"): [{"a": 1}]})
    more = [("lab/set", DataSource(hub="lab/set", config="small", folder="set"), "train")]
    report = fetch(["gsm8k"], tmp_path, more=more, hub=hub)
    assert sorted(report.fetched) == ["gsm8k/test.jsonl", "gsm8k/train.jsonl", "set/train.jsonl"]
    assert check(tmp_path) == []
    other = [("lab/set", DataSource(hub="lab/set", config="large", folder="set"), "train")]
    assert fetch([], tmp_path, more=more, hub=hub).kept == ["set/train.jsonl"]
    assert fetch([], tmp_path, more=other, hub=hub).fetched == ["set/train.jsonl"]  # other rows under the same name
