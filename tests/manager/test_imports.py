"""Who may import what: the control plane stays light, and each heavy library has one importer."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "trl", "vllm", "deepspeed", "mlflow", "pandas", "transformers", "datasets", "submitit", "matplotlib")


@pytest.mark.parametrize("module", ["manager.cli.app", "manager.worker", "manager.run", "evaluators.benchmarks"])
def test_light_modules_load_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


def importers(package: str, *folders: str) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if any(name == package or name.startswith(f"{package}.") for name in imports(path))
    }


def test_only_the_cluster_folder_and_the_place_know_submitit() -> None:
    allowed = ("manager/cluster/", "manager/place.py")
    strangers = importers("submitit", "manager", "experiments", "trainers", "evaluators")
    assert strangers
    assert all(path.startswith(allowed) for path in strangers), strangers


def test_imports_run_one_way() -> None:
    lower = ("manager", "trainers", "evaluators")
    assert importers("experiments", *lower) <= {
        path for path in importers("experiments", "manager") if path.startswith("manager/cli/")
    }
    assert not importers("trainers", "evaluators", "experiments")
    assert not importers("manager.cli", "trainers", "evaluators", "experiments")
    for heavy in ("torch", "trl", "vllm", "deepspeed", "transformers"):
        # The one exception makes the list of the trainers' field names anew, by hand and in a test.
        assert importers(heavy, "manager", "experiments") <= {"experiments/catalog/_trainer_fields.py"}, heavy


def test_modules_that_run_scripts_are_not_named_like_libraries() -> None:
    folders = ("manager", "experiments", "trainers", "evaluators")
    names = {path.stem for folder in folders for path in (ROOT / folder).rglob("*.py")}
    assert not names & {*HEAVY, "evaluate"}
