"""ScienceWorld: experiments of a primary school in a simulated house. Needs the package and Java.

One JVM a process, of bounded memory, holds all environments of the process; calls take turns, because the simulator is
not safe to use from threads. The package's `server` calls are used, not its `step`, which asks for much more each time.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaluators.environment import Environment, insert_lines
from evaluators.environments._packages import need
from manager.errors import UserError

# The tasks whose own solution takes at most 50 steps. The others can be named with a higher cap.
SHORT_TASKS = (
    "chemistry-mix",
    "chemistry-mix-paint-secondary-color",
    "chemistry-mix-paint-tertiary-color",
    "find-animal",
    "find-living-thing",
    "find-non-living-thing",
    "find-plant",
    "grow-plant",
    "identify-life-stages-1",
    "identify-life-stages-2",
    "lifespan-longest-lived",
    "lifespan-longest-lived-then-shortest-lived",
    "lifespan-shortest-lived",
    "measure-melting-point-known-substance",
)
_UNKNOWN_ACTION = "No known action matches"
_LOCK = threading.RLock()
_JVM: dict[int, Any] = {}  # process id -> the package's environment, which owns the JVM


@dataclass(frozen=True)
class Catalogue:
    """What is the same in every world with the same tasks; seconds to ask for, so each process asks once."""

    episodes: Mapping[str, list[tuple[str, int]]]  # split -> (task, variation), tasks taking turns
    forms: frozenset[str]  # of actions, in any of the tasks


_CATALOGUES: dict[tuple[tuple[str, ...], str], Catalogue] = {}


def _jvm(memory_mb: int) -> Any:
    """This process's JVM, started when it is first needed; a forked child starts its own."""
    with _LOCK:
        if os.getpid() not in _JVM:
            package = need("scienceworld", "scienceworld")
            before = os.environ.get("JAVA_TOOL_OPTIONS")
            # The package has no option for it; the JVM reads this variable when it starts.
            os.environ["JAVA_TOOL_OPTIONS"] = f"-Xmx{memory_mb}m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
            try:
                _JVM[os.getpid()] = package.ScienceWorldEnv("", envStepLimit=10**6)
            except FileNotFoundError as e:
                raise UserError("environment 'scienceworld' needs Java 17, and no `java` is on the PATH") from e
            finally:
                if before is None:
                    del os.environ["JAVA_TOOL_OPTIONS"]
                else:
                    os.environ["JAVA_TOOL_OPTIONS"] = before
        return _JVM[os.getpid()]


def _catalogue(server: Any, tasks: tuple[str, ...], simplifications: str) -> Catalogue:
    with _LOCK:
        if (tasks, simplifications) not in _CATALOGUES:
            _CATALOGUES[tasks, simplifications] = _ask(server, tasks, simplifications)
        return _CATALOGUES[tasks, simplifications]


def _ask(server: Any, tasks: tuple[str, ...], simplifications: str) -> Catalogue:
    """The package's own splits share no variation."""
    variations: dict[str, list[list[tuple[str, int]]]] = {"train": [], "test": []}
    forms: set[str] = set()
    for task in tasks:
        server.load(task, 0, simplifications, False)
        forms |= set(map(str, server.getPossibleActions()))
        for split, found in (("train", server.getVariationsTrain()), ("test", server.getVariationsTest())):
            variations[split].append([(task, int(variation)) for variation in found])
    return Catalogue({split: _in_turn(lists) for split, lists in variations.items()}, frozenset(forms))


def _in_turn(lists: list[list[tuple[str, int]]]) -> list[tuple[str, int]]:
    return [one[turn] for turn in range(max(map(len, lists))) for one in lists if turn < len(one)]


