"""BabyAI levels of the minigrid package as text: what the agent sees in front of it, and six actions in words.

The rendering is ours; the levels, their missions and the bot that is the oracle are the package's.
"""

from __future__ import annotations

import contextlib
import copy
import io
import random
from typing import Any

from evaluators.environment import Environment, belongs_to, insert_lines, task_rng
from evaluators.environments._packages import need
from manager.errors import UserError

# Our words -> the number of the action in minigrid.
ACTIONS = {"turn left": 0, "turn right": 1, "go forward": 2, "pick up": 3, "drop": 4, "toggle": 5}
_WORDS = {number: words for words, number in ACTIONS.items()}
_MAX_ATTEMPTS = 1000


class BabyAI(Environment):
    name = "babyai"
    version = 1

    def __init__(self, level: str, cap: int) -> None:
        super().__init__(cap)
        gymnasium = need("gymnasium", self.name)
        need("minigrid", self.name)  # registers its levels
        known = sorted(name for name in gymnasium.registry if name.startswith("BabyAI-"))
        if level not in known:
            raise UserError(f"environment 'babyai' has no level {level!r}; it has: {', '.join(known)}")
        self._level = level
        self._world: Any = gymnasium.make(level).unwrapped
        self._terminated = False
        self._won = False

    def _begin(self, task: int, split: str) -> None:
        for attempt in range(_MAX_ATTEMPTS):
            seed = task_rng(f"babyai:{self._level}", task, split, attempt).randrange(2**31)
            with contextlib.redirect_stdout(io.StringIO()):  # the package prints what its generator rejects
                self._world.reset(seed=seed)
            if belongs_to(self.content(), split):
                break
        else:
            raise UserError(f"environment 'babyai': level {self._level!r} has too few tasks for two splits")
        self._terminated = self._won = False

    def content(self) -> str:
        """All that makes the task: mission, cells, where the agent stands."""
        world = self._world
        cells = world.grid.encode().tobytes().hex()
        return f"{world.mission}|{tuple(map(int, world.agent_pos))}|{int(world.agent_dir)}|{cells}"

    def instruction(self) -> str:
        return (
            "You walk through rooms on a grid and have a mission. You see what lies in front of you and to the sides. "
            "You can pick up or toggle (open, unlock, close) only what is directly in front of you, carry one thing "
            "at a time, and unlock a door with the key of its colour.\n"
            f"An action is one of: {', '.join(ACTIONS)}."
        )

    def admissible(self) -> list[str]:
        if self.done:
            return []
        world = self._world
        ahead = world.grid.get(*world.front_pos)
        possible = {
            "turn left": True,
            "turn right": True,
            "go forward": ahead is None or ahead.can_overlap(),
            "pick up": ahead is not None and ahead.can_pickup() and world.carrying is None,
            "drop": ahead is None and world.carrying is not None,
            "toggle": ahead is not None and ahead.type in ("door", "box"),
        }
        return [action for action, can in possible.items() if can]

    def oracle(self) -> list[str] | None:
        """What the package's bot does from here, played on a copy of the world."""
        bots = need("minigrid.utils.baby_ai_bot", self.name)
        world = copy.deepcopy(self._world)
        bot = bots.BabyAIBot(world)
        plan: list[str] = []
        last = None
        while len(plan) < self.cap:
            try:
                action = bot.replan(last)
            except (AssertionError, bots.DisappearedBoxError):
                return None  # the bot says that it cannot do this mission
            plan.append(_WORDS[int(action)])
            _, reward, terminated, _, _ = world.step(action)
            if terminated:
                return plan if reward > 0 else None
            last = action
        return None

    @property
    def score(self) -> float:
        return float(self._won)

    def _over(self) -> bool:
        return self._terminated

    def _act(self, action: str) -> bool:
        if action.lower() not in self.admissible():
            return False
        _, reward, self._terminated, _, _ = self._world.step(ACTIONS[action.lower()])
        self._won = bool(self._terminated and reward > 0)
        return True

    def _state(self) -> str:
        world = self._world
        carried = (
            f"You carry a {world.carrying.color} {world.carrying.type}." if world.carrying else "You carry nothing."
        )
        seen = self._seen()
        return "\n".join([f"Mission: {world.mission}.", carried, *(seen or ["You see only the floor."])])

    def _seen(self) -> list[str]:
        """The visible things, nearest first; the agent stands at the bottom middle of its view, facing up."""
        constants = need("minigrid.core.constants", self.name)
        image = self._world.gen_obs()["image"]
        width, height = image.shape[:2]
        things: list[tuple[int, int, str]] = []
        for column in range(width):
            for row in range(height):
                kind = constants.IDX_TO_OBJECT[int(image[column, row, 0])]
                side, ahead = column - width // 2, height - 1 - row
                if kind in ("unseen", "empty", "floor", "agent") or (side, ahead) == (0, 0):
                    continue
                if kind == "wall" and side and ahead:
                    continue  # walls straight ahead and beside are enough to find one's way
                colour = constants.IDX_TO_COLOR[int(image[column, row, 1])]
                named = _named(kind, colour, int(image[column, row, 2]))
                things.append((abs(side) + ahead, side, f"You see {named} {_where(side, ahead)}."))
        return [text for _, _, text in sorted(things)]

    def augment(self, state: str, epsilon: float, rng: random.Random) -> str:
        """Sentences about the look of the place, about ε characters."""
        lines: list[str] = []
        while sum(map(len, lines)) < max(1.0, epsilon):
            lines.append(rng.choice(_REMARKS).format(rng.choice(_SHADES)))
        return insert_lines(state, lines, rng)


_SHADES = ("pale", "dusty", "bright", "worn", "speckled", "smooth")
_REMARKS = (
    "The floor tiles here look {0}.",
    "The ceiling is {0} and far above.",
    "The light in this place is {0}.",
    "A {0} echo comes back from far away.",
    "The air smells {0}, if a smell can be that.",
)


def _named(kind: str, colour: str, state: int) -> str:
    if kind == "wall":
        return "a wall"
    if kind == "door":
        return f"{('an open', 'a closed', 'a locked')[state]} {colour} door"
    return f"a {colour} {kind}"


def _where(side: int, ahead: int) -> str:
    parts = []
    if ahead:
        parts.append(f"{ahead} {'step' if ahead == 1 else 'steps'} ahead")
    if side:
        parts.append(f"{abs(side)} {'step' if abs(side) == 1 else 'steps'} to the {'left' if side < 0 else 'right'}")
    return " and ".join(parts)


def make(level: str = "BabyAI-GoToLocal-v0", cap: int = 50) -> BabyAI:
    """A BabyAI level; every `BabyAI-*` of the package can be named."""
    return BabyAI(level, cap)
