"""`report`, `ui`, `sync` and `rebuild`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from manager.cli.options import DEFAULT_STORE, StoreOption, SweepName, open_sweep
from manager.errors import UserError

if TYPE_CHECKING:
    from manager.tracking import SyncResult


def report(
    sweep: SweepName = None,
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[Path | None, typer.Option(help="Folder for the report; by default the sweep's own.")] = None,
) -> None:
    """Build the report from what is finished now; its summary here."""
    from experiments.report import build
    from experiments.terminal import terminal

    here, record = open_sweep(store, sweep)
    result = build(here, record.name, out or here.sweep_dir(record.name) / "report")
    Console().print(terminal(result))


def ui(
    sweep: SweepName = None,
    store: StoreOption = DEFAULT_STORE,
    port: Annotated[int | None, typer.Option(help="Port on this machine; a free one if left out.")] = None,
) -> None:
    """Open MLflow's UI on a sweep, on this machine only."""
    from manager.tracking import ui_command

    here, record = open_sweep(store, sweep)
    argv = ui_command(here, record.name, port=port)
    print(f"MLflow: http://127.0.0.1:{argv[argv.index('--port') + 1]} (Ctrl-C ends it)", flush=True)
    os.execv(argv[0], argv)


def sync(sweep: SweepName = None, store: StoreOption = DEFAULT_STORE) -> None:
    """Send to MLflow what it does not have yet. Sent twice is stored once."""
    from manager.tracking import sync as send

    here, record = open_sweep(store, sweep)
    _tell(send(here, record.name))


def rebuild(
    sweep: SweepName = None,
    store: StoreOption = DEFAULT_STORE,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Only the tracking store, of one sweep.")] = False,
) -> None:
    """Make again whatever was lost besides the run directories: from them, the queue and accounting.

    Records of sweeps, submissions, frozen code, blamed nodes, and the tracking store of the sweep (of all).
    """
    from manager.rebuild import rebuild_store
    from manager.tracking import rebuild as recreate

    if mlflow:
        here, record = open_sweep(store, sweep)
        _tell(recreate(here, record.name))
        return
    result = rebuild_store(store.resolve())
    for line in result.lines():
        print(line)
    for problem in result.problems:
        print(f"note: {problem}")
    names = result.store.sweep_names() if sweep is None else [open_sweep(store, sweep)[1].name]
    for name in names:
        _tell(recreate(result.store, name))
    if result.problems:
        raise typer.Exit(1)


def _tell(result: SyncResult) -> None:
    if result.error is not None:
        raise UserError(f"{result.error}; nothing is lost: `manager sync {result.sweep}` sends the rest later")
    print(
        f"{result.sweep}: {result.points} points and {result.artifacts} artifacts sent to {result.uri}, "
        f"{result.runs_created} runs made, {result.runs_replaced} replaced"
    )
    for note in result.notes:
        print(f"note: {note}")
