"""Generated TextWorld games: rooms, doors, containers and a quest. No Inform compiler and no game files are needed.

The games, their rules and winning policies are the package's; the texts are made here from the facts of the game.
"""

from __future__ import annotations

import random
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from evaluators.environment import Environment, belongs_to, insert_lines, task_rng
from evaluators.environments._packages import need
from manager.errors import UserError

_DIRECTIONS = ("north", "south", "east", "west")
# What only shows what the state shows anyway.
_IDLE = ("examine ", "look", "inventory")
_MAX_ATTEMPTS = 200


@lru_cache(maxsize=64)
def _game(rooms: int, objects: int, quest_length: int, seed: int) -> str:
    """One generated game as JSON; kept, because a training group plays the same one many times."""
    package = need("textworld", "textworld")
    generator = need("textworld.generator", "textworld")
    options = package.GameOptions()
    options.seeds = seed
    options.nb_rooms, options.nb_objects, options.quest_length = rooms, objects, quest_length
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "game.json"
        generator.make_game(options).save(str(path))
        return path.read_text(encoding="utf-8")


class TextWorld(Environment):
    name = "textworld"
    version = 2
    prompt_tokens = 2048

    def __init__(self, rooms: int, objects: int, quest_length: int, cap: int) -> None:
        super().__init__(cap)
        if rooms < 1 or objects < 1 or quest_length < 1:
            raise UserError("environment 'textworld': rooms, objects and quest_length must be at least 1")
        self._shape = (rooms, objects, quest_length)
        self._package = need("textworld", self.name)
        self._env: Any = None
        self._seen: Any = None

    def _begin(self, task: int, split: str) -> None:
        key = f"textworld:{self._shape}"
        for attempt in range(_MAX_ATTEMPTS):
            seed = task_rng(key, task, split, attempt).randrange(2**31)
            # The seed decides the split: making a game takes a second, and two seeds do not make one game.
            if belongs_to(f"{key}:{seed}", split):
                break
        self._start(_game(*self._shape, seed))

    def _start(self, game: str) -> None:
        infos = self._package.EnvInfos(
            admissible_commands=True, policy_commands=True, won=True, lost=True, objective=True, facts=True
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "game.json"
            path.write_text(game, encoding="utf-8")
            self._env = self._package.start(str(path), infos)
        self._seen = self._env.reset()
        self._objective = " ".join(str(self._seen.objective).split())

    def instruction(self) -> str:
        return (
            "You are playing a text game with rooms, doors and containers, and have an objective. What is in a closed "
            "container cannot be seen.\n"
            "An action is one of these commands, with the things that you see: go east, open chest, close chest, "
            "unlock door with key, lock door with key, take key (from the floor), take key from table, drop cup, "
            "put cup on shelf, insert cup into chest, eat apple."
        )

    def admissible(self) -> list[str]:
        if self.done:
            return []
        return sorted(command for command in self._seen.admissible_commands if not command.startswith(_IDLE))

    def oracle(self) -> list[str] | None:
        policy = self._seen.policy_commands
        return list(policy) if policy else None

    @property
    def score(self) -> float:
        return float(bool(self._seen.won))

    def _over(self) -> bool:
        return bool(self._seen.won or self._seen.lost)

    def _act(self, action: str) -> bool:
        commands = {command.lower(): command for command in self.admissible()}  # names may hold capitals
        command = commands.get(" ".join(action.lower().split()))
        if command is None:
            return False
        self._seen, _, _ = self._env.step(command)
        return True

    def content(self) -> str:
        """All that makes the game: objective and facts."""
        return f"{self._objective}|{sorted(map(str, self._seen.facts))}"

    def _state(self) -> str:
        facts = _Facts(self._seen.facts)
        return "\n".join(
            [
                f"Objective: {self._objective}",
                f"You are in the {facts.room}.",
                *facts.exits(),
                *(f"There is {facts.described(thing)}." for thing in facts.things_at(facts.room)),
                f"You carry: {', '.join(facts.carried()) or 'nothing'}.",
            ]
        )

    def augment(self, state: str, epsilon: float, rng: random.Random) -> str:
        """Sentences about scenery that no command names, about ε characters."""
        lines: list[str] = []
        while sum(map(len, lines)) < max(1.0, epsilon):
            lines.append(rng.choice(_SCENERY).format(rng.choice(_SHADES)))
        return insert_lines(state, lines, rng)

    def close(self) -> None:
        super().close()
        if self._env is not None:
            self._env.close()


class _Facts:
    """The facts of a game, as questions that a description asks."""

    def __init__(self, facts: Any) -> None:
        self._all = [(fact.name, tuple(str(argument.name) for argument in fact.arguments)) for fact in facts]
        self.room = next(arguments[1] for name, arguments in self._all if name == "at" and arguments[0] == "P")

    def _first_where(self, name: str, second: str) -> list[str]:
        return sorted(arguments[0] for found, arguments in self._all if found == name and arguments[1:] == (second,))

    def things_at(self, room: str) -> list[str]:
        return [thing for thing in self._first_where("at", room) if thing != "P"]

    def carried(self) -> list[str]:
        return [f"the {thing}" for thing in self._first_where("in", "I")]

    def _condition(self, thing: str) -> str | None:
        return next((name for name in ("open", "closed", "locked") if (name, (thing,)) in self._all), None)

    def described(self, thing: str) -> str:
        """The thing, whether it is open, and what is seen in or on it."""
        condition = self._condition(thing)
        text = f"the {thing}" + (f" ({condition})" if condition else "")
        inside = self._first_where("in", thing) if condition == "open" else []
        upon = self._first_where("on", thing)
        if inside:
            text += f"; in it: {', '.join(f'the {item}' for item in inside)}"
        return text + (f"; on it: {', '.join(f'the {item}' for item in upon)}" if upon else "")

    def exits(self) -> list[str]:
        lines = []
        for direction in _DIRECTIONS:
            for beyond in self._first_where(f"{direction}_of", self.room):
                doors = [a[1] for name, a in self._all if name == "link" and (a[0], a[2]) == (self.room, beyond)]
                through = f" through the {doors[0]} ({self._condition(doors[0])})" if doors else ""
                lines.append(f"An exit leads {direction}{through}.")
        return lines


_SHADES = ("grey", "faded", "polished", "cracked", "spotless", "old")
_SCENERY = (
    "The wallpaper is {0}.",
    "A {0} stain is on the ceiling.",
    "The floorboards look {0}.",
    "Behind a {0} window pane it is raining.",
    "A painting of a {0} mountain hangs out of reach.",
)


def make(rooms: int = 4, objects: int = 6, quest_length: int = 4, cap: int = 30) -> TextWorld:
    """Games of this size; a quest of `quest_length` commands."""
    return TextWorld(rooms, objects, quest_length, cap)
