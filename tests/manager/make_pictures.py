"""Pictures of a sweep in MLflow's UI, for the documents.

    python -m tests.manager.make_pictures STORE SWEEP docs/images

Serves the sweep's own tracking store and photographs it in a headless Chromium: the nested runs, the
transfer charts, and the report.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from manager.store import Store
from manager.tracking import SyncResult, sync, ui_command
from manager.tracking_view import view_link
from tests.manager.browser import Page, browser
from tests.manager.tracking_readback import ReadBack

DEADLINE_S = 180.0
MODE = "?workflowType=machine_learning"  # the UI's menu for training, not for agents
# The first run whose children are folded away: its button shows a plus.
CLOSED = (
    "Array.from(document.querySelectorAll('button[data-component-id*=runnamecellrenderer]'))"
    ".find(b => b.innerHTML.includes('M7.25 7.25V4.5'))"
)
MAX_BYTES = 200_000


@contextmanager
def served(store: Store, sweep: str) -> Iterator[str]:
    """MLflow's UI as `manager ui` serves it; its address."""
    command = ui_command(store, sweep)
    address = f"http://127.0.0.1:{command[command.index('--port') + 1]}/"
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                urllib.request.urlopen(f"{address}health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, "MLflow's UI did not start"
                assert time.monotonic() < deadline, "MLflow's UI did not answer"
                time.sleep(0.3)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def open_runs(page: Page, address: str, result: SyncResult) -> None:
    """The list of runs with all nested ones shown."""
    page.open(f"{address}#/experiments/{result.experiment_id}/runs{MODE}")
    page.wait_for_text(result.sweep, "matching runs")
    page.wait_for_value(f"!!({CLOSED})")
    while page.value(f"(() => {{ const b = {CLOSED}; if (b) b.click(); return !!b; }})()"):
        time.sleep(0.5)


def open_charts(page: Page, address: str, result: SyncResult) -> None:
    assert result.experiment_id is not None
    page.open(address + view_link(result.experiment_id))
    page.wait_for_text("Transfer by checkpoint step")
    page.wait_for_value("document.querySelectorAll('.js-plotly-plot .scatterlayer path').length > 0")


def open_report(page: Page, address: str, result: SyncResult) -> None:
    run = ReadBack.of(result).run(kind="sweep").info
    page.open(f"{address}#/experiments/{run.experiment_id}/runs/{run.run_id}/artifacts/report/report.html{MODE}")
    page.wait_for_text("report.html")
    page.wait_for_value("document.querySelectorAll('iframe').length > 0")


def no_assistant(page: Page, address: str) -> None:
    """MLflow opens a chat panel on a first visit; it would cover a quarter of the picture."""
    page.open(address)
    page.wait_for_text("Experiments")
    page.remember("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true")
    page.remember("mlflow.assistant.panelOpen_v1", "false")


def make_pictures(store: Store, sweep: str, folder: Path) -> list[Path]:
    result = sync(store, sweep)
    assert result.error is None, result.error
    views = {"mlflow-runs": open_runs, "mlflow-transfer": open_charts, "mlflow-report": open_report}
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    with served(store, sweep) as address, browser() as page:
        no_assistant(page, address)
        for name, show in views.items():
            show(page, address, result)
            time.sleep(3)  # animations
            path = folder / f"{name}.png"
            page.picture(path)
            Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(path, optimize=True)
            size = path.stat().st_size
            assert size <= MAX_BYTES, f"{path}: {size} bytes are too many for a document"
            made.append(path)
    return made


if __name__ == "__main__":
    for made in make_pictures(Store.open(Path(sys.argv[1])), sys.argv[2], Path(sys.argv[3])):
        print(made)
