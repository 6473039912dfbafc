"""ALFWorld: household tasks in text. Official games where their data is; else problems of our own in its PDDL domain.

Domain and grammar are the package's, the states are written here from the facts, and the oracle is the planner of the
textworld package, which also proves that a problem of ours can be solved within the cap.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import random
from collections import Counter
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, ClassVar

from evaluators.environment import Environment, belongs_to, insert_lines, task_rng
from evaluators.environments._alfworld_rooms import KINDS, make_problem
from evaluators.environments._packages import need
from manager.errors import UserError

# What only shows what the state shows anyway.
_IDLE = ("examine ", "look", "inventory", "help")
_MAX_ATTEMPTS = 100
# Folders of the official data: the test split is the one with rooms that training has not seen.
_FOLDERS = {"train": "train", "test": "valid_unseen"}
BELOW, GAME = "json_2.1.1", "game.tw-pddl"


@cache
def _logic() -> tuple[str, str]:
    """The package's domain and grammar, read without importing it (its import makes folders)."""
    found = importlib.util.find_spec("alfworld")
    if found is None or not found.submodule_search_locations:
        need("alfworld", "alfworld")
        raise AssertionError("unreachable: need() raises where the package is missing")
    folder = Path(found.submodule_search_locations[0]) / "data"
    return (folder / "alfred.pddl").read_text(), (folder / "alfred.twl2").read_text()


@cache
def _parse_once() -> None:
    """Keep what the package parses again and again: problems four times a reset, command templates every step.

    Replaces two of its functions by memoised ones. A translation is only read; a parsed template is changed while it
    is filled, so each caller gets a copy.
    """
    planner = need("fast_downward", "alfworld")
    planner.pddl2sas = lru_cache(maxsize=64)(planner.pddl2sas)
    templates = need("textworld.envs.pddl.textgen", "alfworld")
    parsed = lru_cache(maxsize=4096)(templates._parse_and_convert)
    templates._parse_and_convert = lambda text, **options: copy.deepcopy(parsed(text, **options))


@lru_cache(maxsize=16)
def _official_games(data: str, split: str) -> tuple[Path, ...]:
    """The solvable games of a split, shuffled: folders are named by kind of task, and jobs play the first so many."""
    below = Path(data) / BELOW  # `data` may also be the folder that `alfworld-download` fills
    folder = (below if below.is_dir() else Path(data)) / _FOLDERS[split]
    games = []
    for path in folder.rglob(GAME):
        name = path.relative_to(folder).as_posix()
        if "movable" not in name and "Sliced" not in name and json.loads(path.read_text()).get("solvable"):
            games.append((hashlib.sha256(name.encode()).digest(), path))
    if not games:
        raise UserError(f"environment 'alfworld': no solvable game.tw-pddl below {folder}; run `alfworld-download`")
    return tuple(path for _, path in sorted(games))


