"""`report`, `ui`, `sync` and `rebuild`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from manager.cli.options import DEFAULT_STORE, StoreOption, SweepName, open_sweep
from manager.errors import UserError


def report(
    sweep: SweepName = None,
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[Path | None, typer.Option(help="Folder for the report; by default the sweep's own.")] = None,
) -> None:
    """Build the report from what is finished now: HTML, figures and tables, and a summary here."""
    from experiments.report import build, terminal

    here, record = open_sweep(store, sweep)
    result = build(here, record.name, out or here.sweep_dir(record.name) / "report")
    console = Console()
    console.print(terminal(result))
    console.print(f"report: {result.html}")


def ui(
    sweep: SweepName = None,
    store: StoreOption = DEFAULT_STORE,
    port: Annotated[int | None, typer.Option(help="Port on this machine; a free one if left out.")] = None,
) -> None:
    """Open MLflow's UI on a sweep's tracking store, on this machine only."""
    from manager.tracking import ui_command

    here, record = open_sweep(store, sweep)
    command = ui_command(here, record.name, port)
    print(f"MLflow: {command.url} (Ctrl-C ends it)", flush=True)
    raise typer.Exit(subprocess.run(command.argv, env=command.environment, check=False).returncode)


def sync(sweep: SweepName = None, store: StoreOption = DEFAULT_STORE) -> None:
    """Send to MLflow what it does not have yet. Sent twice is stored once."""
    from manager.tracking import sync as send

    here, record = open_sweep(store, sweep)
    print(send(here, record.name).text())


def rebuild(
    sweep: SweepName = None,
    store: StoreOption = DEFAULT_STORE,
    mlflow: Annotated[
        bool, typer.Option("--mlflow", help="Recreate the tracking store from the run directories.")
    ] = False,
) -> None:
    """Make again what can be derived from the run directories."""
    from manager.tracking import rebuild as recreate

    here, record = open_sweep(store, sweep)
    if not mlflow:
        raise UserError("nothing chosen; --mlflow recreates the tracking store")
    print(recreate(here, record.name).text())
