"""Python values as plain data, for two processes that do not trust each other.

Decoding builds plain values only (numbers, strings, containers, instances of classes that the decoding side
itself defined); it never imports, unpickles or calls what the other side names.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import json
from collections.abc import Callable
from typing import Any

_PLAIN_FLOAT = float.__repr__
_DEEPEST = 150


class CodecError(Exception):
    """The value has no plain form, or the data is not what `encode` makes."""


class Encoder:
    """Turns a value into JSON-able data. What has no plain form goes to `refer`, or is an error."""

    def __init__(self, classes: dict[str, type], refer: Callable[[Any], int] | None) -> None:
        self._classes = classes
        self._refer = refer

    def encode(self, value: Any, depth: int = 0) -> Any:
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if depth > _DEEPEST:
            raise CodecError("a value nested too deeply")
        if isinstance(value, bool):
            return bool(value)
        if isinstance(value, int):
            small = -(1 << 53) < int(value) < 1 << 53
            return int(value) if small else {"t": "int", "v": hex(int(value))}
        if isinstance(value, float):
            return float(value)
        if isinstance(value, str):
            return str.__str__(value)
        return self._container(value, depth + 1)

    def _container(self, value: Any, depth: int) -> Any:
        many = [self.encode(part, depth) for part in _parts(value)] if _is_sequence(value) else None
        if many is not None:
            named = next(name for name, kind in _SEQUENCES.items() if isinstance(value, kind))
            return many if named == "list" else {"t": named, "v": many}
        if isinstance(value, dict):
            pairs = [[self.encode(key, depth), self.encode(part, depth)] for key, part in dict.items(value)]
            ordered = "ordered" if isinstance(value, collections.OrderedDict) else "dict"
            return {"t": ordered, "v": pairs}
        if isinstance(value, (bytes, bytearray)):
            return {"t": type(value).__name__, "v": bytes(value).hex()}
        if isinstance(value, complex):
            return {"t": "complex", "v": [_PLAIN_FLOAT(value.real), _PLAIN_FLOAT(value.imag)]}
        if isinstance(value, (decimal.Decimal, fractions.Fraction)):
            return {"t": type(value).__name__, "v": str(value)}
        if isinstance(value, (datetime.datetime, datetime.date)):
            return {
                "t": "datetime" if isinstance(value, datetime.datetime) else "date",
                "v": value.isoformat(),
            }
        if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
            return self.encode(value.item(), depth)
        return self._object(value, depth)

    def _object(self, value: Any, depth: int) -> Any:
        name = type(value).__name__
        if name in self._classes and type(value).__module__ != "builtins" and hasattr(value, "__dict__"):
            attributes = {key: self.encode(part, depth) for key, part in vars(value).items()}
            return {"t": "object", "c": name, "v": attributes}
        if self._refer is None:
            raise CodecError(f"a value of type {name} has no plain form")
        return {"t": "ref", "v": self._refer(value), "c": name}


_SEQUENCES: dict[str, type] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": collections.deque,
}


def _is_sequence(value: Any) -> bool:
    return isinstance(value, tuple(_SEQUENCES.values()))


def _parts(value: Any) -> list[Any]:
    """The items by the built-in type's own iteration, whatever a subclass overrides."""
    kind = next(kind for kind in _SEQUENCES.values() if isinstance(value, kind))
    return list(kind.__iter__(value))


class Decoder:
    """Builds a value from data of the other side. `classes`: what instances may be built of."""

    def __init__(self, classes: dict[str, type], resolve: Callable[[int, str], Any]) -> None:
        self._classes = classes
        self._resolve = resolve

    def decode(self, data: Any) -> Any:
        if isinstance(data, list):
            return [self.decode(part) for part in data]
        if not isinstance(data, dict):
            return data
        try:
            return self._tagged(data["t"], data)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise CodecError(f"malformed value: {error!r}") from error

    def _tagged(self, tag: str, data: dict[str, Any]) -> Any:
        value = data["v"]
        if tag in _SEQUENCES:
            return _SEQUENCES[tag](self.decode(part) for part in value)
        if tag in ("dict", "ordered"):
            pairs = ((self.decode(key), self.decode(part)) for key, part in value)
            return dict(pairs) if tag == "dict" else collections.OrderedDict(pairs)
        if tag == "object":
            kind = self._classes[data["c"]]
            made = object.__new__(kind)
            made.__dict__.update({str(key): self.decode(part) for key, part in value.items()})
            return made
        if tag == "ref":
            return self._resolve(int(value), str(data.get("c", "object")))
        return _SCALARS[tag](value)


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "int": lambda text: int(text, 16),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "complex": lambda pair: complex(float(pair[0]), float(pair[1])),
    "Decimal": decimal.Decimal,
    "Fraction": fractions.Fraction,
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
}


def dumps(message: Any) -> bytes:
    return json.dumps(message).encode()


def loads(data: bytes) -> Any:
    return json.loads(data)