class AlfWorld(Environment):
    name = "alfworld"
    version = 2
    prompt_tokens = 2048
    files: ClassVar = {
        "data": tuple(f"{below}{folder}/**/{GAME}" for below in ("", f"{BELOW}/") for folder in _FOLDERS.values())
    }

    def __init__(self, data: str | None, kinds: tuple[str, ...], cap: int) -> None:
        super().__init__(cap)
        if unknown := sorted(set(kinds) - set(KINDS)):
            raise UserError(f"environment 'alfworld' has no kind {', '.join(unknown)}; it has: {', '.join(KINDS)}")
        self._data = data
        self._kinds = kinds
        self._world = need("textworld.envs.pddl.pddl", self.name).PddlEnv(
            need("textworld", self.name).EnvInfos(admissible_commands=True, won=True, facts=True)
        )
        self._domain, self._grammar = _logic()
        _parse_once()

    def task_count(self, split: str) -> int | None:
        return len(_official_games(self._data, split)) if self._data else None

    def _begin(self, task: int, split: str) -> None:
        if self._data:
            games = _official_games(self._data, split)
            if task >= len(games):
                raise UserError(f"environment 'alfworld': split {split!r} has {len(games)} games; no task {task}")
            self._load(json.loads(games[task].read_text()))
            self._task = str(self._seen.feedback).partition("Your task is to:")[2].strip().rstrip(".")
        else:
            self._make(task, split)

    def _make(self, task: int, split: str) -> None:
        for attempt in range(_MAX_ATTEMPTS):
            problem = make_problem(task_rng(f"alfworld:{self._kinds}", task, split, attempt), self._kinds)
            if not belongs_to(problem.pddl, split):
                continue
            self._load({"pddl_domain": self._domain, "grammar": self._grammar, "pddl_problem": problem.pddl})
            self._task, self._problem = problem.task, problem.pddl
            if 0 < len(self._planned()) <= self.cap:
                return
        raise UserError(f"environment 'alfworld': no problem has a plan of at most {self.cap} steps; raise cap")

    def _load(self, game: dict[str, Any]) -> None:
        self._world.load(game)
        for info, name in zip(*_names(self._world), strict=True):
            info.name = name
        self._seen = self._world.reset()

    def _planned(self) -> list[str]:
        return [str(command) for command in self._world._pddl_state.replan(self._world._entity_infos)]

    def content(self) -> str:
        """All that makes the task."""
        return str(self._world._game_data["pddl_problem"])

    def instruction(self) -> str:
        return (
            "You are in a room with furniture and things, and have a task. You can use only what is where you are; "
            "what is in something closed cannot be seen. You can carry one thing at a time.\n"
            "An action is a command such as: go to cabinet 1, open cabinet 1, take mug 1 from cabinet 1, move mug 1 to "
            "desk 1, clean mug 1 with sinkbasin 1, heat mug 1 with microwave 1, "
            "cool mug 1 with fridge 1, use desklamp 1."
        )

    def admissible(self) -> list[str]:
        if self.done:
            return []
        return [command for command in self._seen.admissible_commands if not command.startswith(_IDLE)]

    def oracle(self) -> list[str] | None:
        """The planner's plan from here."""
        if self.success:
            return []
        return [command for command in self._planned() if not command.startswith(_IDLE)] or None

    @property
    def score(self) -> float:
        return float(bool(self._seen.won))

    def _act(self, action: str) -> bool:
        command = " ".join(action.lower().split())
        if command not in self.admissible():
            return False
        self._seen, _, _ = self._world.step(command)
        return True

    def _state(self) -> str:
        facts = _Facts(self._seen.facts)
        here = facts.here()
        lines = [f"Task: {self._task}.", f"In the room: {', '.join(map(facts.furniture, facts.all_furniture()))}."]
        if not here:
            lines.append("You are in the middle of the room.")
        for place in here:
            lines.append(f"You are at {place}. {facts.contents(place)}")
        carried = facts.carried()
        lines.append(f"You carry: {', '.join(map(facts.thing, carried)) or 'nothing'}.")
        return "\n".join(lines)

    def augment(self, state: str, epsilon: float, rng: random.Random) -> str:
        """⌊ε/12⌋ sentences, each naming a thing that no command reaches with a description of it."""
        lines = [
            f"Through the window you see a {rng.choice(_LOOKS)} {rng.choice(_THINGS)}."
            for _ in range(int(epsilon // 12))
        ]
        return insert_lines(state, lines, rng)


_LOOKS = ("rusty", "tall", "crooked", "painted", "wet", "shiny", "broken", "striped")
_THINGS = ("gate", "tree", "bicycle", "fence", "chimney", "fountain", "bench", "signpost")


class _Facts:
    """The facts of the world, by the names that commands use."""

    def __init__(self, facts: Any) -> None:
        self._all = {(fact.name, tuple(" ".join(str(a.name).split()) for a in fact.arguments)) for fact in facts}

    def _where(self, name: str, position: int, value: str) -> list[str]:
        found = {a[1 - position] for fact, a in self._all if fact == name and len(a) == 2 and a[position] == value}
        return sorted(found, key=_natural)

    def all_furniture(self) -> list[str]:
        return sorted({a[0] for fact, a in self._all if fact == "receptacleatlocation"}, key=_natural)

    def furniture(self, name: str) -> str:
        if ("openable", (name,)) not in self._all:
            return name
        return f"{name} ({'open' if ('opened', (name,)) in self._all else 'closed'})"

    def here(self) -> list[str]:
        places = [a[1] for fact, a in self._all if fact == "atlocation"]
        return self._where("receptacleatlocation", 1, places[0]) if places else []

    def contents(self, place: str) -> str:
        if ("openable", (place,)) in self._all and ("opened", (place,)) not in self._all:
            return "It is closed."
        things = [self.thing(name) for name in self._where("inreceptacle", 1, place)]
        return f"In or on it: {', '.join(things) or 'nothing'}."

    def carried(self) -> list[str]:
        return sorted({a[1] for fact, a in self._all if fact == "holds"}, key=_natural)

    def thing(self, name: str) -> str:
        words = [word for fact, word in _CONDITIONS if (fact, (name,)) in self._all]
        return " ".join([*words, name])


_CONDITIONS = (("isclean", "clean"), ("ishot", "hot"), ("iscool", "cool"), ("istoggled", "lit"))


def _natural(name: str) -> tuple[str, int]:
    word, _, number = name.rpartition(" ")
    return (word, int(number)) if number.isdigit() else (name, 0)


def _names(world: Any) -> tuple[list[Any], list[str]]:
    """Names for the entities: `apple_1` is `apple 1`; official ids (`Apple|-00.1|…`, mangled) are numbered by type."""
    infos = sorted(world._entity_infos.values(), key=lambda info: info.id)
    kinds = [_kind(info.id) for info in infos]
    left = Counter(kind for kind in kinds if kind)
    names = []
    for info, kind in zip(infos, kinds, strict=True):
        if kind is None:
            names.append(info.id.replace("_", " "))
        else:
            names.append(f"{kind} {left[kind]}")
            left[kind] -= 1
    return infos, names


def _kind(identifier: str) -> str | None:
    kind, mangled, _ = identifier.partition("_bar_")
    if not mangled:
        return None
    return f"{kind}basin" if "basin" in identifier and not kind.endswith("basin") else kind


def make(data: str | None = None, kinds: list[str] | None = None, cap: int = 50) -> AlfWorld:
    """`data`: the folder `json_2.1.1` of the official games, or the one above; without it our own, of these kinds."""
    return AlfWorld(data, tuple(kinds or KINDS), cap)
