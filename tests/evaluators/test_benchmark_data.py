"""What is missing is told before a job is submitted; other data is another identity."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evaluators.benchmark_data import identity, missing
from evaluators.benchmarks import get
from evaluators.command import find_item
from manager.errors import UserError
from tests.data import DATA, needs_data

TEXT = ["gsm8k", "math500", "aime24", "amc23", "pubmedqa", "medqa", "tabfact", "legalbench", "finbench"]
CODE = ["humaneval", "mbpp", "bigcodebench", "livecodebench", "usaco", "codeforces", "aider_polyglot"]


@needs_data
def test_nothing_is_missing_from_the_data_slices() -> None:
    assert missing([*TEXT, *CODE], DATA) == {}


def test_each_missing_benchmark_names_its_command(tmp_path: Path) -> None:
    found = missing([*TEXT, *CODE], tmp_path)
    assert sorted(found) == sorted([*TEXT, *CODE])
    for name, message in found.items():
        by_hand = f"it is on no hub: put its rows into {tmp_path}/{name}/test.jsonl by hand"
        fetched = f"manager data fetch --suite {name} --to {tmp_path}"
        assert (by_hand if name in ("usaco", "aider_polyglot") else fetched) in message
        assert "\n" not in message


def test_empty_file_is_missing_too(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").touch()
    assert "has no rows" in missing(["gsm8k"], tmp_path)["gsm8k"]


@pytest.mark.parametrize("row", ['{"q": "What?"}', '{"question": "What?", "answer": null}'])
def test_rows_of_another_revision_are_told_and_no_traceback(tmp_path: Path, row: str) -> None:
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text(row + "\n", encoding="utf-8")
    assert "another revision? `manager data check`" in missing(["gsm8k"], tmp_path)["gsm8k"]
    with pytest.raises(UserError, match="another revision"):
        find_item(get("gsm8k"), "0", "test", tmp_path)


def test_computed_benchmarks_need_no_data() -> None:
    assert missing(["mini_math"]) == {}
    assert identity("mini_math").startswith("computed:")


@needs_data
def test_identity_follows_the_rows_and_the_parts(tmp_path: Path) -> None:
    assert DATA is not None
    shutil.copytree(DATA / "gsm8k", tmp_path / "gsm8k")
    shutil.copytree(DATA / "legalbench" / "hearsay", tmp_path / "legalbench" / "hearsay")
    before = {name: identity(name, tmp_path) for name in ("gsm8k", "legalbench")}
    assert before["gsm8k"] == identity("gsm8k", DATA)  # the place does not matter
    shutil.copytree(DATA / "legalbench" / "proa", tmp_path / "legalbench" / "proa")
    with open(tmp_path / "gsm8k" / "test.jsonl", "a", encoding="utf-8") as stream:
        stream.write('{"question": "1+1?", "answer": "#### 2"}\n')
    for name, old in before.items():
        assert identity(name, tmp_path) != old


def test_identity_without_a_folder_names_the_revisions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MANAGER_DATA_DIR", raising=False)
    assert identity("gsm8k") != identity("medqa")
    assert identity("gsm8k") == identity("gsm8k")


@needs_data
def test_asking_loads_nothing_heavy() -> None:
    heavy = ("torch", "datasets", "pandas", "sympy", "math_verify", "transformers")
    program = (
        "import sys\nfrom pathlib import Path\nfrom evaluators.benchmark_data import identity, missing\n"
        f"names = {[*TEXT, *CODE]!r}\nassert missing(names, Path({str(DATA)!r})) == {{}}\n"
        f"[identity(name, Path({str(DATA)!r})) for name in names]\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
