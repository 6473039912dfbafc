"""Runs a `unittest` class in the program's own process, for tests that patch or inspect what it uses.

Here the verdict has to come from a process that also runs the program. What makes it hard to forge: the
report needs a secret that the program is never given, names every test that the host expects, is made by a
`unittest` loaded afresh after the program's own code ran and by test classes that are pinned before the first
test (pinned.py), and is void when that `unittest` was changed or when a deliberately wrong test passes. What
this cannot exclude is written in docs/sandbox.md.
"""

from __future__ import annotations

import builtins
import ctypes
import importlib
import inspect
import json
import os
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

from inside.pinned import Pinned, freeze, pin
from inside.run_script import forget_harness, new_main, open_standard_streams

_REPORT = 3
_OWN_FILES = (__file__, freeze.__code__.co_filename)
_TRUSTED = tuple(
    {os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix), sys.prefix, sys.base_prefix, "/usr/lib"}
)
_PASSED_THROUGH = frozenset({inspect.__file__, ctypes.__file__})  # act for whoever called them
# Give frames to whoever calls them directly. By names: importing logging makes every fork of the zygote dearer.
_HAND_OUT_FRAMES = {
    traceback.__file__: ("walk_stack", "walk_tb", "_walk_tb_with_full_positions"),
    os.path.join(os.path.dirname(os.__file__), "logging", "__init__.py"): ("currentframe", "<lambda>"),
}
_WATCHED = frozenset(
    {"gc.get_objects", "gc.get_referrers", "gc.get_referents", "sys._getframe", "sys._current_frames",
     "sys.settrace", "sys.setprofile", "ctypes.string_at", "ctypes.wstring_at", "ctypes.cdata",
     "ctypes.cdata/buffer", "ctypes.addressof", "ctypes.PyObj_FromPtr"}
)  # fmt: skip
_WATCHED_ATTRIBUTES = frozenset({"tb_frame", "gi_frame", "cr_frame", "f_back", "f_globals", "f_locals"})


def _of_program(filename: str) -> bool:
    """Whether a file name is the program's: not a library's, the tests' or the harness's."""
    return not filename.startswith((*_TRUSTED, "<frozen", "tests.py", *_OWN_FILES))


def _watch() -> None:
    """End the process, telling why, when the program's own code reaches for the interpreter's insides."""
    busy = False

    def hook(event: str, values: tuple[Any, ...]) -> None:
        nonlocal busy
        if busy:
            return
        memory = event == "open" and str(values[0]).startswith("/proc/") and str(values[0]).endswith("/mem")
        attribute = event == "object.__getattr__" and values[1] in _WATCHED_ATTRIBUTES
        attribute = attribute or (event == "object.__setattr__" and values[1] in ("__code__", "__defaults__"))
        if not memory and not attribute and event not in _WATCHED:
            return
        busy = True
        try:
            caller: types.FrameType | None = sys._getframe(1)
            while caller is not None and caller.f_code.co_filename in _PASSED_THROUGH:
                caller = caller.f_back
            if caller is not None and caller.f_code.co_name in _HAND_OUT_FRAMES.get(caller.f_code.co_filename, ()):
                caller = caller.f_back
            if memory or caller is None or _of_program(caller.f_code.co_filename):
                os.write(_REPORT, json.dumps({"forbidden": event}).encode() + b"\n")
                os._exit(124)
        finally:
            busy = False

    sys.addaudithook(hook)


class _Before:
    """What decides what a name means, as it was before the program ran."""

    def __init__(self) -> None:
        self._builtins = dict(vars(builtins))
        self._finders, self._hooks, self._path = list(sys.meta_path), list(sys.path_hooks), list(sys.path)

    def fresh_unittest(self) -> types.ModuleType:
        """`unittest` and its parts loaded again from where they were, so that nothing of the program's is in them."""
        vars(builtins).update(self._builtins)
        of_program = sys.meta_path[:], sys.path_hooks[:], sys.path[:]
        sys.meta_path[:], sys.path_hooks[:], sys.path[:] = self._finders, self._hooks, self._path
        sys.path_importer_cache.clear()
        for name in [name for name in sys.modules if name == "unittest" or name.startswith("unittest.")]:
            del sys.modules[name]
        for name in ("unittest.case", "unittest.suite", "unittest.result", "unittest.mock"):
            importlib.import_module(name)
        sys.meta_path[:], sys.path_hooks[:], sys.path[:] = of_program
        unittest = sys.modules["unittest"]
        for kind in _deciding(unittest):
            freeze(kind)
        return unittest


def _deciding(unittest: types.ModuleType) -> list[type]:
    """The classes that decide a verdict."""
    case = unittest.case
    return [
        unittest.TestCase, unittest.TestSuite, unittest.TestResult, case._Outcome,
        case._AssertRaisesContext, case._AssertWarnsContext, case._AssertRaisesBaseContext,
    ]  # fmt: skip


def _functions(unittest: types.ModuleType) -> dict[tuple[str, str], tuple[Any, Any]]:
    """Every function that decides a verdict, with its code."""
    found: dict[tuple[str, str], tuple[Any, Any]] = {}
    for kind in _deciding(unittest):
        for name, value in vars(kind).items():
            inner = getattr(value, "__func__", value)
            found[kind.__name__, name] = (value, getattr(inner, "__code__", None))
    for name in ("AssertionError", "isinstance", "getattr", "type", "all", "any", "len", "repr", "str"):
        found["builtins", name] = (getattr(sys.modules["builtins"], name), None)
    return found


