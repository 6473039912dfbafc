"""Reads sweep files: `extends` and the command line's overrides merged into one document. Touches the disk.

Knows nothing of what the keys mean.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from manager.errors import UserError
from manager.sweep.mistakes import Mistakes, Place, SweepErrors, nearest
from manager.sweep.nodes import Node, parse

LARGEST_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Document:
    """A sweep with everything that it extends and the overrides merged in."""

    root: Node
    name: str  # what the sweep is called if it does not say
    mistakes: Mistakes = field(default_factory=Mistakes)


def read(path: Path, overrides: Sequence[str] = ()) -> Document:
    """The merged document. A file that cannot be read at all raises; other mistakes are collected."""
    mistakes = Mistakes()
    root = _read_extended(path, (), mistakes)
    for number, text in enumerate(overrides):
        root = _override(root, text, Place(text, -number), mistakes)
    return Document(root, path.stem, mistakes)


def merge(below: Node, above: Node) -> Node:
    """`above` wins; mappings are merged key by key, everything else is replaced whole."""
    if not (isinstance(below.value, dict) and isinstance(above.value, dict)):
        return above
    value = dict(below.value)
    for key, node in above.value.items():
        value[key] = merge(value[key], node) if key in value else node
    return Node(value, above.place, 1 + sum(node.size for node in value.values()))


def _instead(target: str) -> str:
    """A file of that folder whose name is like it, or what paths are relative to."""
    folder = os.path.dirname(target)
    beside = [name for name in os.listdir(folder) if name.endswith((".yaml", ".yml"))] if os.path.isdir(folder) else []
    close = nearest(os.path.basename(target), beside)
    return f", did you mean {close[0]}" if close else " (the path is relative to the file that names it)"


def _read_extended(path: Path, chain: tuple[str, ...], mistakes: Mistakes) -> Node:
    file = os.path.normpath(path)
    node = parse(_text(path, chain), file, mistakes)
    if not isinstance(node.value, dict):
        what = "the file is empty" if node.value is None else "the file is not a mapping of keys to values"
        raise UserError(f"{file}:1: {what}; a sweep has at least `stages:` (docs/sweep.md)")
    entries = dict(node.value)
    extends = entries.pop("extends", None)
    node = replace(node, value=entries)
    if extends is None or extends.value is None:
        return node
    parents = extends.value if isinstance(extends.value, list) else [extends]
    below: Node | None = None
    for parent in parents:
        if not isinstance(parent.value, str):
            mistakes.add(parent.place, "extends", "expected the path of a sweep file, or a list of them")
            continue
        target = os.path.normpath(path.parent / parent.value)
        if target in (*chain, file):
            files = (*chain, file)
            circle = " -> ".join([*files[files.index(target) :], target])
            mistakes.add(parent.place, "extends", f"goes in a circle: {circle}")
            continue
        if not os.path.isfile(target):
            mistakes.add(parent.place, "extends", f"no file {target}{_instead(target)}")
            continue
        inherited = _read_extended(Path(target), (*chain, file), mistakes)
        inherited = replace(inherited, value={k: v for k, v in inherited.value.items() if k != "name"})
        below = inherited if below is None else merge(below, inherited)
    return node if below is None else merge(below, node)


def _text(path: Path, chain: tuple[str, ...]) -> str:
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise UserError(f"{path}: this is a folder; name a sweep file in it")
        if size > LARGEST_BYTES:
            raise UserError(
                f"{path}: {size / 2**20:.1f} MiB is too large for a sweep file "
                f"(at most {LARGEST_BYTES >> 20} MiB); write the combinations as `matrix:`"
            )
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        files = sorted(str(other) for other in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        close = nearest(str(path), files) or files[:8]
        hint = f"did you mean {close[0]}" if len(close) == 1 else f"there are: {', '.join(close) or 'no .yaml files'}"
        raise UserError(f"{path}: no such sweep file; {hint}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: not UTF-8 text ({error.reason}); save the file as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def _override(root: Node, text: str, place: Place, mistakes: Mistakes) -> Node:
    key, equals, value = text.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        mistakes.add(place, "", "an override is key=value, for example matrix.seed=[0]")
        return root
    if not value.strip():
        mistakes.add(place, "", f"no value after =; {key}=null takes the key away")
        return root
    if path[0] == "extends":
        mistakes.add(place, "", "extends is read from the file only; write a small sweep file that extends both")
        return root
    own = Mistakes()
    try:
        node = _at_one_place(parse(value, text, own), place)
    except SweepErrors as error:
        for mistake in error.mistakes:
            mistakes.add(place, "", mistake.message)
        return root
    for mistake in own.found:
        mistakes.add(place, mistake.key, mistake.message)
    return _put(root, path, node, place, mistakes)


def _at_one_place(node: Node, place: Place) -> Node:
    if isinstance(node.value, dict):
        return Node({key: _at_one_place(child, place) for key, child in node.value.items()}, place, node.size)
    if isinstance(node.value, list):
        return Node([_at_one_place(child, place) for child in node.value], place, node.size)
    return Node(node.value, place)


def _put(node: Node, path: Sequence[str], value: Node, place: Place, mistakes: Mistakes, depth: int = 0) -> Node:
    if depth == len(path):
        return value
    if node.value is not None and not isinstance(node.value, dict):
        over = ".".join(path[:depth])
        kind = "a list: give it whole" if isinstance(node.value, list) else "a single value"
        mistakes.add(place, ".".join(path), f"{over} is {kind} and has no keys to override")
        return node
    entries = dict(node.value or {})
    child = entries.get(path[depth], Node(None, place))
    entries[path[depth]] = _put(child, path, value, place, mistakes, depth + 1)
    return Node(entries, node.place if node.value is not None else place, node.size + value.size)
