"""The environments, one module each. A module is found by its name; adding one is adding a file.

A module defines `make(**options)`, which returns a new Environment; those that need a package of the `agents` extra
import it inside.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from typing import Any

from evaluators.environment import Environment
from manager.errors import UserError


@cache
def names() -> tuple[str, ...]:
    """Every environment there is, without importing any."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


def make(name: str, **options: Any) -> Environment:
    """A new environment of that name; UserError lists the names, or the options, that exist."""
    if name not in names():
        raise UserError(f"unknown environment {name!r}; there are: {', '.join(names())}")
    factory = importlib.import_module(f"{__name__}.{name}").make
    known = inspect.signature(factory).parameters
    if unknown := sorted(set(options) - set(known)):
        raise UserError(f"environment {name!r} has no option {', '.join(unknown)}; it has: {', '.join(known)}")
    environment: Environment = factory(**options)
    return environment
