"""`manager show-prompt` and `manager import`: single items, and samples that other tools generated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from manager.cli.options import DEFAULT_STORE, Json, StoreOption, Thinking, print_json
from manager.store import Store

DataDir = Annotated[
    Path | None, typer.Option("--data", envvar="MANAGER_DATA_DIR", help="The data folder; $MANAGER_DATA_DIR.")
]


def show_prompt(
    benchmark: Annotated[str, typer.Argument(help="Its name.")],
    item: Annotated[str, typer.Argument(help="The item's id, or its number from 0.")],
    model: Annotated[str, typer.Option(help="A catalogue name, a folder, or the id of a cached hub model.")],
    prompting: Annotated[str, typer.Option(help="chat or base_fewshot.")] = "chat",
    thinking: Thinking = None,
    split: Annotated[str, typer.Option(help="test or train.")] = "test",
    data: DataDir = None,
    json: Json = False,
) -> None:
    """Show the exact text that a model gets for one item, and the gold answer."""
    from dataclasses import asdict

    from evaluators.command import show_prompt as make
    from experiments import catalog

    row = catalog.load().models.get(model, {})
    shown = make(
        benchmark, item, row.get("hub", model), revision=row.get("revision"),
        prompting={"mode": prompting, "thinking": thinking}, data_dir=data, split=split,
    )  # fmt: skip
    if json:
        print_json(asdict(shown))
        return
    print(shown.text)
    typer.echo(f"--- {shown.benchmark} {shown.item}: {shown.tokens} tokens; stops at {list(shown.stop)}", err=True)
    typer.echo(f"--- gold answer: {shown.gold}", err=True)


def import_samples(
    tool: Annotated[str, typer.Argument(help="lm-eval or inspect.")],
    path: Annotated[Path, typer.Argument(help="A log, or a folder of logs of one model and one benchmark.")],
    benchmark: Annotated[str | None, typer.Option(help="Which benchmark it is, if its name does not tell.")] = None,
    model: Annotated[str | None, typer.Option(help="The model's name, if the log does not tell.")] = None,
    data: DataDir = None,
    store: StoreOption = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Bring samples of another tool into the store, scored again; lists where the two scores differ."""
    from evaluators.import_logs import import_logs, to_json

    here = Store.open(store, create=True)
    found = import_logs(here, tool, path, benchmark=benchmark, model=model, data_dir=data)
    if json:
        print_json(to_json(found))
        return
    print(f"{found.benchmark}: {found.records} samples as job {found.job}, {found.rescored} of them scored again")
    for one in found.disagreements:
        print(f"  {one.item} sample {one.sample}: theirs {one.theirs:g}, ours {one.ours:g} ({one.why[:100]})")
    if found.unmatched:
        some = ", ".join(found.unmatched[:10])
        print(f"  {len(found.unmatched)} samples ask no item of ours: {some}")
