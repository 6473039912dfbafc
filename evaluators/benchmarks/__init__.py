"""The benchmarks, one module each. A module is found by its name; adding a benchmark is adding a file."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from evaluators.benchmark import Benchmark


@cache
def names() -> tuple[str, ...]:
    """Every benchmark there is, without importing any."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


@cache
def get(name: str) -> Benchmark:
    """The benchmark of that name; KeyError lists what exists."""
    if name not in names():
        raise KeyError(f"unknown benchmark {name!r}; there are: {', '.join(names())}")
    benchmark: Benchmark = importlib.import_module(f"{__name__}.{name}").BENCHMARK
    return benchmark
