"""One part of a stage, filled in: typed reading that tells mistakes where they are written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manager.catalog import Catalog
from manager.content import FindFiles
from manager.sweep.matrix import Matrix
from manager.sweep.mistakes import Mistakes, Place, dotted, shown, unknown
from manager.sweep.nodes import Node
from manager.sweep.values import MISSING


def nowhere(text: str, base: Path, patterns: Sequence[str]) -> str:
    """No file is looked for: for an expansion that must not touch the disk."""
    return f"{text}: was not looked for"


FindModel = Callable[[str, Path], "tuple[str, str] | str | None"]


@dataclass(frozen=True)
class Context:
    """What the reading of every stage shares."""

    root: Node  # the document, with `defaults` merged into the stages
    matrix: Matrix
    catalog: Catalog
    mistakes: Mistakes
    find_model: FindModel  # (text, folder) -> (path, digest), None if it is no folder, or what is wrong with it
    study: str | None = None
    find_files: FindFiles = nowhere


@dataclass
class Part:
    """Reads some keys of one stage for one row. After a mistake `ok` is false and the values are not used."""

    context: Context
    stage: str
    values: Mapping[str, Any]
    row: tuple[Any, ...]
    ok: bool = True

    @property
    def catalog(self) -> Catalog:
        return self.context.catalog

    def written(self, path: Sequence[str | int]) -> tuple[Place, str]:
        """Where the value at `path` of the stage is written: in the matrix, if it is just `${key}`."""
        full = ("stages", self.stage, *path)
        node = self.context.root.at(full)
        text = node.value
        if isinstance(text, str) and text.startswith("${") and text.endswith("}"):
            key = text[2:-1]
            if key in self.context.matrix.keys:
                found = self.context.matrix.places.get((key, self.row[self.context.matrix.keys.index(key)]))
                if found is not None:
                    return found.place, found.key
        return node.place, dotted(full)

    def wrong(self, path: Sequence[str | int], message: str) -> None:
        place, key = self.written(path)
        self.context.mistakes.add(place, key, message)
        self.ok = False

    def get(self, *path: str) -> Any:
        """The value, or None where it is absent or null."""
        value: Any = self.values
        for part in path:
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is MISSING:
            self.ok = False
            return None
        return value

    # Each of these gives the value if it is right, and otherwise tells and gives the default.

    def whole(self, path: tuple[str, ...], default: int | None = None, *, least: int = 1) -> int | None:
        value = self.get(*path)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(path, f"expected a whole number, not {shown(value)}")
            return default
        if value < least:
            self.wrong(path, f"{value} is too small; at least {least}")
            return default
        return value

    def number(
        self,
        path: tuple[str, ...],
        default: float | None = None,
        *,
        least: float = -math.inf,
        most: float = math.inf,
    ) -> float | None:
        value = self.get(*path)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.wrong(path, f"expected a number, not {shown(value)}")
            return default
        if not least <= value <= most:
            self.wrong(path, f"{value} is not between {least:g} and {most:g}")
            return default
        return value

    def text(self, path: tuple[str, ...], default: str | None = None) -> str | None:
        value = self.get(*path)
        if value is None or isinstance(value, str):
            return default if value is None else value
        self.wrong(path, f"expected a text, not {shown(value)}")
        return default

    def choice(self, path: tuple[str, ...], valid: Iterable[str], what: str, default: str | None = None) -> str | None:
        value = self.text(path, default)
        names = list(valid)
        if value is not None and value not in names:
            self.wrong(path, f"{shown(value)}: {unknown(what, value, names)}")
        return value

    def mapping(self, path: tuple[str, ...]) -> dict[str, Any]:
        value = self.get(*path)
        if value is None or isinstance(value, dict):
            return value or {}
        self.wrong(path, f"expected a mapping of keys to values, not {shown(value)}")
        return {}

    def keys(self, path: tuple[str, ...], valid: Iterable[str]) -> None:
        """Tell every key of the mapping at `path` that is not valid."""
        names = list(valid)
        for key in self.mapping(path):
            if key not in names:
                self.wrong((*path, key), unknown("key", key, names))

    def json(self, path: tuple[str, ...], value: Any) -> Any:
        """`value` if JSON can hold it (a pass-through), else told."""
        if value is MISSING:
            self.ok = False
        elif isinstance(value, float) and not math.isfinite(value):
            self.wrong(path, f"{value} is not a finite number")
        elif isinstance(value, dict):
            for key, child in value.items():
                self.json((*path, key), child)
        elif isinstance(value, list):
            for child in value:
                self.json(path, child)
        return value

    def passed(self, path: tuple[str, ...]) -> dict[str, Any]:
        """A mapping that goes to a library unchanged."""
        value = self.mapping(path)
        self.json(path, value)
        return value
