"""The parts of code scoring that need no data: outputs, values between processes, private tests, rewards."""

# ruff: noqa: E501  (programs and answers, one a line)
from __future__ import annotations

import base64
import collections
import datetime
import decimal
import fractions
import json
import math
import pickle
import subprocess
import sys
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.sandbox.inside.codec import CodecError, Decoder, Encoder, dumps, loads
from evaluators.sandbox.output import same_output
from evaluators.scoring.code_private_tests import PrivateTestsError, decode, encode
from evaluators.scoring.code_tests import IoTest, judge_calls, judge_io, longest, with_prelude
from tests.evaluators.needs_sandbox import needs_sandbox


@pytest.mark.parametrize(
    ("printed", "expected", "same"),
    [
        ("1 2\n3\n", "1 2\n3", True),
        ("1 2 \n 3", "1 2\n3\n\n", True),
        ("1  2", "1 2", True),
        ("1.0", "1", True),
        ("0.50", "0.5", True),
        ("1e3", "1000", True),
        ("1 2 3", "1 2\n3", False),
        ("1\n2\n3", "1\n2", False),
        ("12", "1 2", False),
        ("YES", "Yes", False),
        ("nan", "nan", True),
        ("0x1", "1", False),
        ("1_0", "10", False),
        ("", "", True),
        ("", "0", False),
        ("1e9999999999", "1", False),
    ],
)
def test_outputs_are_compared_by_line_and_number(printed: str, expected: str, same: bool) -> None:
    assert same_output(printed, expected) is same


_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(), st.complex_numbers(
        allow_nan=False
    ), st.decimals(allow_nan=False), st.fractions(), st.dates(), st.datetimes(),
)  # fmt: skip
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text() | st.integers() | st.booleans(), inner, max_size=4),
        st.sets(st.integers() | st.text(), max_size=4),
        st.lists(st.integers(), max_size=4).map(collections.deque),
    ),
    max_leaves=12,
)


def _there_and_back(value: Any) -> Any:
    encoded = dumps(Encoder({}, None).encode(value))
    return Decoder({}, lambda number, kind: pytest.fail(f"{kind} {number}")).decode(loads(encoded))


def _kinds(value: Any) -> Any:
    """The types of a value and of all in it."""
    if isinstance(value, dict):
        return dict, [(_kinds(key), _kinds(part)) for key, part in value.items()]
    if isinstance(value, (list, tuple, collections.deque)):
        return type(value), [_kinds(part) for part in value]
    return type(value)


@given(_values)
def test_values_travel_with_their_types(value: Any) -> None:
    got = _there_and_back(value)
    assert got == value
    assert _kinds(got) == _kinds(value)


@pytest.mark.parametrize(
    "value",
    [2**4000, -(2**64), float("inf"), -0.0, "\ud800", {1: 2, "1": 3}, {(1, 2): [3]}, frozenset({1}), [[[]]],
     decimal.Decimal("1.10"), fractions.Fraction(1, 3), datetime.datetime(2020, 1, 2, 3, 4, 5, 6)],
)  # fmt: skip
def test_awkward_values_travel(value: Any) -> None:
    got = _there_and_back(value)
    assert got == value
    assert type(got) is type(value)
    assert not isinstance(value, float) or math.copysign(1, got) == math.copysign(1, value)


def test_a_subclass_travels_as_the_plain_value_it_holds() -> None:
    class Sly(list):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            return iter([4])

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    got = _there_and_back(Sly([5]))
    assert type(got) is list
    assert got == [5]


@pytest.mark.parametrize(
    "data",
    [{"t": "os.system", "v": "true"}, {"t": "object", "c": "Popen", "v": {}}, {"t": "int", "v": []}, {"v": 1}, {"t": "tuple"},
     {"t": "dict", "v": [1]}, {"t": "set", "v": [[]]}],
)  # fmt: skip
def test_unknown_or_broken_data_is_refused(data: Any) -> None:
    with pytest.raises(CodecError):
        Decoder({}, lambda number, kind: None).decode(data)


def test_values_without_plain_form_are_refused() -> None:
    with pytest.raises(CodecError):
        Encoder({}, None).encode(object())
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(CodecError):
        Encoder({}, None).encode(loop)


