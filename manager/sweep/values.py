"""Interpolation by OmegaConf's grammar: `mini-${domain}`, `${values.steps.${domain}}`, `${oc.env:HOME}`.

A text is compiled once into what it needs of the matrix. Plain references are filled in directly and
everything else by OmegaConf, both once for each tuple of the values that are used: ten thousand
combinations do not mean ten thousand OmegaConf objects.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from omegaconf import Container, OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException
from omegaconf.grammar_parser import parse

from manager.sweep.mistakes import Mistakes, nearest
from manager.sweep.nodes import Node

Row = tuple[Any, ...]
Path = tuple[str | int, ...]

LEFT_OUT = ("matrix", "exclude", "include")  # may be large, and nothing refers to them
ALONE = "_text_"  # where a text of those keys is resolved
_SIMPLE = re.compile(r"\$\{([^\W\d][\w-]*)\}")
_WORD = re.compile(r"[^\W\d][\w-]*")
_environ: ContextVar[Mapping[str, str] | None] = ContextVar("environ", default=None)


class _Missing:
    """Stands for a value that could not be made; the mistake is already told."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


@dataclass(frozen=True)
class Template:
    """A value in which the matrix values are filled in. `uses`: positions in the row, in order."""

    uses: tuple[int, ...]
    _make: Callable[[Row], Any]
    _memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    _key: Callable[[Row], Any] = field(default=lambda row: None, compare=False, repr=False)

    def key(self, row: Row) -> Any:
        """The values of the row that this template depends on."""
        return self._key(row)

    def fill(self, row: Row) -> Any:
        key = self._key(row)
        if key not in self._memo:
            self._memo[key] = self._make(row)
        return self._memo[key]


def template(uses: Sequence[int], make: Callable[[Row], Any]) -> Template:
    places = tuple(sorted(set(uses)))
    return Template(places, make, {}, itemgetter(*places) if places else lambda row: None)


