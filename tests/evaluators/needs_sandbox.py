"""The markers of tests that run programs in the sandbox, and the two ways in which a box is made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from evaluators.sandbox import launch
from manager.errors import UserError


@contextmanager
def made_by(name: str) -> Iterator[None]:
    """Sandboxes that are made here use bubblewrap, or our own rootless.py as where that is not installed."""
    path = os.environ["PATH"]
    if name == "rootless":
        os.environ["PATH"] = ""
    try:
        launch.boxer()
        yield
    except UserError as error:
        pytest.skip(str(error))
    finally:
        os.environ["PATH"] = path


def _any_sandbox() -> bool:
    try:
        launch.boxer()
    except UserError:
        return False
    return True


needs_sandbox = pytest.mark.skipif(
    not _any_sandbox(), reason="no user namespaces, or bubblewrap is not installed (apt install bubblewrap)"
)
_needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed (apt install bubblewrap)"
)
MADE_BY = [pytest.param("bubblewrap", marks=_needs_bubblewrap), pytest.param("rootless", marks=pytest.mark.slow)]
