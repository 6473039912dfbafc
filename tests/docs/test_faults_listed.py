"""The list of faults names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

SLURM = Path(__file__).parents[1] / "slurm"


def test_every_test_in_the_list_of_faults_exists() -> None:
    files = [path.read_text() for path in SLURM.glob("test_*.py")]
    written = {name for text in files for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)}
    listed = set(re.findall(r"`(test_\w+)`", (SLURM / "README.md").read_text()))
    assert len(listed) > 30
    assert listed <= written
