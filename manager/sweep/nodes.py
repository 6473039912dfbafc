"""YAML with the place of every value. Pure: works on text.

YAML 1.2 scalars: 1e-6 is a float, `no` and `12:30` are text. What YAML lets pass and a person did not mean
(a key written twice) is collected; what cannot be read, or would exhaust the machine, stops at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from manager.sweep.mistakes import Mistakes, Place, SweepErrors

DEEPEST = 40
TOO_DEEP = f"nested deeper than {DEEPEST} levels"
MOST_VALUES = 200_000  # after aliases are expanded

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
    ".inf": math.inf,
    "+.inf": math.inf,
    "-.inf": -math.inf,
    ".nan": math.nan,
}
_TAGS = {"tag:yaml.org,2002:str": str}


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it is written. `value`: dict of nodes by key, list of nodes, or a scalar."""

    value: Any
    place: Place
    size: int = 1  # how many values it holds, aliases counted each time

    def plain(self) -> Any:
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def at(self, path: Sequence[str | int]) -> Node:
        """The node at `path`, or the deepest one on the way there."""
        node = self
        for part in path:
            value = node.value
            if isinstance(value, list):
                inside = isinstance(part, int) and part < len(value)
            else:
                inside = isinstance(value, dict) and part in value
            if not inside:
                break
            node = value[part]
        return node


def parse(text: str, file: str, mistakes: Mistakes) -> Node:
    """One YAML document with its places; a syntax error raises `SweepErrors` with everything found so far."""
    return _Parser(text, file, mistakes).document()


class _Parser:
    """Builds nodes from YAML events; counts depth and size itself: no input can exhaust the machine."""

    def __init__(self, text: str, file: str, mistakes: Mistakes) -> None:
        self.text, self.file, self.mistakes = text, file, mistakes
        self.anchors: dict[str, Node] = {}
        self.open_anchors: set[str] = set()
        self.line = 1

    def document(self) -> Node:
        try:
            self.events = iter(yaml.parse(self.text, Loader=_Loader))
            self._next()  # stream start
            start = self._next()
            if isinstance(start, yaml.StreamEndEvent):
                return Node(None, Place(self.file, 1))
            node = self._node(self._next(), 0)
            self._next()  # document end
            more = self._next()
            if not isinstance(more, yaml.StreamEndEvent):
                self._stop(more, "a second YAML document starts here; a sweep file holds one")
            return node
        except yaml.YAMLError as error:
            raise self._syntax(error) from error

    def _next(self) -> Any:
        event: Any = next(self.events)
        self.line = event.start_mark.line + 1
        return event

    def _place(self, event: Any) -> Place:
        return Place(self.file, event.start_mark.line + 1)

    def _stop(self, event: Any, message: str) -> None:
        self.mistakes.add(self._place(event), "", message)
        raise SweepErrors(list(self.mistakes.found))

    def _syntax(self, error: yaml.YAMLError) -> SweepErrors:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else self.line
        lines = self.text.splitlines()
        source = lines[line - 1] if line <= len(lines) else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        position = getattr(error, "position", None)
        if "\t" in source[: len(source) - len(source.lstrip())]:
            reason = "a tab in the indentation; YAML wants spaces"
        elif re.search(r"[:,\[]\s*\$\{", source) and re.search(r"[{\[].*\$\{", source.replace("${", "$", 1)):
            reason = f'{reason}; inside {{…}} and […] an interpolation needs quotes: "${{key}}"'
        elif mark is None and isinstance(position, int):
            line = self.text[:position].count("\n") + 1
            reason = f"a control character that YAML forbids ({reason})"
        message = f"not valid YAML: {' '.join(str(reason).split())}"
        if "maximum nesting depth" in message:  # libyaml reads ahead of us, and newer ones have a limit of their own
            message = TOO_DEEP
        self.mistakes.add(Place(self.file, line), "", message)
        return SweepErrors(list(self.mistakes.found))

    def _node(self, event: Any, depth: int) -> Node:
        if depth > DEEPEST:
            self._stop(event, TOO_DEEP)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        anchor = event.anchor
        if anchor:
            self.open_anchors.add(anchor)
        if isinstance(event, yaml.MappingStartEvent):
            node = self._mapping(event, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, depth)
        else:
            node = Node(self._scalar(event), self._place(event))
        if node.size > MOST_VALUES:
            self._stop(
                event,
                f"more than {MOST_VALUES:,} values (aliases expanded); write the combinations as `matrix:`",
            )
        if anchor:
            self.open_anchors.discard(anchor)
            self.anchors[anchor] = node
        return node

    def _alias(self, event: Any) -> Node:
        if event.anchor in self.open_anchors:
            self._stop(event, f"*{event.anchor} refers to itself")
        if event.anchor not in self.anchors:
            self._stop(event, f"*{event.anchor} refers to an anchor that is not there")
        return self.anchors[event.anchor]

    def _sequence(self, event: Any, depth: int) -> Node:
        if event.tag:
            self._stop(event, f"the tag {event.tag} is not supported")
        items: list[Node] = []
        while not isinstance(inner := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(inner, depth + 1))
        return Node(items, self._place(event), 1 + sum(item.size for item in items))

    def _mapping(self, event: Any, depth: int) -> Node:
        if event.tag:
            self._stop(event, f"the tag {event.tag} is not supported")
        entries: dict[str, Node] = {}
        merged: list[Node] = []
        while not isinstance(inner := self._next(), yaml.MappingEndEvent):
            place = self._place(inner)
            key = self._key(inner)
            child = self._node(self._next(), depth + 1)
            if key == "<<":
                merged += child.value if isinstance(child.value, list) else [child]
                continue
            if key in entries:
                self.mistakes.add(place, key, f"written twice in one mapping (first in line {entries[key].place.line})")
            if not isinstance(child.value, dict | list):
                child = Node(child.value, place)
            else:
                child = Node(child.value, place, child.size)
            entries[key] = child
        for other in merged:
            if not isinstance(other.value, dict):
                self._stop(event, "<< merges a mapping or a list of mappings")
            entries = {**other.value, **entries}
        return Node(entries, self._place(event), 1 + sum(child.size for child in entries.values()))

    def _key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._stop(event, "a key must be a word")
        if event.style in (None, "") and not event.tag and event.value in ("", "~", "null"):
            self._stop(event, "a key is missing before the colon")
        return str(event.value)

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if event.tag and event.tag not in _TAGS and event.tag != "!":
            self._stop(event, f"the tag {event.tag} is not supported")
        if event.tag or event.style not in (None, ""):
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            if len(text) > 20:
                self._stop(event, "a number of more than 20 digits; put it in quotes if it is a text")
            return int(text, 0) if text[:2].lower() in ("0x", "0o") else int(text)
        return float(text) if _FLOAT.fullmatch(text) else text
