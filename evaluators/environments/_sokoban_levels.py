"""Levels of Sokoban: their rules, the search for a plan, the generator, and files in the usual notation. Text only."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from evaluators.environment import SPLITS, belongs_to
from manager.errors import UserError

Cell = tuple[int, int]  # row, column
MOVES: dict[str, Cell] = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
_MAX_STATES = 400_000


@dataclass(frozen=True)
class Level:
    """A level at its start; walls include the border."""

    height: int
    width: int
    walls: frozenset[Cell]
    targets: frozenset[Cell]
    boxes: frozenset[Cell]
    player: Cell

    def text(self) -> str:
        """The level in the usual notation."""
        return "\n".join(
            "".join(symbol((row, column), self, self.boxes, self.player) for column in range(self.width))
            for row in range(self.height)
        )


def symbol(cell: Cell, level: Level, boxes: frozenset[Cell], player: Cell) -> str:
    if cell in level.walls:
        return "#"
    on_target = cell in level.targets
    if cell == player:
        return "+" if on_target else "@"
    if cell in boxes:
        return "*" if on_target else "$"
    return "." if on_target else " "


def moved(level: Level, player: Cell, boxes: frozenset[Cell], move: str) -> tuple[Cell, frozenset[Cell]] | None:
    """Player and boxes after a move, or None where a wall or a second box is in the way."""
    step = MOVES[move]
    ahead = (player[0] + step[0], player[1] + step[1])
    if ahead in level.walls:
        return None
    if ahead not in boxes:
        return ahead, boxes
    beyond = (ahead[0] + step[0], ahead[1] + step[1])
    if beyond in level.walls or beyond in boxes:
        return None
    return ahead, (boxes - {ahead}) | {beyond}


def solve(level: Level, player: Cell, boxes: frozenset[Cell]) -> list[str] | None:
    """The shortest plan, by breadth-first search; None where there is none (or the search grows too large)."""
    start = (player, boxes)
    came_from: dict[tuple[Cell, frozenset[Cell]], tuple[tuple[Cell, frozenset[Cell]], str] | None] = {start: None}
    dead = _dead_cells(level)
    queue = deque([start])
    while queue:
        state = queue.popleft()
        if state[1] == level.targets:
            return _path(came_from, state)
        for move in MOVES:
            after = moved(level, *state, move)
            if after is None or after in came_from or (after[1] is not state[1] and after[1] & dead):
                continue
            came_from[after] = (state, move)
            queue.append(after)
        if len(came_from) > _MAX_STATES:
            return None
    return None


def _path(came_from: dict, state: tuple[Cell, frozenset[Cell]]) -> list[str]:  # type: ignore[type-arg]
    plan: list[str] = []
    while (step := came_from[state]) is not None:
        state, move = step
        plan.append(move)
    return plan[::-1]


@lru_cache(maxsize=4096)
def _dead_cells(level: Level) -> frozenset[Cell]:
    """Cells from which a lone box reaches no target: found by pulling boxes from the targets."""
    alive = set(level.targets)
    queue = deque(level.targets)
    while queue:
        row, column = queue.popleft()
        for down, right in MOVES.values():
            before, player = (row - down, column - right), (row - 2 * down, column - 2 * right)
            if before in level.walls or player in level.walls or before in alive or not _inside(level, player):
                continue
            alive.add(before)
            queue.append(before)
    cells = {(row, column) for row in range(level.height) for column in range(level.width)}
    return frozenset(cells - level.walls - alive)


def _inside(level: Level, cell: Cell) -> bool:
    return 0 <= cell[0] < level.height and 0 <= cell[1] < level.width


def generate(rng: random.Random, height: int, width: int, boxes: int) -> Level:
    """A random room; solvable or not."""
    border = {(r, c) for r in range(height) for c in range(width) if r in (0, height - 1) or c in (0, width - 1)}
    inner = [(r, c) for r in range(1, height - 1) for c in range(1, width - 1)]
    inner_walls = rng.sample(inner, rng.randint(0, max(0, len(inner) // 4)))
    free = [cell for cell in inner if cell not in inner_walls]
    if len(free) < 2 * boxes + 1:
        inner_walls, free = [], inner
    places = rng.sample(free, 2 * boxes + 1)
    return Level(
        height,
        width,
        frozenset(border | set(inner_walls)),
        frozenset(places[:boxes]),
        frozenset(places[boxes : 2 * boxes]),
        places[-1],
    )


def read_levels(path: Path) -> list[Level]:
    """The levels of a file, separated by blank lines or lines that begin with `;`."""
    levels: list[Level] = []
    for block in _blocks(path):
        width = max(len(line) for line in block)
        cells = {(r, c): mark for r, line in enumerate(block) for c, mark in enumerate(line.ljust(width))}
        players = [cell for cell, mark in cells.items() if mark in "@+"]
        boxes = frozenset(cell for cell, mark in cells.items() if mark in "$*")
        targets = frozenset(cell for cell, mark in cells.items() if mark in ".*+")
        walls = frozenset(cell for cell, mark in cells.items() if mark == "#")
        if len(players) != 1 or not boxes or len(boxes) != len(targets):
            raise UserError(f"{path}: level {len(levels)}: needs one player and as many boxes as targets")
        levels.append(Level(len(block), width, walls, targets, boxes, players[0]))
    if not levels:
        raise UserError(f"{path}: holds no level")
    return levels


def by_split(path: Path) -> dict[str, list[Level]]:
    """The levels of a file that belong to each split, in its order."""
    levels = read_levels(path)
    return {split: [level for level in levels if belongs_to(level.text(), split)] for split in SPLITS}


def _blocks(path: Path) -> Iterator[list[str]]:
    block: list[str] = []
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as e:
        raise UserError(f"environment 'sokoban': levels: {path} cannot be read ({e.strerror})") from e
    for line in [*text.splitlines(), ""]:
        if line.strip() and not line.startswith(";"):
            block.append(line.rstrip())
        elif block:
            yield block
            block = []
