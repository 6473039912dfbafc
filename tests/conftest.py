"""Fixtures that several folders of tests share."""

from __future__ import annotations

import pytest

from tests.small import SmallSweep, run_small


@pytest.fixture(scope="session")
def small_sweep(tmp_path_factory: pytest.TempPathFactory) -> SmallSweep:
    """A real, finished sweep (see tests/small.py). Made once; tests must not change it."""
    return run_small(tmp_path_factory.mktemp("small") / "runs")