class ScienceWorld(Environment):
    name = "scienceworld"
    version = 3
    prompt_tokens = 2048
    response_tokens = 1024

    def __init__(self, tasks: tuple[str, ...], simplifications: str, memory_mb: int, cap: int) -> None:
        super().__init__(cap)
        gateway = _jvm(memory_mb)
        known = list(gateway.get_task_names())
        if unknown := sorted(set(tasks) - set(known)):
            raise UserError(
                f"environment 'scienceworld' has no task {', '.join(unknown)}; it has: {', '.join(sorted(known))}"
            )
        self._simplifications = simplifications
        with _LOCK:
            self._server = gateway._gateway.jvm.scienceworld.runtime.pythonapi.PythonInterface()
        self._catalogue = _catalogue(self._server, tasks, simplifications)
        self._plan: list[str] = []
        self._on_plan = True
        self._acted = False

    def task_count(self, split: str) -> int | None:
        return len(self._catalogue.episodes[split])

    def _begin(self, task: int, split: str) -> None:
        episodes = self._catalogue.episodes[split]
        if task >= len(episodes):
            raise UserError(f"environment 'scienceworld': split {split!r} has {len(episodes)} tasks; no task {task}")
        self._episode = episodes[task]
        with _LOCK:
            self._server.load(*self._episode, self._simplifications, True)
            self._plan = list(self._server.getGoldActionSequence())
            self._server.reset()
        self._on_plan = True
        # Until the first action the simulator tells the score of its own solution, which it has just played.
        self._acted = False
        self._shown = ""

    def instruction(self) -> str:
        forms = ", ".join(sorted(self._catalogue.forms - {"reset task"}))  # which would undo what was done
        return (
            "You are in a house with rooms, tools and substances, and have a scientific task. `focus on X` tells the "
            "house that X is your answer: use it only for what the task asks.\n"
            f"An action is one of these, with things of the list of objects for OBJ: {forms}. For "
            "example: go to kitchen, move metal pot to sink, use thermometer on water. "
            "Where a command is ambiguous, answer with the number of the choice."
        )

    def admissible(self) -> list[str]:
        if self.done:
            return []
        with _LOCK:
            return sorted(self._server.getValidActionObjectCombinations())

    def oracle(self) -> list[str] | None:
        """The rest of the package's own solution, while the episode has followed it; else None."""
        return self._plan[self.steps :] if self._on_plan else None

    @property
    def score(self) -> float:
        if not self._acted:
            return 0.0
        with _LOCK:
            return max(0.0, float(self._server.getScore()))

    def _over(self) -> bool:
        if not self._acted:
            return False
        with _LOCK:
            return bool(self._server.getCompleted())

    def _act(self, action: str) -> bool:
        self._on_plan = self._on_plan and self.steps < len(self._plan) and action == self._plan[self.steps]
        if not action:
            return False
        with _LOCK:
            self._shown = str(self._server.step(action))
        self._acted = True
        valid = not self._shown.startswith(_UNKNOWN_ACTION)
        if not valid:
            self._shown = ""
        return valid

    def content(self) -> str:
        """Task and variation."""
        return f"{self._episode[0]}|{self._episode[1]}"

    def _state(self) -> str:
        with _LOCK:
            description, look = str(self._server.getTaskDescription()), str(self._server.freeActionLook())
            inventory, objects = str(self._server.freeActionInventory()), sorted(self._server.getPossibleObjects())
        lines = [description.strip()]
        if self._shown and self._shown.strip() != look.strip():
            lines.append(f"Result: {self._shown.strip()}")
        return "\n".join([*lines, look.strip(), inventory.strip(), f"Objects: {', '.join(objects)}."])

    def augment(self, state: str, epsilon: float, rng: random.Random) -> str:
        """Sentences about what lies outside the house, about ε characters."""
        lines: list[str] = []
        while sum(map(len, lines)) < max(1.0, epsilon):
            lines.append(rng.choice(_OUTSIDE).format(rng.choice(_FAR), rng.randint(2, 60)))
        return insert_lines(state, lines, rng)


_FAR = ("a harbour", "a lighthouse", "a railway bridge", "a chapel", "a windmill", "a quarry")
_OUTSIDE = (
    "Far away, out of reach, is {0}.",
    "A radio in another town reports on {0}.",
    "Through the fog, {1} miles off, stands {0}.",
    "A postcard that nobody can take shows {0}.",
)


def make(
    tasks: list[str] | str | None = None, simplifications: str = "easy", memory_mb: int = 3072, cap: int = 50
) -> ScienceWorld:
    """Tasks by name (a list, or one); by default those whose own solution fits into 50 steps."""
    named = SHORT_TASKS if tasks is None else (tasks,) if isinstance(tasks, str) else tuple(tasks)
    return ScienceWorld(named, simplifications, memory_mb, cap)
