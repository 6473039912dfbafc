"""docs/sweep.md is true: its sweeps expand, and it names every key that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from manager.sweep.kinds import COMMON_KEYS, SCHEMAS
from manager.sweep.sections import RESOURCE_KEYS
from manager.sweep.top import KEYS
from tests.manager.sweep_catalog import catalog, expanded

TEXT = (Path(__file__).parents[2] / "docs" / "sweep.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_a_sweep_of_the_page_expands(block: str, tmp_path: Path) -> None:
    assert expanded(tmp_path, block).jobs[-1].stage == "report"


def test_the_counts_of_the_page(tmp_path: Path) -> None:
    jobs = expanded(tmp_path, BLOCKS[0]).jobs
    assert "one for each of the\n37 combinations" in TEXT
    assert len([e for e in jobs if e.stage == "train"]) == 2 * 4 * 2 * 3 - 4 * 3 + 1 == 37


def test_every_key_is_on_the_page() -> None:
    keys = {*KEYS, *COMMON_KEYS, *RESOURCE_KEYS, *(key for schema in SCHEMAS.values() for key in schema.keys)}
    assert [key for key in sorted(keys) if f"`{key}" not in TEXT] == []


def test_every_choice_is_on_the_page() -> None:
    rows = catalog()
    names = [*rows.studies, *rows.engines, *rows.prompting, *rows.deepspeed, *rows.generation]
    assert [name for name in names if f"`{name}`" not in TEXT] == []
