"""Imports of packages that only some sites have (the `agents` extra), with an error that says what to install."""

from __future__ import annotations

import importlib
from typing import Any

from manager.errors import UserError


def need(module: str, environment: str) -> Any:
    """The module, or a UserError that names the extra."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as e:
        package = module.split(".")[0]
        raise UserError(
            f"environment {environment!r} needs the package {package}, which is not installed; "
            "run `pip install 'rl-transfer-manager[agents]'`"
        ) from e
