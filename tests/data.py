"""Where the real data slices for tests are: $MANAGER_TEST_DATA, or shared/data beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_PLACE = Path(os.environ.get("MANAGER_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")

DATA: Path | None = _PLACE if _PLACE.is_dir() else None

needs_data = pytest.mark.skipif(DATA is None, reason=f"benchmark data not found at {_PLACE}; set MANAGER_TEST_DATA")
