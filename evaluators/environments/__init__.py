"""The environments, one module each. A module is found by its name; adding one is adding a file.

A module defines `make(**options)`, which returns a new Environment; those that need a package of the `agents` extra
import it inside.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from evaluators.environment import Environment
from manager.errors import UserError


@dataclass(frozen=True)
class Facts:
    """What a job's identity and plan need of an environment. `options` with their defaults."""

    name: str
    version: int
    options: Mapping[str, Any]
    prompt_tokens: int
    response_tokens: int
    quick: bool
    files: Mapping[str, tuple[str, ...]]
    processes: int | None


@cache
def names() -> tuple[str, ...]:
    """Every environment there is, without importing any."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


def make(name: str, **options: Any) -> Environment:
    """A new environment of that name; UserError lists the names, or the options, that exist."""
    factory = _module(name).make
    known = inspect.signature(factory).parameters
    if unknown := sorted(set(options) - set(known)):
        raise UserError(f"environment {name!r} has no option {', '.join(unknown)}; it has: {', '.join(known)}")
    environment: Environment = factory(**options)
    return environment


def _module(name: str) -> ModuleType:
    if name not in names():
        raise UserError(f"unknown environment {name!r}; there are: {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name}")


@cache
def facts(name: str) -> Facts:
    """What is known of an environment without making one, and without the package that it may need."""
    signature = inspect.signature(_module(name).make)
    kind: type[Environment] = getattr(_module(name), str(signature.return_annotation))
    options = {key: parameter.default for key, parameter in signature.parameters.items()}
    return Facts(
        name, kind.version, options, kind.prompt_tokens, kind.response_tokens, kind.quick, kind.files, kind.processes
    )
