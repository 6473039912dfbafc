"""Sokoban as text: push every box onto a target. Own generator; every level is proved solvable by search.

Levels come from the generator, or from a file in the usual notation (`#` wall, `@` player, `$` box, `.` target, `*`
box on target, `+` player on target), as the Boxoban levels are published.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import ClassVar

from evaluators.environment import Environment, belongs_to, insert_lines, task_rng
from evaluators.environments._sokoban_levels import MOVES, Cell, Level, by_split, generate, moved, solve, symbol
from manager.errors import UserError

VIEWS = ("coordinates", "cells", "matrix", "short")
_MAX_ATTEMPTS = 2000


class Sokoban(Environment):
    name = "sokoban"
    version = 1
    quick = True
    files: ClassVar = {"levels": ()}

    def __init__(
        self, height: int, width: int, boxes: int, view: str, cap: int, moves: tuple[int, int | None],
        levels: Path | None,
    ) -> None:  # fmt: skip
        super().__init__(cap)
        self._min_moves, most = moves
        self._max_moves = cap if most is None else min(most, cap)
        if most is not None and most < self._min_moves:
            raise UserError(f"environment 'sokoban': max_moves {most} is less than min_moves {self._min_moves}")
        if view not in VIEWS:
            raise UserError(f"environment 'sokoban': view {view!r} is not one of {', '.join(VIEWS)}")
        if height < 4 or width < 4 or boxes < 1 or (height - 2) * (width - 2) < 2 * boxes + 1:
            raise UserError(f"environment 'sokoban': {boxes} boxes do not fit into {height} x {width}")
        self._shape = (height, width, boxes)
        self._view = view
        self._file = levels
        self._levels = by_split(levels) if levels else None

    def _begin(self, task: int, split: str) -> None:
        self._level = self._from_file(task, split) if self._levels else self._generated(task, split)
        self._player, self._boxes = self._level.player, self._level.boxes

    def task_count(self, split: str) -> int | None:
        return len(self._levels[split]) if self._levels else None

    def _from_file(self, task: int, split: str) -> Level:
        assert self._levels is not None
        mine = self._levels[split]
        if task >= len(mine):
            raise UserError(f"{self._file}: has {len(mine)} levels of split {split!r}; there is no task {task}")
        return mine[task]

    def _generated(self, task: int, split: str) -> Level:
        height, width, boxes = self._shape
        for attempt in range(_MAX_ATTEMPTS):
            level = generate(task_rng(f"sokoban:{height}:{width}:{boxes}", task, split, attempt), height, width, boxes)
            if not belongs_to(level.text(), split):
                continue
            plan = solve(level, level.player, level.boxes)
            if plan is not None and self._min_moves <= len(plan) <= self._max_moves:
                return level
        raise UserError(
            f"environment 'sokoban': no level of {height} x {width} with {boxes} boxes has a plan of "
            f"{self._min_moves} to {self._max_moves} moves; raise "
            f"{'cap' if self._max_moves == self.cap else 'max_moves'} or lower min_moves"
        )

    def instruction(self) -> str:
        return (
            "You are playing Sokoban: walk to a box and push every box onto a target. You push a box by walking into "
            "it; you cannot pull, and you cannot push two boxes or into a wall. Row 0 is at the top, column 0 at the "
            "left: up lowers the row, down raises it, left lowers the column, right raises it.\n"
            "An action is one of: up, down, left, right."
        )

    def admissible(self) -> list[str]:
        if self.done:
            return []
        return [move for move in MOVES if moved(self._level, self._player, self._boxes, move) is not None]

    def oracle(self) -> list[str] | None:
        return solve(self._level, self._player, self._boxes)

    @property
    def score(self) -> float:
        return len(self._boxes & self._level.targets) / len(self._boxes)

    def _act(self, action: str) -> bool:
        after = moved(self._level, self._player, self._boxes, action.lower()) if action.lower() in MOVES else None
        if after is None:
            return False
        self._player, self._boxes = after
        return True

    def _state(self) -> str:
        views = {"coordinates": self._coordinates, "cells": self._cells, "matrix": self._matrix, "short": self._short}
        return views[self._view]()

    def _matrix(self) -> str:
        level = self._level
        rows = [
            "".join(symbol((row, column), level, self._boxes, self._player) for column in range(level.width))
            for row in range(level.height)
        ]
        legend = "# wall, @ you, $ box, . target, * box on a target, + you on a target"
        return "\n".join([f"The room ({legend}):", *rows])

    def _coordinates(self) -> str:
        level = self._level
        inner = sorted(cell for cell in level.walls if _within_border(level, cell))
        lines = [
            f"The room has {level.height} rows and {level.width} columns, all as (row, column).",
            f"You are at {_at(self._player)}.",
            *(f"A box is at {_at(box)}{self._on_target(box)}." for box in sorted(self._boxes)),
            *(f"A target is at {_at(target)}." for target in sorted(level.targets)),
            f"Walls: the border, and {', '.join(map(_at, inner)) if inner else 'no other cell'}.",
            *(f"{move.capitalize()}: {self._ahead(move)}." for move in MOVES),
        ]
        return "\n".join(lines)

    def _cells(self) -> str:
        """The coordinates, and what every cell holds: as rich a text as a small room gives."""
        level = self._level
        cells = [(row, column) for row in range(level.height) for column in range(level.width)]
        marks = ((cell, symbol(cell, level, self._boxes, self._player)) for cell in cells)
        lines = [f"Row {row}, column {column}: {_HOLDS[mark]}." for (row, column), mark in marks]
        return "\n".join([self._coordinates(), "All cells:", *lines])

    def _short(self) -> str:
        """The coordinates in one line without words around them: a tenth of the tokens, for tiny models."""
        level = self._level
        inner = sorted(cell for cell in level.walls if _within_border(level, cell))
        things = [("you", [self._player]), ("box", sorted(self._boxes)), ("target", sorted(level.targets)),
                  ("wall", inner)]  # fmt: skip
        places = [f"{name} {row},{column}" for name, cells in things for row, column in cells]
        return "; ".join([*places, *(f"{move} {self._what(move)}" for move in MOVES)])

    def _on_target(self, box: Cell) -> str:
        return ", on a target" if box in self._level.targets else ""

    def _next_to(self, move: str) -> Cell:
        step = MOVES[move]
        return (self._player[0] + step[0], self._player[1] + step[1])

    def _what(self, move: str) -> str:
        cell = self._next_to(move)
        return "wall" if cell in self._level.walls else "box" if cell in self._boxes else "free"

    def _ahead(self, move: str) -> str:
        words = {"wall": "a wall", "box": "a box", "free": "free floor"}
        return f"{_at(self._next_to(move))} is {words[self._what(move)]}"

    def augment(self, state: str, epsilon: float, rng: random.Random) -> str:
        """max(1, ε/10) lines, each naming a thing outside the room that cannot be reached."""
        lines = []
        for _ in range(max(1, int(epsilon // 10))):
            cell = (self._level.height + rng.randint(1, 8), self._level.width + rng.randint(1, 8))
            lines.append(
                f"Out of reach, beyond the walls, is a {rng.choice(_COLOURS)} {rng.choice(_THINGS)} at {_at(cell)}."
            )
        return insert_lines(state, lines, rng)


_HOLDS = {
    "#": "a wall", "@": "free floor, where you are", "+": "a target, where you are", "$": "a box",
    "*": "a box on a target", ".": "a target", " ": "free floor",
}  # fmt: skip
_COLOURS = ("red", "blue", "green", "grey", "golden", "white", "black", "brown")
_THINGS = ("lamp", "chair", "vase", "clock", "plant", "barrel", "statue", "carpet", "ladder", "bucket")


def _at(cell: Cell) -> str:
    return f"({cell[0]}, {cell[1]})"


def _within_border(level: Level, cell: Cell) -> bool:
    return 0 < cell[0] < level.height - 1 and 0 < cell[1] < level.width - 1


def make(
    height: int = 6,
    width: int = 6,
    boxes: int = 1,
    view: str = "coordinates",
    cap: int = 15,
    min_moves: int = 3,
    max_moves: int | None = None,
    levels: str | None = None,
) -> Sokoban:
    """A Sokoban; `levels` is a file of levels to use instead of the generator.

    Generated levels have a shortest plan of `min_moves` to `max_moves` moves, and never more than `cap`; with
    `max_moves` they are the same tasks under a larger cap.
    """
    return Sokoban(height, width, boxes, view, cap, (min_moves, max_moves), Path(levels) if levels else None)