def _changed(before: dict[tuple[str, str], tuple[Any, Any]], after: dict[tuple[str, str], tuple[Any, Any]]) -> str:
    for key in before.keys() | after.keys():
        first, second = before.get(key), after.get(key)
        if first is None or second is None or first[0] is not second[0] or first[1] is not second[1]:
            if key[1] in ("__doc__", "__abstractmethods__", "_abc_impl", "_class_cleanups"):
                continue
            return ".".join(key)
    return ""


def _wrong_tests_fail(unittest: Any) -> bool:
    """Tests that must fail do fail: the assertions and the result still work."""

    class Wrong(unittest.TestCase):  # type: ignore[misc]
        def test_equal(self) -> None:
            self.assertEqual(1, 2)  # noqa: PT009

        def test_true(self) -> None:
            self.assertTrue(False)  # noqa: PT009

        def test_raises(self) -> None:
            with self.assertRaises(ValueError):  # noqa: PT027
                pass

        def test_plain(self) -> None:
            raise AssertionError

    names = ("test_equal", "test_true", "test_raises", "test_plain")
    return all(not _run_one(unittest, pin(Wrong, names), name)[0] for name in names)


def _run_one(unittest: Any, pinned: Pinned, name: str) -> tuple[bool, str, str]:
    """(passed, what went wrong, its kind) of one test method."""
    result = unittest.TestResult()
    unittest.TestSuite([pinned.kind(name)])(result)
    bad = [("failed_assertion", text) for _, text in result.failures]
    bad += [("crashed", text) for _, text in result.errors]
    if bad:
        return False, bad[0][1][-2000:], bad[0][0]
    # skipping or failing is the tests' to foresee, by a decorator, not the program's by SkipTest or a late mark
    unforeseen = (result.skipped and name not in pinned.skipped) or (
        result.expectedFailures and name not in pinned.failing
    )
    if result.unexpectedSuccesses or result.testsRun != 1 or unforeseen:
        return False, "the test did not run", "failed_assertion"
    return True, "", "passed"


def _load_test_modules(texts: dict[str, str]) -> None:
    """Modules that the tests import, ready before the program could put others in their place."""
    for name, text in texts.items():
        module = types.ModuleType(name)
        sys.modules[name] = module
        exec(compile(text, f"tests.py/{name}.py", "exec", dont_inherit=True), module.__dict__)


def main(source: bytes, header: dict[str, Any], secret: str) -> int:
    """Run program and tests; the report goes to descriptor 3."""
    forget_harness()
    open_standard_streams()
    report = _reporter(secret)
    del secret
    sys.argv = ["program.py"]
    before = _Before()
    sys.path.insert(0, os.getcwd())  # files that came with the program
    _load_test_modules(header["test_modules"])
    _watch()
    try:
        module, text = new_main(source, "__test__", "solution.py")
        # what the original harness puts there, and code was written against
        module.__dict__.update({"sys": sys, "os": os, "environ": os.environ})
        exec(compile(text, "solution.py", "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:  # noqa: BLE001  (whatever the program raises is its result)
        traceback.print_exc()
        report({"kind": _kind(error), "detail": f"{type(error).__name__}: {error}"[:2000]})
        return 1
    sys.modules["__main__"] = module
    verdict = _run_all(module, before.fresh_unittest(), header["tests"], header["test_class"])
    sys.stdout.flush()
    report(verdict)
    return 0


def _kind(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return "missing_package"
    return "memory_limit" if isinstance(error, MemoryError) else "crashed"


def _reporter(secret: str) -> Callable[[dict[str, Any]], None]:
    def report(message: dict[str, Any]) -> None:
        os.write(_REPORT, json.dumps({**message, "secret": secret}).encode() + b"\n")

    return report


def _run_all(
    module: types.ModuleType, unittest: types.ModuleType, tests: str, test_class: dict[str, list[str]]
) -> dict[str, Any]:
    before = _functions(unittest)
    try:
        exec(compile(tests, "tests.py", "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:  # noqa: BLE001
        return {"kind": _kind(error), "detail": f"in the tests: {type(error).__name__}: {error}"[:2000]}
    passed: list[str] = []
    first: tuple[str, str] | None = None
    pinned = {class_name: pin(getattr(module, class_name), names) for class_name, names in test_class.items()}
    for class_name, names in test_class.items():
        for name in names:
            good, detail, how = _run_one(unittest, pinned[class_name], name)
            if good:
                passed.append(f"{class_name}.{name}")
            elif first is None:
                missing = "ModuleNotFoundError" in detail.strip().splitlines()[-1]
                first = ("missing_package" if missing else how, f"{class_name}.{name}: {detail}")
    changed = _changed(before, _functions(unittest))
    if changed or sys.modules.get("unittest") is not unittest:
        return {
            "kind": "forbidden",
            "detail": f"the program changed unittest ({changed or 'module replaced'})",
        }
    if not _wrong_tests_fail(unittest):
        return {"kind": "forbidden", "detail": "a test that must fail passed: assertions were disabled"}
    if first is not None:
        return {"kind": first[0], "detail": first[1], "passed": passed}
    return {"kind": "passed", "detail": "", "passed": passed}
