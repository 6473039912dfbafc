"""`plan`, `sweep` and `status`."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from manager import render
from manager.cli.options import (
    DEFAULT_STORE,
    Json,
    Overrides,
    StoreOption,
    SweepFile,
    SweepName,
    load,
    open_sweep,
    print_json,
)
from manager.job import State, Sweep
from manager.plan import Act, Action, actions
from manager.status import SweepStatus, collect
from manager.store import Store

if TYPE_CHECKING:
    from manager.forecast import Forecast
    from manager.usage import Usage

# While a person watches, accounting is asked for GPU-hours no more often.
USAGE_INTERVAL_S = 60.0

ClusterOption = Annotated[str | None, typer.Option("--cluster", help="Name of a cluster in the site file, or `local`.")]


BudgetOption = Annotated[
    float | None,
    typer.Option("--budget", metavar="GPU_HOURS", min=0.0, help="Start nothing above it: budget_gpu_hours."),
]  # fmt: skip


def plan(
    file: SweepFile,
    overrides: Overrides = None,
    store: StoreOption = DEFAULT_STORE,
    cluster: ClusterOption = None,
    scripts: Annotated[bool, typer.Option("--scripts", help="Show the exact scripts.")] = False,
    budget: BudgetOption = None,
    gpu_gb: Annotated[float, typer.Option("--gpu-gb", min=1, help="Memory of one GPU, to say what fits.")] = 80.0,
    as_json: Json = False,
) -> None:
    """Show what would run, what is done, and what it costs. Changes nothing."""
    from manager.backends import job_variables
    from manager.cli.preflight import problems
    from manager.observe import all_facts
    from manager.room import mended, with_room
    from manager.shards import ShardChooser

    # A plan must not make the store; without one, nothing was run yet.
    here = Store(store.resolve())
    chooser = ShardChooser(here)
    sweep_ = with_budget(load(file, overrides, chooser), budget)
    facts = all_facts(here, [entry.job.id for entry in sweep_.jobs])
    facts = with_room(facts, mended(here, facts))
    todo = actions(sweep_, facts)
    forecast = _forecast(here, sweep_, todo, gpu_gb)
    refused = problems(here, sweep_, job_variables(sweep_, cluster))
    if as_json:
        shards = [vars(choice) for choice in chooser.choices]
        listed = [_action_json(each) for each in todo]
        print_json({"name": sweep_.name, **forecast.to_json(), "refused": refused, "shards": shards, "jobs": listed})
        return
    console = Console()
    console.print(render.plan(todo))
    console.print(_plan_summary(todo))
    told = [f"`manager sweep` would refuse it: {problem}" for problem in refused]
    for line in (*chooser.lines(), *forecast.lines(), *told):
        indent = len(line) - len(line.lstrip())
        console.print(Padding(Text(line.strip()), (0, 0, 0, indent), expand=False))
    if scripts:
        from manager.backends import choose

        backend = choose(here, sweep_, cluster, slots=None)
        for script in backend.scripts([each.entry for each in todo if each.act in (Act.SUBMIT, Act.RESUME)]):
            print(script)


def with_budget(sweep: Sweep, gpu_hours: float | None) -> Sweep:
    """The sweep with the bound of the command line in place of the file's."""
    if gpu_hours is None:
        return sweep
    return replace(sweep, settings={**sweep.settings, "budget_gpu_hours": gpu_hours})


def _forecast(store: Store, sweep: Sweep, todo: list[Action], gpu_gb: float) -> Forecast:
    from experiments import catalog
    from manager.forecast import forecast

    entries = [action.entry for action in todo if action.act in (Act.SUBMIT, Act.RESUME)]
    return forecast(store, sweep, entries, catalog.architectures(), gpu_gb)


def _action_json(action: Action) -> dict[str, Any]:
    job = action.entry.job
    return {
        "id": job.id, "stage": action.entry.stage, "kind": job.kind.value, "labels": dict(action.entry.labels),
        "needs": list(job.needs), "action": action.act.value, "state": action.state.value, "why": action.why,
    }  # fmt: skip


def _plan_summary(todo: list[Action]) -> str:
    number = {act: sum(each.act is act for each in todo) for act in Act}
    parts = [f"{count} to {act.value}" for act, count in number.items() if count and act is not Act.SKIP]
    done = f"{number[Act.SKIP]} of {len(todo)} jobs are done"
    if number[Act.SKIP]:
        done += " (before, with the same config and the same parents: their results are used)"
    return f"\n{done}; {', '.join(parts)}" if parts else f"\n{done}; nothing to run"


