"""`manager data fetch` with the real libraries against a hub on loopback, and a job with the hub switched off."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluators.benchmarks import get
from evaluators.fetch import check
from tests.evaluators.hub_server import Hub, serve

ROOT = Path(__file__).parents[2]
FIRST, SECOND = str(get("gsm8k").source.revision), "b" * 40
README = b"""---
configs:
- config_name: main
  data_files:
  - {split: test, path: main/test.jsonl}
  - {split: train, path: main/train.jsonl}
---
"""


def _files(rows: int, addend: int) -> dict[str, bytes]:
    lines = [json.dumps({"question": f"{n}+{addend}?", "answer": f"so #### {n + addend}"}) + "\n" for n in range(rows)]
    text = "".join(lines).encode()
    return {"README.md": README, "main/test.jsonl": text, "main/train.jsonl": text}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve(Hub({"openai/gsm8k": {FIRST: _files(5000, 1)}})) as served:
        yield served


def _manager(tmp_path: Path, address: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    own = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "manager", *arguments], env={**os.environ, **own, **more}, cwd=tmp_path,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def _fetch(tmp_path: Path, address: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    to = str(tmp_path / "data")
    return _manager(tmp_path, address, "data", "fetch", "--suite", "gsm8k", "--to", to, *arguments, **more)


def _one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return line


def test_rows_come_at_a_commit_with_checksums_and_are_kept(tmp_path: Path, hub: Hub) -> None:
    hub.cut = {"main/test.jsonl"}  # the line goes dead once in the middle of the rows
    done = _fetch(tmp_path, hub.address)
    assert done.returncode == 0, done.stderr
    files = json.loads((tmp_path / "data" / "manifest.json").read_text())["files"]
    assert {(each["path"], each["revision"], each["rows"]) for each in files} == {
        ("gsm8k/test.jsonl", FIRST, 5000), ("gsm8k/train.jsonl", FIRST, 5000),
    }  # fmt: skip
    wanted = hub.repos["openai/gsm8k"][FIRST]["main/test.jsonl"].decode().splitlines()
    found = (tmp_path / "data" / "gsm8k" / "test.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in found] == [json.loads(line) for line in wanted]
    assert check(tmp_path / "data") == []
    hub.asked.clear()
    assert "0 files fetched, 2 were there" in _fetch(tmp_path, hub.address).stdout
    assert not [asked for asked in hub.asked if "jsonl" in asked]


def test_the_pinned_commit_is_fetched_though_the_hub_moved_or_the_one_asked_for(tmp_path: Path, hub: Hub) -> None:
    hub.repos["openai/gsm8k"][SECOND] = _files(7, 2)
    done = _fetch(tmp_path, hub.address)
    assert f"5000 rows of openai/gsm8k at {FIRST}" in done.stdout, done.stderr
    asked = [one for one in hub.asked if one.startswith("GET") and "/api/datasets/openai/gsm8k" in one]
    assert asked
    assert all(FIRST in one for one in asked)
    assert not [one for one in hub.asked if SECOND in one]
    done = _fetch(tmp_path, hub.address, "--revision", "openai/gsm8k=main")
    assert f"7 rows of openai/gsm8k at {SECOND}" in done.stdout, done.stderr
    files = json.loads((tmp_path / "data" / "manifest.json").read_text())["files"]
    assert {each["revision"] for each in files} == {SECOND}


def test_a_pinned_commit_that_the_hub_does_not_know_is_one_line_that_says_what_to_do(tmp_path: Path, hub: Hub) -> None:
    hub.repos["openai/gsm8k"] = {SECOND: _files(7, 2)}
    line = _one_line(_fetch(tmp_path, hub.address))
    assert f"openai/gsm8k has no revision {FIRST} on the hub" in line
    assert "`--revision openai/gsm8k=main` the newest" in line
    assert f"no revision {'c' * 40}" in _one_line(
        _fetch(tmp_path, hub.address, "--revision", f"openai/gsm8k={'c' * 40}")
    )
    assert "7 rows" in _fetch(tmp_path, hub.address, "--revision", f"openai/gsm8k={SECOND}").stdout


def test_a_revision_of_what_is_not_fetched_or_of_no_data_set_is_told(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    line = _one_line(_fetch(tmp_path, nowhere, "--revision", "openai/gsm8=main"))
    assert "--revision openai/gsm8: not among what is fetched: openai/gsm8k" in line
    assert "write HUB=COMMIT" in _one_line(_fetch(tmp_path, nowhere, "--revision", "openai/gsm8k"))


def test_a_set_that_is_a_script_is_read_by_config_from_the_hubs_parquet_copy(tmp_path: Path, hub: Hub) -> None:
    hub.repos["wenhu/tab_fact"] = {
        "e" * 40: {"README.md": b"---\n---\n", "tab_fact.py": b"raise SystemExit"},
        "f" * 40: {f"{config}/{split}/0000.parquet": _parquet([config, split])
                   for config in ("blind_test", "tab_fact") for split in ("train", "test")},
    }  # fmt: skip
    hub.copies["wenhu/tab_fact"] = "f" * 40
    program = f"""
