"""Decodes LiveCodeBench's private tests: base64 of zlib of a pickle of a JSON string.

A pickle can run code when it is loaded, so this reads only the operations that one string needs and refuses
every other. Bounded in size.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickle
import zlib
from typing import Any, NoReturn

_MOST_BYTES = 1 << 30


class PrivateTestsError(ValueError):
    """The field is not what the data set's format says."""


class _OnlyPlain(pickle.Unpickler):
    """Any reference to a class or function is refused, so nothing can be called."""

    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise PrivateTestsError(f"the pickle names {module_name}.{global_name}: it holds more than a string")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise PrivateTestsError("the pickle has a persistent reference: it holds more than a string")


def decode(field: str) -> list[dict[str, Any]]:
    """The tests. A field that is plain JSON already is read as such."""
    tests = json.loads(field if field.lstrip().startswith("[") else _string(field))
    if not isinstance(tests, list) or not all(isinstance(test, dict) for test in tests):
        raise PrivateTestsError("the private tests are no list of objects")
    return tests


def _string(field: str) -> str:
    try:
        packed = base64.b64decode(field, validate=True)
        stream = zlib.decompressobj()
        data = stream.decompress(packed, _MOST_BYTES)
    except (binascii.Error, zlib.error) as error:
        raise PrivateTestsError(f"not base64 of zlib: {error}") from error
    if stream.unconsumed_tail:
        raise PrivateTestsError(f"more than {_MOST_BYTES} bytes")
    try:
        value = _OnlyPlain(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, EOFError, IndexError, KeyError, UnicodeDecodeError) as error:
        raise PrivateTestsError(f"not a pickle of a string: {error}") from error
    if not isinstance(value, str):
        raise PrivateTestsError(f"a pickle of a {type(value).__name__}, not of a string")
    return value


def encode(tests: list[dict[str, Any]]) -> str:
    """The inverse of `decode`, for tests."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()
