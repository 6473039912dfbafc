"""MLflow's real UI in a real headless Chromium shows the runs, the charts and the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from manager.tracking import SyncResult, sync
from tests.manager.browser import CHROMIUM, Page, browser
from tests.manager.make_pictures import (
    make_pictures,
    no_assistant,
    open_charts,
    open_report,
    open_runs,
    served,
)
from tests.manager.tracked_sweep import Study, finish_study, make_study

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt install chromium"),
]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, str, SyncResult]]:
    study = make_study(tmp_path_factory.mktemp("store") / "runs")
    finish_study(study)
    result = sync(study.store, "study")
    assert result.error is None
    with served(study.store, "study") as address, browser() as page:
        no_assistant(page, address)
        yield page, address, result


def test_the_runs_are_nested(shown: tuple[Page, str, SyncResult]) -> None:
    page, address, result = shown
    page.open(f"{address}#/experiments/{result.experiment_id}/runs?workflowType=machine_learning")
    page.wait_for_text("11 matching runs", "study")
    assert "train math" not in page.text()
    open_runs(page, address, result)
    page.wait_for_text("train math", "train code", "evaluate math", "baseline")


def test_one_chart_has_every_training_run_by_checkpoint_step(shown: tuple[Page, str, SyncResult]) -> None:
    page, address, result = shown
    open_charts(page, address, result)
    page.wait_for_text("train math", "train code", "math/pass_at_1", "code/pass_at_1")
    lines = (
        "Array.from(document.querySelectorAll('.js-plotly-plot')).map(p => Array.from(new Set("
        "(p.data || []).filter(t => JSON.stringify(t.x) === '[0,100]').map(t => t.name))).sort().join())"
    )
    both = "train code,train math"
    page.wait_for(lambda: both in page.value(lines), "a chart with a line for each training run")
    # Parallel coordinates over domain and seed.
    page.wait_for_text("data.domain", "seed")


def test_the_report_is_read_in_the_ui(shown: tuple[Page, str, SyncResult]) -> None:
    page, address, result = shown
    open_report(page, address, result)
    page.wait_for_text("Transfer report", "math helps code")


def test_the_description_links_to_report_and_charts(shown: tuple[Page, str, SyncResult]) -> None:
    page, address, result = shown
    page.open(f"{address}#/experiments/{result.experiment_id}/runs?workflowType=machine_learning")
    page.wait_for_text("transfer by checkpoint step", "report/report.html")
    page.click("report/report.html", tags="a")
    page.wait_for_text("math helps code")


def test_models_show_where_they_are_from(shown: tuple[Page, str, SyncResult]) -> None:
    page, address, result = shown
    page.open(f"{address}#/experiments/{result.experiment_id}/models?workflowType=machine_learning")
    page.wait_for_text("train math step 100", "tiny-base", "Ready")


def test_pictures_for_the_documents(tmp_path: Path, with_database: Callable[[Study], Study]) -> None:
    study = with_database(make_study(tmp_path / "runs"))
    finish_study(study)
    made = make_pictures(study.store, "study", tmp_path / "images")
    assert [path.name for path in made] == ["mlflow-runs.png", "mlflow-transfer.png", "mlflow-report.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in made)
