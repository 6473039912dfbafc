"""`doctor` and `clean`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from manager.cli.options import DEFAULT_STORE, Json, StoreOption, SweepName, open_sweep, print_json
from manager.errors import UserError


def doctor(as_json: Json = False) -> None:
    """What this machine has, and what to install for the rest."""
    from evaluators import code_tools
    from manager.doctor import Finding, examine

    findings = examine()
    findings += [Finding(each.benchmark, each.ok, each.found, each.advice) for each in code_tools.examine()]
    if as_json:
        print_json([vars(finding) for finding in findings])
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "part", "found", "what it is for, and what to do"):
        table.add_column(name)
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[yellow]--[/]"
        table.add_row(mark, finding.part, finding.found, finding.advice)
    Console().print(table)


def clean(
    sweep: SweepName = None,
    store: StoreOption = DEFAULT_STORE,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it the list is only shown.")] = False,
    results: Annotated[bool, typer.Option("--results", help="Finished jobs of this sweep too.")] = False,
) -> None:
    """Free disk space; results stay. Shows a list; --yes deletes it."""
    from manager.clean import candidates, delete

    here, record = open_sweep(store, sweep)
    found = candidates(here, record, results=results)
    if not found:
        print("nothing to delete")
        return
    for each in found:
        print(f"{each.bytes / 1e6:10,.1f} MB  {each.path.relative_to(here.root)}  ({each.why})")
    total = sum(each.bytes for each in found) / 1e6
    if not yes:
        raise UserError(f"{total:,.1f} MB could be freed; nothing was deleted, `--yes` deletes the list above")
    delete(found)
    print(f"{total:,.1f} MB freed")
