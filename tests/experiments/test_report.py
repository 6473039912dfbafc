"""The report of whole and of half-finished sweeps, read back as a user would read it."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET

import pandas as pd
import pytest
from rich.console import Console

from experiments import report, study
from experiments.terminal import terminal
from manager.errors import UserError
from manager.job import Kind
from manager.run import Run
from tests.experiments.synthetic import Plan, write


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write(tmp_path_factory.mktemp("store"), Plan(items=150, inside=1.5, seeds=(0, 1, 2)))


@pytest.fixture(scope="module")
def result(store, tmp_path_factory):
    return report.build(store, "synthetic", tmp_path_factory.mktemp("report"))


def test_planted_gains_are_found_inside_and_not_claimed_outside(result):
    averages = result.tables["effects"].query("kind == 'average' and weighting == 'items'")
    verdicts = dict(zip(averages["evaluated"], averages["verdict"], strict=True))
    assert verdicts["in-domain"] == "gain"
    assert verdicts["gap"] == "gain"
    assert verdicts["out-of-domain"] != "gain"
    assert any(s.startswith("Inside the training domain") and "pass@1 rose" in s for s in result.findings)
    outside = next(s for s in result.findings if s.startswith("Outside the training domain"))
    assert "no evidence of a change" in outside
    assert "are excluded" in outside


def test_the_page_needs_no_network_and_holds_every_figure(result):
    page = result.path.read_text()
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert "<script" not in page
    for name in ("transfer", "cells", "benchmarks"):
        assert f'id="figure-{name}"' in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert page.count("<title>") > 20  # hover numbers


def test_files_beside_the_page(result):
    folder = result.path.parent
    for name in result.figures:
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        ET.parse(folder / "figures" / f"{name}.svg")
    effects = pd.read_csv(folder / "tables" / "effects.csv")
    assert len(effects) == len(result.tables["effects"])
    assert "\\toprule" in (folder / "tables" / "effects.tex").read_text()


def test_every_row_says_items_samples_and_seeds(result):
    effects = result.tables["effects"]
    assert (effects[["n_items", "n_samples", "n_seeds"]] > 0).all(axis=None)
    cell = effects.query("kind == 'cell'").iloc[0]
    assert (cell["n_items"], cell["n_samples"], cell["n_seeds"]) == (150, 450, 3)


def test_the_same_sweep_gives_the_same_report(store, result, tmp_path):
    again = report.build(store, "synthetic", tmp_path)
    assert again.path.read_text() == result.path.read_text()


def test_few_seeds_and_procedural_benchmarks_are_told(result):
    text = " ".join(result.findings)
    assert "Only 3 training runs per arm" in text
    assert "Procedural benchmarks" in text
    assert set(result.tables["data"]["source"]) == {"procedural"}


def test_a_half_finished_sweep_is_reported_with_what_is_missing(tmp_path):
    plan = Plan(items=40, unfinished=(("code", 0), ("code", 1), ("math", 1)))
    result = report.build(write(tmp_path / "s", plan), "synthetic", tmp_path / "r")
    page = result.path.read_text()
    assert len(result.tables["missing"]) == 3
    assert "3 evaluation(s) of the sweep are not finished" in " ".join(result.findings)
    assert "not finished" in page
    assert set(result.tables["effects"]["train_domain"]) == {"math", "knowledge", ""}


def test_a_sweep_with_baselines_only_still_makes_a_page(tmp_path):
    plan = Plan(items=10, train=("math",), seeds=(0,), unfinished=(("math", 0),))
    result = report.build(write(tmp_path / "s", plan), "synthetic", tmp_path / "r")
    assert "No figure can be drawn yet" in result.path.read_text()
    assert result.figures == ()


def test_a_sweep_without_outcomes_is_one_line(tmp_path):
    plan = Plan(items=0, train=())
    with pytest.raises(UserError, match="no outcomes yet"):
        report.build(write(tmp_path / "s", plan), "synthetic", tmp_path / "r")


def test_the_report_job_writes_into_its_run_directory(store):
    entry = next(e for e in store.read_sweep("synthetic").jobs if e.job.kind == Kind.REPORT)
    directory = store.run(entry.job.id)
    attempt = directory.path / "attempts" / "0001"
    attempt.mkdir(parents=True)
    run = Run(directory, entry.job, attempt)
    summary = report.main(run)
    run.close()
    assert summary["report"] == "artifacts/report/report.html"
    assert (directory.path / summary["report"]).is_file()
    assert summary["findings"]
    logged = [r["path"] for r in directory.journal() if r["type"] == "artifact"]
    assert "artifacts/report/figures/cells.png" in logged


def test_the_summary_fits_a_terminal(result):
    out = io.StringIO()
    Console(file=out, width=80).print(terminal(result))
    text = out.getvalue()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "trained on math" in text
    assert "pass@1 rose" in text


def test_studies_are_found_without_loading_them():
    assert "interventional" in study.names()
    with pytest.raises(UserError, match="interventional"):
        study.get("nothing")
