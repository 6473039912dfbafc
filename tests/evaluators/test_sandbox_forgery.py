"""No answer is judged right by changing how it is judged."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evaluators.sandbox import Calls, Limits, Sandbox, UnitTests, VerdictKind
from tests.evaluators.hostile_answers import CALLS, UNIT
from tests.evaluators.needs_sandbox import MADE_BY, made_by, needs_sandbox

pytestmark = needs_sandbox
_LIMITS = Limits(cpu_s=1, wall_s=1.5, memory_mb=512, processes=16, file_mb=16, open_files=64, output_kb=256)
_RIGHT = "def f(x): return x * x"
_FAIR = {
    VerdictKind.FAILED_ASSERTION,
    VerdictKind.CRASHED,
    VerdictKind.TIME_LIMIT,
    VerdictKind.MEMORY_LIMIT,
    VerdictKind.FORBIDDEN,
    VerdictKind.MISSING_PACKAGE,
}
_UNIT_FILE = """
import unittest
class TestF(unittest.TestCase):
    def test_f(self):
        result = f(2)
        self.assertEqual(result, 4)
    def test_g(self):
        result = f(3)
        self.assertEqual(result, 9)
"""
# What programs and tests do in good faith with what is watched.
_UNIT_HONEST = """
import unittest
class TestF(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.two = 2
    def setUp(self):
        super().setUp()
        self.three = 3
    def test_f(self):
        TestF.seen = f(self.two)
        self.assertEqual((TestF.seen, self.seen, type(self).__name__), (4, 4, "TestF"))
        with self.subTest("a part"), self.assertRaises(TypeError):
            f(None)
    def test_g(self):
        self.assertEqual(f(self.three), 9)
        self.assertLogs
    @unittest.skip("never")
    def test_h(self):
        self.fail()
    @unittest.expectedFailure
    def test_i(self):
        self.fail()
"""
_HONEST = """
import logging, traceback
def f(x):
    logging.getLogger("f").warning("called")
    try:
        return x * x
    except TypeError as error:
        traceback.print_exc()
        traceback.format_exception(error)
        logging.exception("no number")
        traceback.print_stack()
        raise
"""
_UNIT_FORBIDDEN = {
    "frames", "frames of an exception", "frames by inspect", "garbage collector", "referrers",
    "a trace function",
    "a profile function", "its own memory", "memory by ctypes", "assertEqual's code replaced in the call",
    "unittest replaced in the call", "AssertionError replaced in the call",
    "frames by logging", "frames by traceback", "frames of an exception by traceback",
}  # fmt: skip


@pytest.fixture(scope="module", params=MADE_BY)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with made_by(request.param):
        own = Sandbox(1, preload=("unittest.mock",))
    with own as made:
        yield made


def _calls(source: str) -> Calls:
    return Calls(source, ("assert f(2) == 4", "assert len(set([f(2)])) == 1"), ("f",), limits=_LIMITS)


def _unit(source: str) -> UnitTests:
    return UnitTests(source, _UNIT_FILE, {"TestF": ("test_f", "test_g")}, limits=_LIMITS)


@pytest.mark.parametrize("name", CALLS)
def test_calls_cannot_be_forged(sandbox: Sandbox, name: str) -> None:
    verdict = sandbox.run(_calls(CALLS[name]))
    assert verdict.kind in _FAIR, verdict
    assert sandbox.run(_calls(_RIGHT)).passed


@pytest.mark.parametrize("name", UNIT)
def test_unit_tests_cannot_be_forged(sandbox: Sandbox, name: str) -> None:
    verdict = sandbox.run(_unit(UNIT[name]))
    assert verdict.kind in _FAIR, verdict
    if name in _UNIT_FORBIDDEN:
        assert verdict.kind is VerdictKind.FORBIDDEN, verdict
    right = sandbox.run(_unit(_RIGHT))
    assert right.passed, right


def test_good_faith_is_not_taken_for_forgery(sandbox: Sandbox) -> None:
    tests = {"TestF": ("test_f", "test_g", "test_h", "test_i")}
    verdict = sandbox.run(UnitTests(_HONEST, _UNIT_HONEST, tests, limits=_LIMITS))
    assert verdict.passed, verdict