def sweep(
    file: SweepFile,
    overrides: Overrides = None,
    store: StoreOption = DEFAULT_STORE,
    cluster: ClusterOption = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Jobs at a time on this machine.")] = None,
    budget: BudgetOption = None,
    canary: Annotated[
        bool | None,
        typer.Option(
            "--canary/--no-canary",
            help="On a cluster: one job of each array first, the others after its first step (default above 20 jobs).",
        ),
    ] = None,
) -> None:
    """Run a sweep: only what has no result yet. Run it again at any time; it goes on where it was."""
    from manager.shards import ShardChooser

    here = Store.open(store, create=True)
    chooser = ShardChooser(here)
    sweep_ = with_budget(load(file, overrides, chooser), budget)
    for line in chooser.lines():
        print(line)
    raise typer.Exit(run_sweep(here, sweep_, cluster, slots, canary))


def run_sweep(
    store: Store, sweep: Sweep, cluster: str | None, slots: int | None, canary: bool | None = None
) -> int:
    """Run what is missing where the sweep belongs; returns the exit status."""
    from manager.backends import choose, job_variables
    from manager.cli.preflight import require
    from manager.cluster.local import LocalBackend
    from manager.observe import all_facts
    from manager.room import lift

    backend = choose(store, sweep, cluster, slots, canary)
    require(store, sweep, job_variables(sweep, cluster))
    if lifted := lift(store, all_facts(store, [entry.job.id for entry in sweep.jobs])):
        jobs = "a job" if len(lifted) == 1 else f"{len(lifted)} jobs"
        print(f"{jobs} that a full disk stopped: there is room now, going on from what is saved")
    if isinstance(backend, LocalBackend):
        from manager.cli.local_sweep import run_here

        return run_here(store, sweep, backend)
    from manager.cli.slurm_sweep import submit
    from manager.cluster.slurm import SlurmBackend

    assert isinstance(backend, SlurmBackend)  # there are two
    return submit(store, sweep, backend)


def status(
    sweep: SweepName = None,
    store: StoreOption = DEFAULT_STORE,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until all is done.")] = False,
    as_json: Json = False,
) -> None:
    """One screen about a sweep: what runs, how far, what failed, why."""
    here, record = open_sweep(store, sweep, outline=True)
    if as_json:
        print_json(_collect(here, record).to_json())
        return
    console = Console()
    if not watch:
        value = _collect(here, record)
        console.print(render.status(value))
        console.print(next_step(value))
        return
    from rich.live import Live

    used, asked_at = None, 0.0
    with Live(console=console, auto_refresh=False, screen=False) as live:
        while True:
            if time.monotonic() - asked_at > USAGE_INTERVAL_S:
                used, asked_at = None, time.monotonic()
            value = _collect(here, record, used)
            used = value.used
            live.update(render.status(value), refresh=True)
            if not any(value.counts[state] for state in (State.RUNNING, State.QUEUED, State.UNKNOWN)):
                break
            time.sleep(1.0)
    console.print(next_step(value))


def _collect(store: Store, sweep: Sweep, used: Usage | None = None) -> SweepStatus:
    """With `used` accounting is not asked for it again: a screen that refreshes must not burden it."""
    from manager.backends import views, views_and_usage
    from manager.observe import all_facts

    ids = [entry.job.id for entry in sweep.jobs]
    if used is None:
        seen, used = views_and_usage(store, sweep)
    else:
        seen = views(store, sweep, ids)
    return collect(store, sweep, all_facts(store, ids, seen), used)


def next_step(value: SweepStatus) -> str:
    """What the user would run next."""
    counts = value.counts
    if value.complete:
        return f"complete: `manager report {value.name}` shows the result, `manager ui {value.name}` opens MLflow"
    if counts[State.FAILED]:
        first = next((row.id for row in value.problems if row.state is State.FAILED), "")
        return f"`manager logs {first}` shows why; `manager retry {value.name} --failed` tries again"
    if counts[State.RUNNING] or counts[State.QUEUED]:
        return f"`manager status {value.name} --watch` follows it"
    if counts[State.CANCELLED]:
        return f"cancelled jobs stay as they are until `manager retry {value.name}`; then run `manager sweep` again"
    return "run `manager sweep` with the same file to go on"
