"""Rows come from a folder or the hub's cache; what is missing is one line that names the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluators.benchmark import DataSource
from evaluators.data import fingerprint, load_rows, require
from manager.errors import UserError
from tests.data import DATA, needs_data

SOURCE = DataSource(hub="nobody/nothing", folder="things", splits={"test": "validation"})


def _write(folder: Path, name: str, rows: list[object]) -> Path:
    path = folder / "things" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_rows_keep_order_and_line_separators_inside_strings(tmp_path: Path) -> None:
    rows = [{"q": "a\u2028b"}, {"q": "second"}]
    _write(tmp_path, "test", rows)
    assert list(load_rows(SOURCE, "test", tmp_path)) == rows


def test_hub_split_name_is_used_when_ours_is_absent(tmp_path: Path) -> None:
    _write(tmp_path, "validation", [{"q": "hub"}])
    assert [row["q"] for row in load_rows(SOURCE, "test", tmp_path)] == ["hub"]
    _write(tmp_path, "test", [{"q": "ours"}])
    assert [row["q"] for row in load_rows(SOURCE, "test", tmp_path)] == ["ours"]


def test_environment_variable_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, "test", [{"q": 1}])
    monkeypatch.setenv("MANAGER_DATA_DIR", str(tmp_path))
    assert len(list(load_rows(SOURCE, "test"))) == 1


@pytest.mark.parametrize("call", [load_rows, require, fingerprint])
def test_missing_file_names_the_fetch_command(tmp_path: Path, call: object) -> None:
    with pytest.raises(UserError, match="manager data fetch --suite all16 --to ") as caught:
        call(SOURCE, "test", tmp_path)  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_missing_from_the_cache_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MANAGER_DATA_DIR", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    with pytest.raises(UserError, match="manager data fetch"):
        require(SOURCE, "test")
    with pytest.raises(UserError, match="manager data fetch") as caught:
        load_rows(SOURCE, "test")
    assert "\n" not in str(caught.value)


def test_broken_line_is_told_with_its_place(tmp_path: Path) -> None:
    path = _write(tmp_path, "test", [{"q": 1}])
    path.write_text(path.read_text() + '{"q": 2', encoding="utf-8")
    with pytest.raises(UserError, match=r"test\.jsonl:2"):
        list(load_rows(SOURCE, "test", tmp_path))
    path.write_text("[1]\n", encoding="utf-8")
    with pytest.raises(UserError, match="must be a JSON object"):
        list(load_rows(SOURCE, "test", tmp_path))


def test_fingerprint_changes_with_the_rows(tmp_path: Path) -> None:
    _write(tmp_path, "test", [{"q": 1}])
    first = fingerprint(SOURCE, "test", tmp_path)
    _write(tmp_path, "test", [{"q": 2}])
    assert first != fingerprint(SOURCE, "test", tmp_path)


@needs_data
def test_real_folder_is_read() -> None:
    gsm8k = DataSource(hub="openai/gsm8k", config="main", folder="gsm8k")
    assert sum(1 for _ in load_rows(gsm8k, "test", DATA)) == 1319


def test_missing_benchmark_is_named_in_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="manager data fetch --suite gsm8k"):
        load_rows(DataSource(hub="openai/gsm8k", folder="gsm8k"), "test", tmp_path)