from evaluators.benchmark import DataSource
from evaluators.fetch import HuggingFaceHub
for revision in (None, {"e" * 40!r}):
    source = DataSource(hub="wenhu/tab_fact", config="tab_fact", revision=revision)
    try:
        print(list(HuggingFaceHub().rows(source, "test", {"e" * 40!r})))
    except ValueError as error:
        print(error)
"""
    rows, refused = _run(tmp_path, hub.address, program).splitlines()
    assert rows == str([{"text": "tab_fact"}, {"text": "test"}])
    assert refused.startswith(f"wenhu/tab_fact is a loading script at {'e' * 40}")
    assert "`--revision wenhu/tab_fact=main`" in refused


def _parquet(texts: list[str]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), stream)
    return stream.getvalue()


def test_the_hubs_cache_is_not_read_at_another_commit_than_is_pinned(tmp_path: Path, hub: Hub) -> None:
    hub.repos["openai/gsm8k"][SECOND] = _files(7, 2)
    program = """
import datasets
datasets.load_dataset("openai/gsm8k", "main", split="test", revision={revision!r})
"""
    read = """
from evaluators.benchmarks import get
from evaluators.data import load_rows
try:
    print(sum(1 for _ in load_rows(get("gsm8k").source, "test")))
except Exception as error:
    print(error)
"""
    _run(tmp_path, hub.address, program.format(revision=SECOND))
    told = _run(tmp_path, hub.address, read, HF_HUB_OFFLINE="1").splitlines()[-1]
    assert f"the hub cache gives openai/gsm8k at {SECOND}, not at {FIRST}" in told
    assert "manager data fetch --suite gsm8k" in told
    _run(tmp_path, hub.address, program.format(revision=FIRST))
    assert _run(tmp_path, hub.address, read, HF_HUB_OFFLINE="1").splitlines()[-1] == "5000"


def _run(tmp_path: Path, address: str, program: str, **more: str) -> str:
    own = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **own, **more}, cwd=tmp_path, capture_output=True,
        text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_fetch_that_was_cut_off_goes_on_with_the_file_that_is_missing(tmp_path: Path, hub: Hub) -> None:
    text = hub.repos["openai/gsm8k"][FIRST]["main/train.jsonl"]
    broken = text[:-3] + b"\n"  # in its last row
    hub.repos["openai/gsm8k"][FIRST] = {**_files(5000, 1), "main/train.jsonl": broken}
    line = _one_line(_fetch(tmp_path, hub.address))
    assert "1 files could not be fetched, the first: gsm8k/train.jsonl" in line
    assert not (tmp_path / "data" / "gsm8k" / "train.jsonl").exists()
    hub.repos["openai/gsm8k"][FIRST] = _files(5000, 1)
    hub.asked.clear()
    assert "1 files fetched, 1 were there" in _fetch(tmp_path, hub.address).stdout
    assert check(tmp_path / "data") == []


def test_a_hub_that_cannot_be_reached_is_one_line_with_the_command(tmp_path: Path, hub: Hub) -> None:
    line = _one_line(_fetch(tmp_path, "http://127.0.0.1:9"))
    assert "the hub at http://127.0.0.1:9 cannot be reached" in line
    assert "run the same `manager data fetch` again" in line
    assert "HF_HUB_OFFLINE switches the hub off" in _one_line(_fetch(tmp_path, hub.address, HF_HUB_OFFLINE="1"))
    hub.broken = True
    assert "500 Internal Server Error" in _one_line(_fetch(tmp_path, hub.address))
    hub.broken = False
    hub.repos.clear()
    assert "openai/gsm8k is not on the hub" in _one_line(_fetch(tmp_path, hub.address))


def test_what_was_fetched_is_evaluated_without_asking_the_hub(tmp_path: Path, hub: Hub, tiny_model: Path) -> None:
    assert _fetch(tmp_path, hub.address).returncode == 0
    hub.asked.clear()
    done = _manager(
        tmp_path, hub.address, "evaluate", str(tiny_model), "--suite", "gsm8k", "--limit", "2", "--engine",
        "transformers", "--sampling", "max_tokens=4", "--cluster", "local", MANAGER_DATA_DIR=str(tmp_path / "data"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    assert "gsm8k" in done.stdout
    assert hub.asked == []
