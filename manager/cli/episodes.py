"""`manager episode`: one stored episode of an agent, step by step, or the list of what a job played."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from manager.atomic import read_jsonl
from manager.cli.options import DEFAULT_STORE, Json, StoreOption, print_json
from manager.errors import UserError
from manager.store import RunDirectory, Store

if TYPE_CHECKING:
    from evaluators.agent import Episode


def episode(
    which: Annotated[str, typer.Argument(help="JOB, or JOB:ENVIRONMENT:TASK, or JOB:ENVIRONMENT:TASK:SAMPLE.")],
    failed: Annotated[bool, typer.Option("--failed", help="List only episodes without success.")] = False,
    store: StoreOption = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Replay an episode that a job played; with a job alone, list its episodes."""
    job, *place = which.split(":")
    if len(place) > 3:
        raise UserError(f"{which!r} is not JOB:ENVIRONMENT:TASK:SAMPLE, for example 3f2a:sokoban:17")
    directory = Store.open(store).find_job(job)
    if len(place) < 2:
        _list(directory, place[0] if place else None, failed=failed, json=json)
        return
    found = _find(directory, place[0], place[1], place[2] if len(place) == 3 else None)
    if json:
        print_json(found.to_json())
        return
    for line in replay(found):
        print(line)


def _names(directory: RunDirectory) -> list[str]:
    names = sorted(path.stem for path in (directory.path / "episodes").glob("*.jsonl"))
    if not names:
        raise UserError(
            f"job {directory.path.name} has no episodes; "
            "jobs of kind evaluate and rl (with environments), collect and probe have them"
        )
    return names


def _read(directory: RunDirectory, name: str) -> Iterator[Episode]:
    from evaluators.agent import Episode

    if name not in _names(directory):
        raise UserError(f"job {directory.path.name} played no {name!r}; it played: {', '.join(_names(directory))}")
    for value in read_jsonl(directory.path / "episodes" / f"{name}.jsonl"):
        yield Episode.from_json(value)


def _find(directory: RunDirectory, name: str, task: str, sample: str | None) -> Episode:
    tasks: list[int] = []
    found = None
    for one in _read(directory, name):
        if str(one.task) == task and sample in (None, str(one.sample)):
            if one.training_step is None:
                return one
            found = one  # of a task that was trained on again, the newest
        tasks.append(one.task)
    if found is not None:
        return found
    some = ", ".join(map(str, sorted(set(tasks))[:10]))
    what = f"task {task}" if sample is None else f"task {task} sample {sample}"
    raise UserError(
        f"job {directory.path.name}: no {what} of {name} among its {len(tasks)} episodes; tasks are: {some}"
    )


def _list(directory: RunDirectory, only: str | None, *, failed: bool, json: bool) -> None:
    rows = [
        {"id": f"{directory.path.name}:{name}:{one.task}:{one.sample}", "success": one.success, "steps": one.steps,
         "invalid": one.invalid, "ended": ended(one), "training_step": one.training_step}
        for name in ([only] if only else _names(directory))
        for one in _read(directory, name)
        if not (failed and one.success)
    ]  # fmt: skip
    if json:
        print_json(rows)
        return
    for row in rows:
        after = "" if row["training_step"] is None else f", step {row['training_step']} of the training"
        print(f"{row['id']}  {row['ended']}, {row['steps']} steps, {row['invalid']} invalid{after}")


def ended(one: Episode) -> str:
    if one.failure:
        return f"environment failed: {one.failure}"
    if one.success:
        return "success"
    return f"prompt too long: {one.too_long}" if one.too_long else f"no success (score {one.score:g})"


def replay(one: Episode) -> Iterator[str]:
    """The episode as a person reads it."""
    more = ", augmented" if one.augmented else ""
    more += "" if one.training_step is None else f", trained on after {one.training_step} steps"
    yield f"{one.environment} task {one.task} sample {one.sample}{more}"
    for number, turn in enumerate(one.turns, 1):
        yield f"\n--- step {number}"
        yield turn.state
        yield f"\n    answer: {turn.completion.strip()}"
        action = "no action could be read" if turn.action is None else turn.action
        yield f"    action: {action}{'' if turn.valid else '  (could not be done)'}"
    if one.unanswered is not None:
        yield f"\n--- step {len(one.turns) + 1}: the policy could not be asked"
        yield one.unanswered
    yield f"\n=== {ended(one)}, {one.steps} steps, {one.invalid} invalid, {one.completion_tokens} tokens"
