"""What the keys mean that several kinds of stage have: seed, model, prompting, resources. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manager.job import Resources
from manager.sweep.libraries import scratch as check_scratch
from manager.sweep.mistakes import shown, unknown
from manager.sweep.part import Part

FEW_SHOT = "base_fewshot"


def seed(part: Part) -> dict[str, Any]:
    return {"seed": part.whole(("seed",), 0, least=0)}


def model(part: Part, *, scratch: bool) -> dict[str, Any]:
    """`model` of the config: a catalogue row, a folder, or an inline `{hub, revision}`. Absent: none here."""
    value = part.get("model")
    if value is None:
        return {}
    if isinstance(value, dict):
        return {"model": _inline_model(part, value, scratch)}
    if not isinstance(value, str) or not value:
        part.wrong(("model",), f"expected a name of the catalogue or a path, not {shown(value)}")
        return {}
    row = part.catalog.models.get(value)
    if row is None:
        return {"model": _model_folder(part, value)}
    if "scratch" in row:
        if not scratch:
            part.wrong(
                ("model",),
                f"{value} is made from scratch; make it in a stage of kind sft and need that stage",
            )
        return {"model": {"name": value, "scratch": row["scratch"]}}
    return {"model": {"name": value, "hub": row["hub"], "revision": row.get("revision")}}


def _inline_model(part: Part, value: Mapping[str, Any], scratch: bool) -> dict[str, Any]:
    part.keys(("model",), ("name", "hub", "revision", "scratch"))
    if ("hub" in value) == ("scratch" in value):
        part.wrong(("model",), "expected {hub: id, revision: commit} or {name: …, scratch: {…}}")
        return {}
    if "scratch" in value:
        if not scratch:
            part.wrong(("model", "scratch"), "only a stage of kind sft can make a model from scratch")
        found = part.passed(("model", "scratch"))
        check_scratch(part, found)
        return {"name": part.text(("model", "name"), "scratch"), "scratch": found}
    hub = part.text(("model", "hub"))
    return {
        "name": part.text(("model", "name"), hub),
        "hub": hub,
        "revision": part.text(("model", "revision")),
    }


def _model_folder(part: Part, text: str) -> dict[str, Any]:
    place, _ = part.written(("model",))
    base = Path() if place.is_override else Path(place.file).parent
    found = part.context.find_model(text, base)
    if isinstance(found, tuple):
        return {"path": found[0], "digest": found[1]}
    if found is not None:
        part.wrong(("model",), f"{text}: {found}")
    elif text.startswith(("/", ".", "~")):
        part.wrong(
            ("model",),
            f"no folder {text}" + ("" if text[0] in "/~" else f" (looked for it in {base or '.'})"),
        )
    elif "/" in text:
        part.wrong(
            ("model",),
            f"no folder {text} and no such name in the catalogue; a model of the hub is written "
            f"{{hub: {text}, revision: COMMIT}} or gets a row in experiments/catalog/models.yaml "
            "(`manager evaluate` has --revision COMMIT)",
        )
    else:
        part.wrong(("model",), f"{shown(text)}: {unknown('model', text, part.catalog.models, count=3)}")
    return {}


def few_shot(prompting: Any) -> bool:
    """Whether prompts are text with examples, which are rows of the train split, and go through no chat template."""
    return (prompting.get("mode") if isinstance(prompting, Mapping) else prompting) == FEW_SHOT


def prompting(part: Part) -> dict[str, Any]:
    """A mode, or `{mode, thinking, system}`. A mapping that says nothing but the mode is the mode: the same job."""
    if not isinstance(part.get("prompting"), dict):
        return {"prompting": part.choice(("prompting",), part.catalog.prompting, "prompting", "chat")}
    part.keys(("prompting",), ("mode", "thinking", "system"))
    mode = part.choice(("prompting", "mode"), part.catalog.prompting, "prompting", "chat")
    thinking, system = part.get("prompting", "thinking"), part.text(("prompting", "system"))
    if thinking is not None and not isinstance(thinking, bool):
        part.wrong(("prompting", "thinking"), f"expected true or false, not {shown(thinking)}")
    if thinking is not None and mode == FEW_SHOT:
        part.wrong(("prompting", "thinking"), "goes to a chat template, and base_fewshot uses none; leave it out")
    more = {"thinking": thinking, "system": system}
    given = {key: value for key, value in more.items() if value is not None}
    return {"prompting": {"mode": mode, **given} if given else mode}


RESOURCE_KEYS = (
    "nodes",
    "gpus_per_node",
    "tasks_per_node",
    "cpus_per_task",
    "memory_gb",
    "time_min",
    "micro_batch",
    "server_gpus",
    "environment_processes",
    "slurm",
)


def server_misfit(found: Resources, *, one_process: bool) -> str:
    if one_process:
        return "only a training has a server that generates; leave it out"
    if found.server_gpus > found.tasks:
        return f"{found.server_gpus} GPUs for one server, and a node has {found.tasks}; a server stays on one node"
    return f"all {found.world_size} would generate and none would train; ask for more GPUs or nodes"


def resources(part: Part, *, one_process: bool) -> Resources:
    """`resources`. Evaluation and reports are one process, whatever the number of GPUs."""
    part.keys(("resources",), RESOURCE_KEYS)
    at = "resources"
    found = Resources(
        nodes=part.whole((at, "nodes"), 1) or 1,
        gpus_per_node=part.whole((at, "gpus_per_node"), 0, least=0) or 0,
        tasks_per_node=part.whole((at, "tasks_per_node"), 1 if one_process else None),
        cpus_per_task=part.whole((at, "cpus_per_task")),
        memory_gb=part.number((at, "memory_gb"), least=0.1),
        time_min=part.whole((at, "time_min")),
        micro_batch=part.whole((at, "micro_batch")),
        slurm=part.passed((at, "slurm")),
        server_gpus=part.whole((at, "server_gpus"), 0, least=0) or 0,
        environment_processes=part.whole((at, "environment_processes")),
    )
    if found.server_gpus and (one_process or found.server_gpus > found.tasks or found.training_processes < 1):
        part.wrong((at, "server_gpus"), server_misfit(found, one_process=one_process))
    if one_process and (found.nodes > 1 or found.tasks > 1):
        key = "nodes" if found.nodes > 1 else "tasks_per_node"
        part.wrong((at, key), "this kind runs as one process on one node; give it more GPUs with gpus_per_node")
    elif found.gpus_per_node and not one_process and found.tasks != found.gpus_per_node:
        part.wrong(
            (at, "tasks_per_node"),
            f"{found.tasks} processes for {found.gpus_per_node} GPUs; "
            "training runs one process on each GPU, leave tasks_per_node out",
        )
    return found
