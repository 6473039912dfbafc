"""Programs in the sandbox from tests: input and output pairs, calls of a function, assertions.

Used by the code benchmarks and by the code reward of training: `judge_io` and `judge_calls` take a solution
and its tests and give the verdict.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evaluators.sandbox import Calls, Program, Sandbox, Script, Verdict

_FUTURE = re.compile(r"^from __future__ import .*$", re.MULTILINE)
# What contest sites import beforehand and their solutions rely on. `builtins` late: `operator.pow` takes no
# modulus, and must not stay in the place of `pow`.
_MODULES = (
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics",
    "itertools", "functools", "operator", "io", "sys", "json", "builtins", "typing",
)  # fmt: skip
PRELUDE = "\n".join(
    [f"from {name} import *" for name in _MODULES]
    + [f"import {name}" for name in _MODULES]
    + ["sys.setrecursionlimit(50000)"]
)
_CHECK = """
import json

def same(ours, theirs):
    if isinstance(ours, tuple):
        ours = list(ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs

def check(text, expected):
    values = [json.loads(line) for line in text.split("\\n") if line.strip()]
    result = FUNCTION(*values)
    told = f"for {text[:200]!r}: {result!r:.200}, expected {expected[:200]}"
    assert same(result, json.loads(expected)), told
"""


@dataclasses.dataclass(frozen=True)
class IoTest:
    stdin: str
    expected: str


def longest(tests: Sequence[IoTest], most: int) -> list[IoTest]:
    """The `most` tests with the longest input, shortest first so that a wrong answer is found early."""
    chosen = sorted(range(len(tests)), key=lambda index: (-len(tests[index].stdin), index))[:most]
    return [tests[index] for index in sorted(chosen, key=lambda index: (len(tests[index].stdin), index))]


def with_prelude(solution: str, prelude: str = PRELUDE) -> str:
    """The solution after the imports; `from __future__` stays first."""
    future = "\n".join(_FUTURE.findall(solution))
    return f"{future}\n{prelude}\n{_FUTURE.sub('', solution)}"


def io_programs(
    solution: str, tests: Iterable[IoTest], *, cpu_s: float, memory_mb: int, prelude: str = ""
) -> Iterator[Script]:
    """One run a test. The wall clock has room for a busy machine; the limit is on CPU time."""
    from evaluators.sandbox import Limits, Script

    limits = Limits(cpu_s=cpu_s, wall_s=2 * cpu_s + 5, memory_mb=memory_mb)
    source = with_prelude(solution, prelude) if prelude else solution
    for test in tests:
        yield Script(source, test.stdin, test.expected, limits=limits)


def calls_program(
    solution: str, function: str, tests: Iterable[IoTest], *, call_s: float, memory_mb: int, wall_s: float
) -> Calls:
    """One run for all tests: each calls `function` ("f" or "Class().f") with the JSON values of its lines."""
    from evaluators.sandbox import Calls, Limits

    return Calls(
        source=with_prelude(solution),
        setup=_CHECK.replace("FUNCTION", function),
        tests=tuple(f"check({test.stdin!r}, {test.expected!r})" for test in tests),
        names=(re.match(r"\w*", function).group(),),  # type: ignore[union-attr]
        call_wall_s=call_s,
        write_back=False,
        limits=Limits(cpu_s=wall_s, wall_s=wall_s, memory_mb=memory_mb),
    )


def first_failure(sandbox: Sandbox, programs: Iterable[Program]) -> Verdict:
    """The verdict of the first program that does not pass, else of the last."""
    from evaluators.sandbox import Verdict, VerdictKind

    verdict = Verdict(VerdictKind.SANDBOX_ERROR, "the item has no tests")
    for number, program in enumerate(programs, 1):
        verdict = sandbox.run(program)
        if not verdict.passed:
            return dataclasses.replace(verdict, detail=f"test {number}: {verdict.detail}".rstrip(": "))
    return verdict


def judge_io(
    solution: str, tests: Sequence[IoTest], *, most: int = 15, cpu_s: float = 12, memory_mb: int = 1024
) -> Verdict:
    """Standard input and output, as the code reward runs it: the longest inputs, all must pass."""
    from evaluators import sandbox

    chosen = longest(tests, most)
    return first_failure(sandbox.shared(), io_programs(solution, chosen, cpu_s=cpu_s, memory_mb=memory_mb))


def judge_calls(
    solution: str, *, tests: Sequence[str], names: Sequence[str], setup: str = "", wall_s: float = 30
) -> Verdict:
    """Assertions that call `names` of the solution, from a process that the solution cannot reach."""
    from evaluators import sandbox

    limits = sandbox.Limits(cpu_s=wall_s, wall_s=wall_s)
    return sandbox.shared().run(sandbox.Calls(solution, tuple(tests), tuple(names), setup=setup, limits=limits))