def test_private_tests_are_decoded() -> None:
    tests = [{"input": "1\n", "output": "2\n", "testtype": "stdin"}]
    assert decode(encode(tests)) == tests
    assert decode(json.dumps(tests)) == tests
    assert decode(encode([])) == []


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('the pickle ran')",))


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(_Evil()),
        pickle.dumps([_Evil()]),
        pickle.dumps(collections.OrderedDict()),
        pickle.dumps(["a list"]),
        pickle.dumps(b"bytes"),
        pickle.dumps("no JSON"),
        pickle.dumps('{"not": "a list"}'),
        pickle.dumps("[1, 2]"),
        b"",
        b"cos\nsystem\n(S'true'\ntR.",
    ],
)
def test_private_tests_that_are_no_string_are_refused(content: bytes) -> None:
    field = base64.b64encode(zlib.compress(content)).decode()
    with pytest.raises(ValueError):  # noqa: PT011  (PrivateTestsError or a JSON error, both ValueError)
        decode(field)


@pytest.mark.parametrize("field", ["%%%", "AAAA", base64.b64encode(b"x").decode()])
def test_private_tests_that_are_not_packed_are_refused(field: str) -> None:
    with pytest.raises(PrivateTestsError):
        decode(field)


def test_the_longest_inputs_are_chosen_and_run_short_first() -> None:
    tests = [IoTest("x" * size, str(size)) for size in (5, 1, 9, 3, 9)]
    assert [test.expected for test in longest(tests, 3)] == ["5", "9", "9"]
    assert len(longest(tests, 99)) == 5


def test_a_prelude_leaves_future_imports_first() -> None:
    source = with_prelude("from __future__ import annotations\nprint(pow(2, 5, 7), inf, gcd(4, 6))")
    compile(source, "x", "exec")
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["4", "inf", "2"]


@needs_sandbox
def test_the_reward_functions_judge_io_and_calls() -> None:
    tests = [IoTest("3 4\n", "7\n"), IoTest("1 1\n", "2\n")]
    assert judge_io("print(sum(map(int, input().split())))", tests).passed
    assert judge_io("print(7)", tests).kind == "wrong_output"
    assert judge_io("print(7)", []).kind == "sandbox_error"
    check = "def check(candidate):\n    assert candidate([3, 1]) == [1, 3]\n"
    assert judge_calls("def f(x): return sorted(x)", setup=check, tests=("check(f)",), names=("f",)).passed
    assert not judge_calls("def f(x): return x", setup=check, tests=("check(f)",), names=("f",)).passed


@needs_sandbox
def test_objects_of_the_program_can_be_used_but_prove_nothing() -> None:
    program = """
class Pair:
    def __init__(self, a, b):
        self.a, self.b = a, b
    def total(self):
        return self.a + self.b
def total(pairs):
    return sum(pair.total() for pair in pairs)
def numbers():
    yield from (1, 2, 3)
"""
    names = ("Pair", "total", "numbers")
    good = ("assert total([Pair(1, 2), Pair(3, 4)]) == 10", "p = Pair(1, 2)\np.a = 5\nassert p.total() == 7",
            "assert list(numbers()) == [1, 2, 3]", "assert next(iter(numbers())) == 1")  # fmt: skip
    assert judge_calls(program, tests=good, names=names).passed
    for bad in ("assert Pair(1, 2) == Pair(1, 2)", "assert Pair(1, 2)", "assert numbers() == [1, 2, 3]"):
        assert judge_calls(program, tests=(bad,), names=names).kind == "failed_assertion"


@needs_sandbox
def test_classes_of_the_tests_travel_by_value() -> None:
    from evaluators.sandbox import Calls, shared

    node = "class Node:\n    def __init__(self, value, next=None):\n        self.value, self.next = value, next\n"
    program = node + (
        "def reverse(node):\n    last = None\n    while node:\n"
        "        node.next, last, node = last, node, node.next\n    return last\n"
    )
    test = "r = reverse(Node(1, Node(2)))\nassert isinstance(r, Node) and (r.value, r.next.value, r.next.next) == (2, 1, None)"
    verdict = shared().run(Calls(program, (test,), ("reverse",), setup=node, classes=("Node",)))
    assert verdict.passed, verdict


@needs_sandbox
def test_arguments_that_the_program_changes_are_seen_by_the_tests() -> None:
    program = "def f(x, d):\n    x.append(1)\n    d['a'] = 2\n"
    test = "x, d = [], {}\nf(x, d)\nassert x == [1] and d == {'a': 2}"
    assert judge_calls(program, tests=(test,), names=("f",)).passed
