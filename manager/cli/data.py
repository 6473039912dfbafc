"""`manager data`: brings benchmarks and training data onto this machine's disk, and checks what is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from manager.errors import UserError

app = typer.Typer(help="Fetch and check data; compute nodes have no network.", no_args_is_help=True)

DataDir = Annotated[
    Path, typer.Option("--to", envvar="MANAGER_DATA_DIR", help="The data folder; $MANAGER_DATA_DIR if left out.")
]


@app.command()
def fetch(
    to: DataDir,
    suite: Annotated[str, typer.Option(help="A suite, or benchmarks separated by commas.")] = "all16",
) -> None:
    """Fetch what the benchmarks of a suite need from the hub, with checksums. Run it on a login node."""
    from evaluators.fetch import fetch as bring

    report = bring(benchmarks_of(suite), to, tell=print)
    for name in report.by_hand:
        print(f"{name}: on no hub; docs/benchmarks.md says where it comes from")
    if report.failed:
        lines = "; ".join(f"{path}: {why}" for path, why in report.failed.items())
        raise UserError(f"{len(report.failed)} of the files could not be fetched: {lines}")
    print(f"{len(report.fetched)} files fetched, {len(report.kept)} were there")


@app.command()
def check(to: DataDir) -> None:
    """Compare every file of the data folder with its checksum."""
    from evaluators.fetch import check as look

    problems = look(to)
    if problems:
        raise UserError(f"{to}: {'; '.join(problems)}; `manager data fetch` brings them again")
    print(f"{to}: every file is as its checksum says")


def benchmarks_of(suite: str) -> Sequence[str]:
    """The benchmarks that a suite's name, or names separated by commas, stand for."""
    from experiments import catalog

    known = catalog.load()
    if suite in known.suites:
        return known.suites[suite]
    names = [name.strip() for name in suite.split(",") if name.strip()]
    unknown = [name for name in names if name not in known.benchmarks]
    if unknown or not names:
        raise UserError(
            f"--suite {suite}: {', '.join(unknown) or 'nothing'} is neither a suite ({', '.join(known.suites)}) "
            f"nor a benchmark ({', '.join(known.benchmarks)})"
        )
    return names
