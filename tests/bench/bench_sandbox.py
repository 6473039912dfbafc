"""Programs a second in the sandbox, against one plain `subprocess` a program without any isolation.

    python -m tests.bench.bench_sandbox [--workers 2] [--small 400] [--science 12]

Both sides run the same programs, the same number at a time, in this one run, and in turns; every program
prints a value that is checked. Small: a function with the imports that HumanEval's and MBPP's programs have,
and a few assertions. Science: imports of pandas and sklearn and a small fit, as in BigCodeBench.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from evaluators.sandbox import STANDARD, Calls, Limits, Program, Sandbox, Script, UnitTests

_FUNCTION = """
import math
from collections import Counter
from typing import List

def inside(numbers: List[int], low: int, high: int) -> List[int]:
    counted = Counter(n for n in numbers if low <= n <= high)
    return [n for n in sorted(counted) for _ in range(math.floor(counted[n]))]
"""
_ASSERTIONS = (
    "assert inside([3, 1, 2], 1, 2) == [1, 2]",
    "assert inside([], 1, 2) == []",
    "assert inside([5, 5], 5, 5) == [5, 5]",
)
_SMALL = _FUNCTION + "\n".join(_ASSERTIONS) + "\nprint('done')\n"
_SCIENCE = """
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

def fit(frame):
    return LinearRegression().fit(frame[["x"]], frame["y"]).coef_[0]

frame = pd.DataFrame({"x": np.arange(20.0), "y": np.arange(20.0) * 3})
assert round(fit(frame), 6) == 3
print('done')
"""
_SCIENCE_TESTS = """
import unittest
class TestCases(unittest.TestCase):
    def test_fit(self):
        frame = pd.DataFrame({"x": np.arange(20.0), "y": np.arange(20.0) * 3})
        self.assertEqual(round(fit(frame), 6), 3)
"""
_PRELOAD = ("unittest.mock", "numpy", "pandas", "sklearn.linear_model")


def _plain(source: str) -> None:
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, check=True)
    if done.stdout != b"done\n":
        raise RuntimeError(f"the plain program printed {done.stdout!r}")


def _seconds(action: Callable[[int], None], count: int, workers: int) -> float:
    with ThreadPoolExecutor(workers) as threads:
        started = time.perf_counter()
        list(threads.map(action, range(count)))
        return time.perf_counter() - started


def _in_sandbox(box: Sandbox, program: Program) -> Callable[[int], None]:
    def run(_: int) -> None:
        verdict = box.run(program)
        if not verdict.passed:
            raise RuntimeError(f"the sandboxed program did not pass: {verdict}")

    return run


def _compare(
    name: str, plain: Callable[[int], None], boxed: Callable[[int], None], count: int, workers: int
) -> None:
    """Five turns each, so that a machine that gets busier meets both sides; the rates are of all turns."""
    turns = 5
    plain_s = boxed_s = 0.0
    for _ in range(turns):
        plain_s += _seconds(plain, max(workers, count // turns), workers)
        boxed_s += _seconds(boxed, max(workers, count // turns), workers)
    done = turns * max(workers, count // turns)
    print(
        f"{name:<34} plain {done / plain_s:8.1f}/s   sandbox {done / boxed_s:8.1f}/s   "
        f"ratio {plain_s / boxed_s:6.2f} x   ({done} programs each, {workers} at a time)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--small", type=int, default=400)
    parser.add_argument("--science", type=int, default=12)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as in the sandbox
    workers = options.workers
    limits = Limits(memory_mb=2048)
    with Sandbox(workers, preload=STANDARD) as light, Sandbox(workers, preload=_PRELOAD) as science:
        started = time.perf_counter()
        list(light.run_many([Script("pass")] * workers))
        light_s = time.perf_counter() - started
        started = time.perf_counter()
        list(science.run_many([Script("pass")] * workers))
        science_s = time.perf_counter() - started
        print(f"start of {workers} workers: {light_s:.2f} s; with pandas and sklearn {science_s:.2f} s")
        small, heavy = Script(_SMALL, expected="done"), Script(_SCIENCE, expected="done", limits=limits)
        calls = Calls(_FUNCTION, _ASSERTIONS, ("inside",))
        unit = UnitTests(_SCIENCE, _SCIENCE_TESTS, {"TestCases": ("test_fit",)}, limits=limits)

        def plain_small(_: int) -> None:
            _plain(_SMALL)

        def plain_science(_: int) -> None:
            _plain(_SCIENCE)

        _compare("small, as a script", plain_small, _in_sandbox(light, small), options.small, workers)
        _compare(
            "small, tests in another process", plain_small, _in_sandbox(light, calls), options.small, workers
        )
        _compare(
            "pandas + sklearn, as a script",
            plain_science,
            _in_sandbox(science, heavy),
            options.science,
            workers,
        )
        _compare(
            "pandas + sklearn, unittest", plain_science, _in_sandbox(science, unit), options.science, workers
        )


if __name__ == "__main__":
    main()
