"""Prompts to measure on how far an agent has moved from its base: steps of test tasks, which no training sees.

They are states on the way of the environment's own plan, the same for every policy; an environment without plans has
none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluators.agent import AgentSettings, messages
from evaluators.oracle import play_oracle
from evaluators.player import Work
from evaluators.worlds import Here, There, Worlds
from manager.run import Run
from trainers.drift import PROMPTS
from trainers.rollouts import HANG_S

MOST_TASKS = PROMPTS  # looked at, where tasks have few steps


def held_out_steps(entries: Sequence[Mapping[str, Any]], run: Run) -> list[tuple[str, list[dict[str, str]]]]:
    """(environment, conversation) of the first steps of test tasks, as many for each as `drift` takes of a domain."""
    asked = AgentSettings.parse(run.config.get("agent"))
    found: list[tuple[str, list[dict[str, str]]]] = []
    for entry in entries:
        kind, options = entry["data"]["environment"], entry["data"]["options"]
        worlds = Worlds(kind, options, 1, HANG_S)
        try:
            steps = [step for step, _ in zip(_steps(entry["name"], worlds.all[0], asked), range(PROMPTS), strict=False)]
        finally:
            worlds.close()
        if not steps:
            why = "there is no plan to go along"
            run.event("drift_without", f"the KL to the base is not measured on {entry['name']}: {why}")
        found += [(entry["name"], step) for step in steps]
    return found


def _steps(name: str, world: Here | There, asked: AgentSettings) -> Iterator[list[dict[str, str]]]:
    count = world.task_count("test")
    for task in range(MOST_TASKS if count is None else min(count, MOST_TASKS)):
        turns = play_oracle(world, Work(name, task, 0, task, "test"), asked).turns
        for place, turn in enumerate(turns):
            yield messages(world.instruction, turns[:place], turn.state, asked)
