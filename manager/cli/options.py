"""Options that several commands share, and what they mean: the store, the sweep, the catalogue."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manager.catalog import Catalog
from manager.errors import UserError
from manager.job import Sweep
from manager.store import Store

if TYPE_CHECKING:
    from manager.shards import ShardChooser

StoreOption = Annotated[Path, typer.Option("--store", envvar="MANAGER_STORE", help="Folder with all jobs and sweeps.")]
DEFAULT_STORE = Path("runs")
SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, such as matrix.seed=[0].", show_default=False),
]


def _sweep_names(context: typer.Context, incomplete: str) -> list[str]:
    """For the shell's completion: the sweeps of the store that this command line names."""
    root = Path(context.params.get("store") or os.environ.get("MANAGER_STORE") or DEFAULT_STORE)
    return [path.parent.name for path in root.glob(f"sweeps/{glob.escape(incomplete)}*/sweep.json")]


SweepName = Annotated[
    str | None,
    typer.Argument(metavar="[SWEEP]", help="Name of a sweep; the newest if left out.", autocompletion=_sweep_names),
]
Thinking = Annotated[
    bool | None, typer.Option("--thinking/--no-thinking", help="Given to a chat template that knows of it.")
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def load(path: Path, overrides: Sequence[str] | None, chooser: ShardChooser | None = None) -> Sweep:
    """Read, merge, validate and expand a sweep file. `chooser` decides what `shards: auto` means."""
    from experiments import catalog
    from manager.sweep import load_sweep
    from manager.sweep.shards import one_shard

    known = with_rows(catalog.load())
    return load_sweep(path, overrides or (), catalog=known, environ=os.environ, choose_shards=chooser or one_shard)


def with_rows(known: Catalog) -> Catalog:
    """The catalogue whose domains say which rows and scorers they stand for: others are other training jobs."""
    from trainers.identity import IdentifiedDomains

    return replace(known, domains=IdentifiedDomains(known.domains, known.suites))


def open_sweep(root: Path, name: str | None, *, outline: bool = False) -> tuple[Store, Sweep]:
    """A sweep that was run before; by default the one that was run last. A file name is taken for its sweep.
    An outline is read from one file and leaves out the configs of its jobs."""
    store = Store.open(root)
    if name is None:
        names = store.sweep_names()
        if not names:
            raise UserError(f"{root}: no sweep was run yet; start one with `manager sweep SWEEP.yaml`")
        name = max(names, key=lambda each: (store.sweep_dir(each) / "sweep.json").stat().st_mtime)
    elif name.endswith((".yaml", ".yml")):
        name = load(Path(name), None).name
    return store, store.read_outline(name) if outline else store.read_sweep(name)


def print_json(value: Any) -> None:
    import json

    print(json.dumps(value, indent=2, default=str))
