"""What must be true before jobs are handed over: compute nodes have no network and cannot fetch data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from manager.cli import preflight_models
from manager.cli.preflight_models import TRAININGS, Variables
from manager.errors import UserError
from manager.job import Job, Kind, Sweep
from manager.store import Store
from manager.sweep.sections import few_shot


def require(store: Store, sweep: Sweep, variables: Variables = os.environ) -> None:
    """Refuse a sweep some of whose jobs could not run: all that is missing, a line each that names what to do."""
    unfinished = _unfinished(store, sweep)
    if found := [*_benchmarks(unfinished), *_problems(store, sweep, unfinished, variables)]:
        raise UserError("\n".join(f"sweep {sweep.name}: {problem}" for problem in found))


def problems(store: Store, sweep: Sweep, variables: Variables = os.environ) -> list[str]:
    """Why jobs of the sweep that have no result yet could not run: what `manager plan` tells, at little cost.

    `variables` are those that jobs will have, which say where the hub's cache is; None where that is not known here.
    """
    return _problems(store, sweep, _unfinished(store, sweep), variables)


def _problems(store: Store, sweep: Sweep, unfinished: Sequence[Job], variables: Variables) -> list[str]:
    ids = {job.id for job in unfinished}
    entries = [entry for entry in sweep.jobs if entry.job.id in ids]
    learned = [job for job in unfinished if job.kind in (*TRAININGS, Kind.SAMPLE)]
    models = preflight_models.problems(sweep, entries, variables)
    return [*_training_data(learned), *models, *_states(store, learned)]


def _unfinished(store: Store, sweep: Sweep) -> list[Job]:
    return [entry.job for entry in sweep.jobs if not store.run(entry.job.id).is_done()]


def _benchmarks(todo: Sequence[Job]) -> Iterator[str]:
    from evaluators.benchmark_data import missing

    asked = [
        (row["name"], few_shot(job.config.get("prompting")))
        for job in todo
        if job.kind is Kind.EVALUATE
        for row in job.config["benchmarks"]
        if row["data"] and "environment" not in row["data"]  # computed ones have none, environments make their tasks
    ]
    splits = {"test": {name for name, _ in asked}, "train": {name for name, examples in asked if examples}}
    for split, wanted in splits.items():
        if absent := missing(sorted(wanted), split=split):
            first = next(iter(absent.values()))
            yield f"no {split} data for {len(absent)} of its benchmarks ({', '.join(absent)}): {first}"


def _training_data(todo: Sequence[Job]) -> Iterator[str]:
    """All domains in one line, with one command."""
    from trainers.identity import absent

    read = [job.config.get("data") or {} for job in todo]
    missing = {str(data["name"]): absent(data) for data in read if "sources" in data}
    lacking = [name for name, sets in missing.items() if sets]
    if not lacking:
        return
    sets = list(dict.fromkeys(one for name in lacking for one in missing[name]))
    domains = dict.fromkeys(domain for name in lacking for domain in name.split("+"))
    to = os.environ.get("MANAGER_DATA_DIR") or "DIR"
    command = f"manager data fetch {' '.join(f'--domain {one}' for one in domains)} --to {to}"
    yield (
        f"data {', '.join(lacking)}: {len(sets)} sets that they are made of or compared with are not on this disk "
        f"({', '.join(sets)}); where there is a network, run `{command}`"
    )


def _states(store: Store, todo: Sequence[Job]) -> Iterator[str]:
    """A training goes on from its state with as many processes as saved it, or as it can be converted for."""
    from trainers.checkpoints import saved_processes
    from trainers.worlds import obstacle

    for job in todo:
        folder = store.run(job.id).path / "checkpoints"
        saved = saved_processes(folder)
        if saved is not None and (why := obstacle(job.config, saved, job.resources.training_processes)):
            yield f"job {job.id} {why}; give its stage {saved} again (resources), or remove {folder} to start it anew"