class Values:
    """Compiles the values of one document. `keys` are the matrix keys, in the order of the rows."""

    def __init__(self, root: Node, keys: Sequence[str], environ: Mapping[str, str], mistakes: Mistakes) -> None:
        self.root, self.keys, self.environ, self.mistakes = root, tuple(keys), environ, mistakes
        self.position = {key: number for number, key in enumerate(keys)}
        self._parsed: dict[str, str | None] = {}
        self._config: Any = None

    def compile(self, node: Node, path: Path) -> Template:
        """What `node`, which is at `path`, is for a row. Interpolations that cannot work are told here."""
        uses: set[int] = set()
        make = self._compile(node, path, uses)
        return template(sorted(uses), make)

    def _compile(self, node: Node, path: Path, uses: set[int]) -> Callable[[Row], Any]:
        value = node.value
        if isinstance(value, dict):
            makers = {key: self._compile(child, (*path, key), uses) for key, child in value.items()}
            return lambda row: {key: make(row) for key, make in makers.items()}
        if isinstance(value, list):
            items = [self._compile(child, (*path, place), uses) for place, child in enumerate(value)]
            return lambda row: [make(row) for make in items]
        if not isinstance(value, str) or "${" not in value:
            return lambda row: value
        return self._text(node, path, uses)

    def _text(self, node: Node, path: Path, uses: set[int]) -> Callable[[Row], Any]:
        text: str = node.value
        problem = self._problem(text)
        if problem:
            self.mistakes.add(node.place, path, problem)
            return lambda row: MISSING
        pieces = _SIMPLE.split(text)  # literal, name, literal, name, … literal
        names = pieces[1::2]
        if "\\" in text or not all(name in self.position for name in names) or "${" in "".join(pieces[::2]):
            return self._omega(node, path, uses)
        uses.update(self.position[name] for name in names)
        if pieces[0] == pieces[-1] == "" and len(names) == 1:
            return itemgetter(self.position[names[0]])
        parts = [piece if number % 2 == 0 else self.position[piece] for number, piece in enumerate(pieces)]
        return lambda row: "".join(part if isinstance(part, str) else str(row[part]) for part in parts)

    def _omega(self, node: Node, path: Path, uses: set[int]) -> Callable[[Row], Any]:
        used = sorted(self._reached(node.value, path, set()))
        uses.update(used)
        memo: dict[Any, Any] = {}

        def make(row: Row) -> Any:
            key = tuple(row[place] for place in used)
            if key not in memo:
                memo[key] = self._resolve(node, path, {self.keys[place]: row[place] for place in used})
            return memo[key]

        return make

    def _reached(self, text: str, path: Path, seen: set[str]) -> set[int]:
        """Matrix keys that an interpolation may depend on, also through other keys; never too few."""
        found: set[int] = set()
        for inside in re.findall(r"\$\{([^$]*)", text):
            words = _WORD.findall(inside.split("}")[0])
            found |= {self.position[word] for word in words if word in self.position}
            relative = inside.lstrip().startswith(".")
            top = [str(part) for part in path[:2]] if relative else words[:2] if words[:1] == ["stages"] else words[:1]
            name = ".".join(top)
            target = self.root.at(top)
            if name in seen or not top or target is self.root:
                continue
            seen.add(name)
            for inner in _texts(target):
                found |= self._reached(inner, tuple(top), seen)
        return found

    def _problem(self, text: str) -> str | None:
        """Why OmegaConf's grammar refuses this text, if it does."""
        if text not in self._parsed:
            self._parsed[text] = None
            try:
                parse(text)
            except GrammarParseError:
                self._parsed[text] = (
                    f"{text!r} is not a valid interpolation; write ${{key}}, ${{values.key}} or ${{oc.env:NAME}}"
                )
        return self._parsed[text]

    def _resolve(self, node: Node, path: Path, row: Mapping[str, Any]) -> Any:
        if self._config is None:
            self._config = OmegaConf.create(self._checked(self.root))
        token = _environ.set(self.environ)
        try:
            for key, value in row.items():
                self._config[key] = value
            found: Any = self._config
            if path[0] in LEFT_OUT:
                found[ALONE] = node.value
            for part in (ALONE,) if path[0] in LEFT_OUT else path:
                found = found[part]
            return OmegaConf.to_container(found, resolve=True) if isinstance(found, Container) else found
        except OmegaConfBaseException as error:
            self.mistakes.add(node.place, path, self._told(node.value, error))
            return MISSING
        finally:
            _environ.reset(token)

    def _told(self, text: str, error: OmegaConfBaseException) -> str:
        reason = str(error).splitlines()[0]
        variable = re.search(r"Environment variable '([^']+)' not found", reason)
        if variable:
            name = variable[1]
            return f"the environment variable {name} is not set; export it or write ${{oc.env:{name},default}}"
        wanted = re.search(r"Interpolation key '([^']+)' not found", reason)
        if wanted:
            names = [*self.keys, *(f"values.{key}" for key in _keys(self.root.value.get("values")))]
            close = nearest(wanted[1], names)
            known = f"did you mean ${{{close[0]}}}" if close else f"there are: {', '.join(names) or 'no matrix keys'}"
            return f"{text}: there is no {wanted[1]} in the matrix or under values; {known}"
        return f"{text}: {reason}"

    def _checked(self, node: Node) -> Any:
        """The document for OmegaConf: without the matrix rows, and without texts that it cannot parse."""
        if node is self.root:
            return {key: self._checked(child) for key, child in node.value.items() if key not in LEFT_OUT}
        if isinstance(node.value, dict):
            return {key: self._checked(child) for key, child in node.value.items()}
        if isinstance(node.value, list):
            return [self._checked(child) for child in node.value]
        bad = isinstance(node.value, str) and "${" in node.value and self._problem(node.value)
        return "" if bad else node.value


def has_missing(value: Any) -> bool:
    """Whether a filled-in value holds something that could not be made."""
    if isinstance(value, dict):
        return any(map(has_missing, value.values()))
    if isinstance(value, list):
        return any(map(has_missing, value))
    return value is MISSING


def _keys(node: Node | None) -> list[str]:
    return list(node.value) if node is not None and isinstance(node.value, dict) else []


def _texts(node: Node) -> list[str]:
    if isinstance(node.value, dict):
        return [text for child in node.value.values() for text in _texts(child)]
    if isinstance(node.value, list):
        return [text for child in node.value for text in _texts(child)]
    return [node.value] if isinstance(node.value, str) and "${" in node.value else []


def _env(key: str, *default: str | None) -> str | None:
    """`oc.env`, reading the environment that the expansion was given."""
    environ = _environ.get()
    environ = os.environ if environ is None else environ
    if key in environ:
        return environ[key]
    if default:
        return default[0]
    raise KeyError(f"Environment variable '{key}' not found")


OmegaConf.register_resolver("oc.env", _env, replace=True)
