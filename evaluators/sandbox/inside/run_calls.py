"""Tests in one process, the program in another: the tests call the program's functions over a socket.

The tests' process sees plain values only, so an object with a hand-made `==` proves nothing, and neither the
tests nor their expected values are ever in the program's memory.
"""

from __future__ import annotations

import builtins
import contextlib
import socket
import struct
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any

from inside.codec import CodecError, Decoder, Encoder, dumps, loads
from inside.run_script import forget_harness, new_main

_LARGEST = 256 << 20
_LENGTH = struct.Struct(">I")
_RAISED = "raised by the program"


def _send(connection: socket.socket, message: Any) -> None:
    data = dumps(message)
    if len(data) > _LARGEST:
        raise CodecError("a value that is too large")
    connection.sendall(_LENGTH.pack(len(data)) + data)


def _receive(connection: socket.socket) -> Any:
    """None at the end of the connection."""
    head = _read(connection, _LENGTH.size)
    if head is None:
        return None
    (size,) = _LENGTH.unpack(head)
    if size > _LARGEST:
        raise CodecError("a value that is too large")
    data = _read(connection, size)
    return None if data is None else loads(data)


def _read(connection: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(min(size - len(data), 1 << 20))
        if not part:
            return None
        data += part
    return bytes(data)


# --- the program's side ---------------------------------------------------------------------------------


def serve(source: bytes, name: str) -> int:
    """Run the program once, then answer calls until the tests hang up. Descriptor 3 is the connection."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=3)
    forget_harness()
    try:
        module, text = new_main(source, name, "solution.py")
        exec(compile(text, "solution.py", "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:  # noqa: BLE001  (whatever the program raises is its result)
        traceback.print_exc()
        _send(connection, _raised(error))
        return 1
    _send(connection, {"ok": None})
    held: list[Any] = []

    def refer(value: Any) -> int:
        held.append(value)
        return len(held) - 1

    classes = {key: value for key, value in vars(module).items() if isinstance(value, type)}
    encoder = Encoder({}, refer)
    by_value = Encoder(classes, refer)
    decoder = Decoder(classes, lambda number, _: held[number])
    while (request := _receive(connection)) is not None:
        try:
            values = [decoder.decode(value) for value in request["values"]]
            named = {key: decoder.decode(value) for key, value in request["named"].items()}
            result = _OPERATIONS[request["do"]](module, *values, **named)
            chosen = by_value if request["shared"] else encoder
            after = [chosen.encode(value) for value in values] if request["changed"] else []
            answer = {"ok": chosen.encode(result), "after": after}
        except BaseException as error:  # noqa: BLE001  (as above)
            traceback.print_exc()
            answer = _raised(error)
        sys.stdout.flush()
        _send(connection, answer)
    return 0


def _raised(error: BaseException) -> dict[str, Any]:
    kinds = [kind.__name__ for kind in type(error).__mro__ if getattr(builtins, kind.__name__, None) is kind]
    try:
        text = str(error)
    except BaseException as second:  # noqa: BLE001  (a program may raise errors that cannot be printed)
        text = f"<unprintable: {type(second).__name__}>"
    return {"raised": type(error).__name__, "kinds": kinds, "text": text[:2000]}


def _next(_: Any, value: Any) -> Any:
    try:
        return [True, next(value)]
    except StopIteration:
        return [False, None]


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "global": lambda module, name: getattr(module, name),
    "call": lambda _, function, *values, **named: function(*values, **named),
    "call_global": lambda module, name, *values, **named: getattr(module, name)(*values, **named),
    "get": lambda _, value, name: getattr(value, name),
    "set": lambda _, value, name, new: setattr(value, name, new),
    "length": lambda _, value: len(value),
    "item": lambda _, value, key: value[key],
    "iterate": lambda _, value: iter(value),
    "next": _next,
    "text": lambda _, value: str(value),
}


# --- the tests' side ------------------------------------------------------------------------------------


class ProgramFailed(BaseException):
    """The program is gone, hangs, or answered nonsense. Not an Exception: no test can swallow it."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail


class RaisedByProgram(Exception):
    """An exception of the program of a class that the tests do not have."""


class _Link:
    """Requests to the program, one at a time."""

    def __init__(self, connection: socket.socket, classes: dict[str, type], tests: dict[str, Any]) -> None:
        self._connection = connection
        self._connection.settimeout(tests["call_wall_s"])
        self._write_back = bool(tests["write_back"])
        self._encoder = Encoder(classes, _reference)
        self._decoder = Decoder(classes, lambda number, kind: Remote(self, number, kind))
        self._shared = bool(classes)

    def loaded(self) -> None:
        answer = self._answer()
        if "raised" in answer:
            raise ProgramFailed("crashed", f"{answer['raised']}: {answer['text']}")

    def ask(self, do: str, *values: Any, **named: Any) -> Any:
        changeable = any(isinstance(value, (list, dict, set)) for value in values)
        request = {
            "do": do,
            "values": [self._encoder.encode(value) for value in values],
            "named": {key: self._encoder.encode(value) for key, value in named.items()},
            "shared": self._shared,
            "changed": self._write_back and changeable,
        }
        try:
            _send(self._connection, request)
        except OSError as error:
            raise ProgramFailed("crashed", "the program ended before the tests did") from error
        answer = self._answer()
        if "raised" in answer:
            raise _exception(answer)
        try:
            for value, after in zip(values, answer.get("after", []), strict=False):
                _change(value, self._decoder.decode(after))
            return self._decoder.decode(answer["ok"])
        except (CodecError, KeyError, RecursionError) as error:
            raise ProgramFailed("failed_assertion", f"the result has no plain form: {error}") from error

    def _answer(self) -> Any:
        try:
            answer = _receive(self._connection)
        except TimeoutError as error:
            raise ProgramFailed("time_limit", "a call did not return in time") from error
        except (OSError, ValueError, CodecError, RecursionError) as error:
            raise ProgramFailed("crashed", f"the program's answer could not be read: {error}") from error
        if not isinstance(answer, dict):
            raise ProgramFailed("crashed", "the program ended before the tests did")
        return answer


def _change(value: Any, after: Any) -> None:
    """Bring a list, dict or set that the program was given to what the program made of it."""
    if isinstance(value, list) and isinstance(after, list):
        value[:] = after
    elif isinstance(value, (dict, set)) and type(value) is type(after):
        value.clear()
        value.update(after)


def _exception(answer: dict[str, Any]) -> BaseException:
    """The built-in exception that is nearest to what the program raised."""
    if answer["raised"] in ("SystemExit", "KeyboardInterrupt", "GeneratorExit"):
        return ProgramFailed("crashed", f"{answer['raised']}: {answer['text']}")
    if "MemoryError" in answer["kinds"]:
        return ProgramFailed("memory_limit", answer["text"] or "MemoryError")
    for name in answer["kinds"]:
        kind = getattr(builtins, str(name), None)
        if isinstance(kind, type) and issubclass(kind, Exception) and kind is not AssertionError:
            with contextlib.suppress(TypeError):  # UnicodeDecodeError and the like need more arguments
                return _mark(kind(answer["text"]))
    return _mark(RaisedByProgram(f"{answer['raised']}: {answer['text']}"))


def _mark(error: Exception) -> Exception:
    error.add_note(_RAISED)
    return error


def _reference(value: Any) -> int:
    if isinstance(value, Remote):
        return object.__getattribute__(value, "_number")
    raise CodecError(f"the tests pass a value of type {type(value).__name__}, which has no plain form")


class Remote:
    """An object that stays in the program's process. Never equal to anything but itself."""

    def __init__(self, link: _Link, number: int, kind: str) -> None:
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_kind", kind)

    def __getattr__(self, name: str) -> Any:
        return self._link.ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._link.ask("set", self, name, value)

    def __call__(self, *values: Any, **named: Any) -> Any:
        return self._link.ask("call", self, *values, **named)

    def __len__(self) -> int:
        return self._link.ask("length", self)

    def __getitem__(self, key: Any) -> Any:
        return self._link.ask("item", self, key)

    def __iter__(self) -> Iterator[Any]:
        iterator = self._link.ask("iterate", self)
        while (step := self._link.ask("next", iterator))[0]:
            yield step[1]

    def __next__(self) -> Any:
        more, value = self._link.ask("next", self)
        if not more:
            raise StopIteration
        return value

    def __str__(self) -> str:
        return self._link.ask("text", self)

    def __repr__(self) -> str:
        return f"<{self._kind} of the program>"

    def __bool__(self) -> bool:
        raise AssertionError(f"an object of type {self._kind} is no truth value")


def judge(connection: socket.socket, tests: dict[str, Any]) -> bytes:
    """Run the tests; the verdict as JSON."""
    namespace: dict[str, Any] = {"__name__": "tests", "__builtins__": builtins}
    sys.modules["tests"] = types.ModuleType("tests")
    done = 0
    try:
        exec(compile(tests["setup"], "setup.py", "exec", dont_inherit=True), namespace)
        classes = {name: namespace[name] for name in tests["classes"]}
        link = _Link(connection, classes, tests)
        link.loaded()
        for name in tests["names"]:
            namespace[name] = _global(link, name)
        for number, text in enumerate(tests["tests"]):
            done = number
            exec(compile(text, f"test_{number}.py", "exec", dont_inherit=True), namespace)
    except ProgramFailed as failure:
        return dumps({"kind": failure.kind, "detail": failure.detail, "test": done})
    except AssertionError as error:
        return dumps({"kind": "failed_assertion", "detail": _where(error), "test": done})
    except MemoryError:
        return dumps({"kind": "memory_limit", "detail": "a result too large for the tests", "test": done})
    except Exception as error:  # noqa: BLE001  (told apart by who raised it)
        if _RAISED in getattr(error, "__notes__", []):
            name = "" if isinstance(error, RaisedByProgram) else f"{type(error).__name__}: "
            return dumps({"kind": "crashed", "detail": f"{name}{error}"[:1000], "test": done})
        # the tests themselves are at fault where they do not compile or pass what cannot be passed
        kind = "sandbox_error" if isinstance(error, (SyntaxError, CodecError)) else "failed_assertion"
        return dumps({"kind": kind, "detail": f"{type(error).__name__}: {_where(error)}", "test": done})
    return dumps({"kind": "passed", "detail": "", "test": len(tests["tests"])})


def _global(link: _Link, name: str) -> Callable[..., Any]:
    """A function of the program, looked up when it is called."""

    def call(*values: Any, **named: Any) -> Any:
        return link.ask("call_global", name, *values, **named)

    call.__name__ = name
    return call


def _where(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1:]
    place = f"{last[0].filename}:{last[0].lineno}: " if last else ""
    return (place + str(error))[:1000]
