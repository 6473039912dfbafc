"""Which steps of a training stage another stage starts from or evaluates. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from manager.job import Job, Kind, Resources
from manager.sweep.mistakes import shown
from manager.sweep.part import Part

LAST = "last"


@dataclass(frozen=True)
class Steps:
    """What a training job is known to export: every `every` steps and the last one."""

    last: int | None = None  # None: not known before it ran
    every: int | None = None  # None: only the last

    @staticmethod
    def of(job: Job) -> Steps:
        settings: Mapping[str, Any] = job.config.get("grpo") or job.config.get("sft") or {}
        most = settings.get("max_steps")
        last = most if isinstance(most, int) and most > 0 else None
        return Steps(last, job.config.get("export_steps") if job.kind == Kind.RL else None)


def read_checkpoints(part: Part, values: Mapping[str, Any], steps: Steps, needed: str) -> list[int | str]:
    """The steps that `checkpoints` or `checkpoint` names, each once; `last` as its number if it is known."""
    key = "checkpoints" if "checkpoints" in values else "checkpoint"
    wanted = values.get(key)
    if wanted is None:
        return [LAST if steps.last is None else steps.last]
    if wanted == "all" and key == "checkpoints":
        return _all(part, steps, needed)
    many = isinstance(wanted, list)
    if many and key == "checkpoint":
        part.wrong((key,), "expected one step or last, not a list")
        return []
    if many and not wanted:
        part.wrong((key,), "an empty list; name steps, or last")
    found: dict[int | str, None] = {}
    for number, one in enumerate(wanted if many else [wanted]):
        path = (key, number) if many else (key,)
        problem = _problem(one, steps, needed, many or key == "checkpoints")
        if problem:
            part.wrong(path, problem)
        else:
            found[steps.last if one == LAST and steps.last is not None else one] = None
    return list(found) if part.ok else []


def starting_with(step: int | str, steps: Steps, resources: Resources) -> Resources:
    """With the step whose saved weights suffice to start. The last is saved as the training ends: then its result."""
    early = isinstance(step, int) and step != steps.last
    return replace(resources, starts_with=step) if early else resources  # type: ignore[arg-type]


def _all(part: Part, steps: Steps, needed: str) -> list[int | str]:
    if steps.every is None or steps.last is None:
        part.wrong(
            ("checkpoints",),
            f"all: the steps of {needed} are not known before it ran; "
            f"give stages.{needed}.grpo.max_steps, or list the steps",
        )
        return []
    return [*range(steps.every, steps.last, steps.every), steps.last]


def _problem(one: Any, steps: Steps, needed: str, all_valid: bool) -> str | None:
    if one == LAST:
        return None
    if isinstance(one, bool) or not isinstance(one, int):
        more = "; all stands alone, not in a list" if one == "all" else ""
        return f"expected a step, last{' or all' if all_valid else ''}, not {shown(one)}{more}"
    if one == 0:
        return f"step 0 is the model that {needed} starts from; evaluate that in a stage of its own"
    if one < 0:
        return f"{one} is not a step"
    if steps.last is not None and one > steps.last:
        return f"{needed} ends at step {steps.last} (max_steps), so there is no step {one}"
    if one == steps.last:
        return None
    if steps.every is None:
        return f"{needed} exports only its last step; write last"
    if one % steps.every:
        return f"{needed} exports every {steps.every} steps (export_steps), and {one} is not one of these"
    return None
