"""Every sweep file that is shipped expands."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.job import Kind
from manager.sweep import load_sweep
from tests.manager.sweep_catalog import catalog

SWEEPS = Path(__file__).parents[2] / "sweeps"
FILES = sorted(SWEEPS.rglob("*.yaml"))


def test_there_are_sweeps() -> None:
    assert {"quickstart.yaml", "interventional.yaml"} <= {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SWEEPS)))
def test_a_shipped_sweep_expands_to_a_study_with_a_report(path: Path) -> None:
    sweep = load_sweep(path, catalog=catalog(), environ={})
    kinds = [entry.job.kind for entry in sweep.jobs]
    assert sweep.study is not None
    assert kinds.count(Kind.REPORT) == 1
    assert Kind.EVALUATE in kinds
    evaluated = {entry.job.id for entry in sweep.jobs if entry.job.kind == Kind.EVALUATE}
    assert evaluated <= set(sweep.jobs[-1].job.needs)  # nothing is evaluated that nobody reports


def test_shipped_sweeps_have_names_of_their_own() -> None:
    names = [load_sweep(path, catalog=catalog(), environ={}).name for path in FILES]
    assert len(set(names)) == len(names)
