"""What must be true before jobs are handed over: compute nodes have no network and cannot fetch data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from manager.cost import base_job
from manager.errors import UserError
from manager.job import Job, Kind, Sweep, SweepJob
from manager.model_folder import architecture, has_chat_template, in_cache
from manager.store import Store
from manager.sweep.evaluation import few_shot

TRAININGS = (Kind.SFT, Kind.RL)
Variables = Mapping[str, str] | None


def require(store: Store, sweep: Sweep, variables: Variables = os.environ) -> None:
    """Refuse a sweep some of whose jobs could not run, in one line that names what to do."""
    for problem in (*_benchmarks(_unfinished(store, sweep)), *problems(store, sweep, variables)):
        raise UserError(f"sweep {sweep.name}: {problem}")


def problems(store: Store, sweep: Sweep, variables: Variables = os.environ) -> list[str]:
    """Why trainings of the sweep that have no result yet could not run: what `manager plan` tells, at little cost.

    `variables` are those that jobs will have, which say where the hub's cache is; None where that is not known here.
    """
    todo = [job for job in _unfinished(store, sweep) if job.kind in (*TRAININGS, Kind.SAMPLE)]
    ids = {job.id for job in todo if job.kind in TRAININGS}
    trainings = [entry for entry in sweep.jobs if entry.job.id in ids]
    return [*_training_data(todo), *_models(sweep, trainings, variables), *_states(store, todo)]


def _unfinished(store: Store, sweep: Sweep) -> list[Job]:
    return [entry.job for entry in sweep.jobs if not store.run(entry.job.id).is_done()]


def _benchmarks(todo: Sequence[Job]) -> Iterator[str]:
    from evaluators.benchmark_data import missing

    asked = [
        (row["name"], few_shot(job.config.get("prompting")))
        for job in todo
        if job.kind is Kind.EVALUATE
        for row in job.config["benchmarks"]
        if row["data"]  # computed ones have none
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


def _models(sweep: Sweep, trainings: Sequence[SweepJob], variables: Variables) -> Iterator[str]:
    """Models that are not on this disk, all in one line; ones that cannot be asked; answers longer than a context."""
    jobs = {entry.job.id: entry.job for entry in sweep.jobs}
    absent: dict[str, None] = {}
    told: dict[str, None] = {}
    looked: dict[tuple[str, str], None] = {}  # thousands of jobs have a few models
    for entry in trainings:
        first = base_job(entry.job, jobs)
        model = first.config["model"] if first else {}
        looked_at = (entry.stage, repr((model, first is entry.job, _tokens(entry.job))))
        if looked_at in looked:
            continue
        looked[looked_at] = None
        folder = _folder(model, variables)
        if folder is not None and not has_chat_template(folder):
            told[f"model {folder} has no chat template; name another, or put a chat_template.jinja there"] = None
        if folder is None and "hub" in model and variables is not None and _offline(variables):
            revision = f" --revision {model['revision']}" if model.get("revision") else ""
            absent[f"{model['hub']}{revision}"] = None
        if entry.job.kind is Kind.RL and (why := _without_room(model, folder, *_tokens(entry.job))):
            told[f"stages.{entry.stage}: {why}"] = None
    if absent:
        commands = " && ".join(f"hf download {one}" for one in absent)
        yield (
            f"{len(absent)} models are not in the hub's cache on this disk, and jobs have no network; where there is "
            f"one, run `{commands}`"
        )
    yield from told


def _folder(model: Mapping[str, Any], variables: Variables) -> Path | None:
    if "path" in model:
        return Path(model["path"])
    if "hub" not in model or variables is None:
        return None
    return in_cache(model["hub"], model.get("revision"), variables)


def _offline(variables: Mapping[str, str]) -> bool:
    """As jobs will be: they are offline unless somebody says otherwise (manager/environment.py)."""
    return variables.get("HF_HUB_OFFLINE", "1").lower() not in ("0", "false", "no", "off", "")


def _tokens(job: Job) -> tuple[int, int]:
    """The longest prompt and answer of a training."""
    from trainers import context

    return context.prompt_tokens(job.config.get("data") or {}), context.answer_tokens(job.config)


def _without_room(model: Mapping[str, Any], folder: Path | None, prompt: int, answer: int) -> str | None:
    """Why no prompt fits before a whole answer, where the model's context is known here."""
    from trainers import context

    if "scratch" in model:
        window = model["scratch"].get("context")
    else:
        window = context.tokens((architecture(folder) if folder else None) or {})
    try:
        context.room(prompt, answer, window)
    except context.ContextError as error:
        return str(error)
    return None


def _states(store: Store, todo: Sequence[Job]) -> Iterator[str]:
    """A training goes on from its state with as many processes as saved it, or as it can be converted for."""
    from trainers.checkpoints import saved_processes
    from trainers.worlds import obstacle

    for job in todo:
        folder = store.run(job.id).path / "checkpoints"
        saved = saved_processes(folder)
        if saved is not None and (why := obstacle(job.config, saved, job.resources.training_processes)):
            yield f"job {job.id} {why}; give its stage {saved} again (resources), or remove {folder} to start it anew"
