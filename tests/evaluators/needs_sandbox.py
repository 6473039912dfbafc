"""The marker of tests that run programs in the sandbox."""

from __future__ import annotations

import shutil

import pytest

needs_sandbox = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed (apt install bubblewrap)"
)
