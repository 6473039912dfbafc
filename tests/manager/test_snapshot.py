"""Jobs run the code as it was when they were submitted."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from manager.snapshot import commit_of, restore_snapshot, take_snapshot


def git(root: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments],
        check=True, capture_output=True,
    )  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    (root / "manager" / "__pycache__").mkdir(parents=True)
    (root / "trainers").mkdir()
    (root / "manager" / "__init__.py").write_text("x = 1\n")
    (root / "trainers" / "grpo.py").write_text("y = 1\n")
    (root / "trainers" / "old.py").write_text("")
    (root / "README").write_text("no code\n")
    (root / "manager" / "__pycache__" / "a.pyc").write_text("")
    return root


def commit(root: Path) -> None:
    git(root, "init", "-q")
    (root / ".gitignore").write_text("__pycache__/\n")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")


def names(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


def test_later_edits_do_not_change_a_snapshot_and_equal_code_is_stored_once(checkout: Path, tmp_path: Path) -> None:
    commit(checkout)
    store = tmp_path / "store"
    first = take_snapshot(store, checkout)
    assert names(first) == ["code.diff", "code.json", "manager/__init__.py", "trainers/grpo.py", "trainers/old.py"]
    assert take_snapshot(store, checkout) == first
    (checkout / "trainers" / "grpo.py").write_text("y = 2\n")
    (checkout / "trainers" / "new.py").write_text("z = 3\n")
    (checkout / "trainers" / "old.py").unlink()
    second = take_snapshot(store, checkout)
    assert second != first
    assert (first / "trainers" / "grpo.py").read_text() == "y = 1\n"
    assert names(second) == ["code.diff", "code.json", "manager/__init__.py", "trainers/grpo.py", "trainers/new.py"]
    record = json.loads((second / "code.json").read_text())
    assert record["changed"] == ["trainers/grpo.py", "trainers/old.py"]
    assert record["new"] == ["trainers/new.py"]
    assert len(record["commit"]) == 40
    assert "+y = 2" in (second / "code.diff").read_text()
    assert sorted(path.name for path in (store / "code").iterdir()) == sorted([first.name, second.name])


def test_installed_code_without_git_is_frozen_too(checkout: Path, tmp_path: Path) -> None:
    place = take_snapshot(tmp_path / "store", checkout)
    assert names(place) == ["code.diff", "code.json", "manager/__init__.py", "trainers/grpo.py", "trainers/old.py"]
    assert json.loads((place / "code.json").read_text())["commit"] is None


def test_a_lost_snapshot_is_made_again_from_the_checkout_or_its_commit(checkout: Path, tmp_path: Path) -> None:
    commit(checkout)
    store = tmp_path / "store"
    first = take_snapshot(store, checkout)
    before, of_commit = names(first), commit_of(first)
    shutil.rmtree(store / "code")
    assert restore_snapshot(store, first.name, None, checkout), "the checkout is still the same"
    assert names(first) == before
    (checkout / "trainers" / "grpo.py").write_text("y = 2\n")
    changed = take_snapshot(store, checkout)
    shutil.rmtree(store / "code")
    assert restore_snapshot(store, first.name, of_commit, checkout), "the checkout has changed, the commit is there"
    assert (names(first), commit_of(first)) == (before, of_commit)
    assert (first / "trainers" / "grpo.py").read_text() == "y = 1\n"
    (checkout / "trainers" / "grpo.py").write_text("y = 3\n")
    assert not restore_snapshot(store, changed.name, of_commit, checkout), "what was never committed is gone"
    assert sorted(path.name for path in (store / "code").iterdir()) == [first.name]
