"""Test classes as they are before the first test runs, out of reach of the program that they test.

The program shares the tests' process and can find their class (`globals()["TestCases"]`). What it changes there, an
assertion, a later test, a mark to skip it, is not what is run: that is a subclass which refuses new attributes.
"""

from __future__ import annotations

import ctypes
import types
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_FLAGS_OFFSET, _IMMUTABLE = 168, 1 << 8  # tp_flags and Py_TPFLAGS_IMMUTABLETYPE of a 64-bit CPython
_PINNED = (types.FunctionType, staticmethod, classmethod, property)
_LEFT_OUT = frozenset({"__new__", "__init_subclass__", "__class_getitem__"})
_SKIPPED, _FAILING = "__unittest_skip__", "__unittest_expecting_failure__"


@dataclass(frozen=True)
class Pinned:
    """`skipped` and `failing`: the tests that decorators of the test file mark so."""

    kind: Any
    skipped: frozenset[str]
    failing: frozenset[str]


def freeze(kind: type) -> None:
    """Make a class refuse new attributes, as the built-in ones do."""
    flags = ctypes.c_ulong.from_address(id(kind) + _FLAGS_OFFSET)
    if flags.value != kind.__flags__ & 0xFFFFFFFFFFFFFFFF:
        raise RuntimeError("this Python lays out its classes differently: unit tests cannot be protected")
    flags.value |= _IMMUTABLE


def pin(kind: type, names: Iterable[str]) -> Pinned:
    """The class to run in the place of `kind`. What its tests set on their class (`cls.x = …`) goes to `kind`."""
    marked = {mark: frozenset(name for name in names if _marked(kind, name, mark)) for mark in (_SKIPPED, _FAILING)}
    functions: dict[str, Any] = {}
    for base in reversed(kind.__mro__[:-1]):
        functions |= {name: value for name, value in vars(base).items() if isinstance(value, _PINNED)}
    body = {name: value for name, value in functions.items() if name not in _LEFT_OUT}
    body |= {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    body |= {mark: getattr(kind, mark, False) for mark in (_SKIPPED, _FAILING)}

    def pass_on(_: type, name: str, value: Any) -> None:
        setattr(kind, name, value)

    above = type(kind)
    pinned = type(above.__name__, (above,), {"__setattr__": pass_on})(kind.__name__, (kind,), body)
    freeze(pinned)
    return Pinned(pinned, marked[_SKIPPED], marked[_FAILING])


def _marked(kind: type, name: str, mark: str) -> bool:
    return bool(getattr(kind, mark, False) or getattr(getattr(kind, name, None), mark, False))
