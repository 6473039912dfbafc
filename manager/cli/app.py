"""The typer application with every command; each command's code is in the module named for its subject."""

from __future__ import annotations

from collections.abc import Callable

import typer

from manager.cli import data, episodes, evaluation, jobs, machine, results, samples, sweeps

app = typer.Typer(
    name="manager",
    help="Runs reinforcement-learning transfer studies: training and evaluation jobs, on Slurm or here.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_COMMANDS: tuple[Callable[..., None], ...] = (
    sweeps.plan,
    sweeps.sweep,
    sweeps.status,
    jobs.logs,
    jobs.cancel,
    jobs.retry,
    jobs.why,
    results.report,
    results.ui,
    results.sync,
    results.rebuild,
    machine.doctor,
    machine.clean,
    evaluation.evaluate,
    samples.show_prompt,
    episodes.episode,
)

for _command in _COMMANDS:
    app.command()(_command)
app.command("import")(samples.import_samples)
app.add_typer(data.app, name="data")
