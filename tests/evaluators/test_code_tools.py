"""What is missing for the code benchmarks is counted and named before anything is evaluated."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from evaluators import code_tools
from evaluators.benchmarks import bigcodebench, get
from evaluators.code_tools import CodeTools, examine
from evaluators.scoring.code_polyglot import TOOLS_VARIABLE
from tests.data import DATA, needs_data


def _of(benchmark: str) -> CodeTools:
    (found,) = [each for each in examine(DATA) if each.benchmark == benchmark]
    return found


def _python_without_libraries(folder: Path) -> Path:
    """A Python that has the standard library alone."""
    place = folder / "python"
    place.write_text(f"#!/bin/sh\nexec {sys.executable} -S \"$@\"\n")
    place.chmod(0o755)
    return place


@needs_data
def test_bigcodebench_without_any_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(bigcodebench.PYTHON_VARIABLE, str(_python_without_libraries(tmp_path)))
    found = _of("bigcodebench")
    items = list(get("bigcodebench").items("test", DATA))
    cannot = sum(bool(bigcodebench.modules(item) - set(sys.stdlib_module_names)) for item in items)
    assert not found.ok
    assert cannot > 100
    assert f"{cannot} of 148 items cannot be judged" in found.found
    assert "scikit-learn (18)" in found.found
    assert bigcodebench.PYTHON_VARIABLE in found.advice


@needs_data
def test_a_python_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(bigcodebench.PYTHON_VARIABLE, str(tmp_path / "nothing"))
    found = _of("bigcodebench")
    assert not found.ok
    assert "does not answer" in found.found


@needs_data
def test_packages_that_exercises_name_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(code_tools, "BOOST", tmp_path / "none")
    monkeypatch.delenv(TOOLS_VARIABLE, raising=False)
    items = list(get("aider_polyglot").items("test", DATA))
    assert {item.id: package for item in items if (package := code_tools.lacking_package(item))} == {
        "cpp/gigasecond": "Boost", "cpp/meetup": "Boost", "java/hangman": "rxjava", "java/rest-api": "json",
        "rust/gigasecond": "time", "rust/grep": "anyhow", "rust/simple-cipher": "rand",
    }  # fmt: skip
    for folder in ("cargo", "java"):
        (tmp_path / folder).mkdir()
    (tmp_path / "java" / "some.jar").touch()
    monkeypatch.setenv(TOOLS_VARIABLE, str(tmp_path))
    assert {item.id for item in items if code_tools.lacking_package(item)} == {"cpp/gigasecond", "cpp/meetup"}


@needs_data
def test_languages_without_tools_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(__file__).parent))
    found = _of("aider_polyglot")
    assert not found.ok
    assert "191 of 225 exercises cannot be judged" in found.found
    assert "go (39)" in found.found
    assert "install Go" in found.advice


def test_without_data_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MANAGER_DATA_DIR", raising=False)
    monkeypatch.setenv("PATH", os.defpath)
    found = {each.benchmark: each for each in examine(None)}
    assert not found["bigcodebench"].ok
    assert "not known" in found["bigcodebench"].found


def test_the_list_of_libraries_has_every_package_that_is_known_by_another_name() -> None:
    path = Path(bigcodebench.__file__).with_name("bigcodebench_requirements.txt")
    lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    listed = {line.split("<")[0].lower() for line in lines if line}
    assert "pandas" in listed
    if DATA is None:
        pytest.skip("no data: what the items import is not known")
    needed: set[str] = set()
    for item in get("bigcodebench").items("test", DATA):
        needed |= bigcodebench.modules(item) - set(sys.stdlib_module_names)
    installed_as = {"tensorflow": "tensorflow-cpu"}
    packages = {installed_as.get(name, bigcodebench.package(name)).lower() for name in needed}
    assert packages - listed == set()
