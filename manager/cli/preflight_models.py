"""Whether the models of jobs can be loaded where the jobs run: on this disk, whole, and asked as the job asks them.

Reads names of files and config.json alone. A model that another job makes is that job's; only room in the context is
looked up at the model that a chain of trainings begins with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manager.cost import base_job
from manager.job import Job, Kind, Sweep, SweepJob
from manager.model_folder import architecture, has_chat_template, in_cache, lacking, weight_names
from manager.sweep.mistakes import nearest
from manager.sweep.sections import few_shot

TRAININGS = (Kind.SFT, Kind.RL)
KINDS = (*TRAININGS, Kind.EVALUATE, Kind.SAMPLE, Kind.COLLECT, Kind.PROBE)
Variables = Mapping[str, str] | None


@dataclass
class _Told:
    """What was found, each thing once: thousands of jobs have a few models."""

    absent: dict[str, None] = field(default_factory=dict)
    lines: dict[str, None] = field(default_factory=dict)


def problems(sweep: Sweep, todo: Sequence[SweepJob], variables: Variables) -> Iterator[str]:
    """Models that are not on this disk, all in one line; ones that cannot be loaded or asked; answers without room.

    `variables` are those that jobs will have, which say where the hub's cache is; None where that is not known here.
    """
    jobs = {entry.job.id: entry.job for entry in sweep.jobs}
    told = _Told()
    looked: set[str] = set()
    for entry in todo:
        job = entry.job
        if job.kind not in KINDS or _elsewhere(job):
            continue
        first = base_job(job, jobs)
        model = first.config["model"] if first else {}
        answer = _tokens(job) if job.kind is Kind.RL else None
        peft = job.config.get("peft")
        asked = repr((entry.stage, model, first is job, _through_template(job), _needs_files(job), answer, peft))
        if asked in looked:
            continue
        looked.add(asked)
        folder = _folder(model, variables)
        if first is job:
            _look_at(job, model, folder, variables, told)
        if folder is not None and (why := _no_such_module(folder, job.config.get("peft") or {})):
            told.lines[f"stages.{entry.stage}: {why}"] = None
        if answer is not None and (why := _without_room(model, folder, *answer)):
            told.lines[f"stages.{entry.stage}: {why}"] = None
    if told.absent:
        commands = " && ".join(f"hf download {one}" for one in told.absent)
        yield (
            f"{len(told.absent)} models are not in the hub's cache on this disk, and jobs have no network; where there "
            f"is one, run `{commands}`"
        )
    yield from told.lines


def _look_at(job: Job, model: Mapping[str, Any], folder: Path | None, variables: Variables, told: _Told) -> None:
    """The model that the job itself names."""
    missing = lacking(folder) if folder is not None and _needs_files(job) else None
    if "hub" in model:
        if variables is not None and (folder is None or missing) and _offline(variables):
            revision = f" --revision {model['revision']}" if model.get("revision") else ""
            told.absent[f"{model['hub']}{revision}"] = None
        if folder is None or missing:
            return
    if missing:
        told.lines[f"model {folder} {missing}; name another, or save it there again (save_pretrained)"] = None
    if folder is not None and not missing and _through_template(job) and not has_chat_template(folder):
        instead = "; prompting: base_fewshot needs none" if job.kind in (Kind.EVALUATE, Kind.SAMPLE) else ""
        told.lines[
            f"model {folder} has no chat template; name another, or put a chat_template.jinja there{instead}"
        ] = None


def _no_such_module(folder: Path, peft: Mapping[str, Any]) -> str | None:
    """A target that the model has not: peft overlooks it among others, and fails where none is there."""
    targets = peft.get("target_modules")
    modules = {name.removesuffix(".weight") for name in weight_names(folder)}
    if not modules or targets is None or targets == "all-linear":
        return None
    last = {module.rpartition(".")[2] for module in modules} | {"lm_head"}  # which a tied model does not save
    if isinstance(targets, str):
        try:
            re.compile(targets)
        except re.error as error:
            return f"peft.target_modules {targets!r} is no regular expression: {error}"
        found = any(re.fullmatch(targets, module) for module in modules)
        return None if found else f"peft.target_modules {targets!r} fits no module of {folder}; {_valid(last)}"
    absent = [one for one in targets if not any(f".{module}".endswith(f".{one}") for module in modules | last)]
    close = [one for one in absent if nearest(one, last)]
    if not absent or (len(absent) < len(targets) and not close):
        return None  # files may have another name for a module of the model
    told = (close or absent)[0]
    hint = f"did you mean {nearest(told, last)[0]}" if nearest(told, last) else _valid(last)
    return f"peft.target_modules: {told!r} is no module of {folder}; {hint}"


def _valid(names: Set[str]) -> str:
    return f"there are: all-linear, {', '.join(sorted(names))}"


def _elsewhere(job: Job) -> bool:
    """A server that somebody else runs has the model."""
    return (job.config.get("engine") or {}).get("name") == "openai"


def _needs_files(job: Job) -> bool:
    """Weights and a tokenizer in the model's own folder, unless the engine is told to take them from elsewhere."""
    engine = job.config.get("engine") or {}
    return "load_format" not in engine and "tokenizer" not in engine


def _through_template(job: Job) -> bool:
    """Whether prompts go through the model's own chat template."""
    return not few_shot(job.config.get("prompting")) and "tokenizer" not in (job.config.get("engine") or {})


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
