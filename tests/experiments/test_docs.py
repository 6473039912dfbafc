"""docs/studies.md and docs/methods.md are true: their Python runs, their settings and studies are those that exist."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from experiments import study
from experiments.outcomes import COLUMNS
from experiments.transfer import Settings
from tests.experiments.synthetic import Plan, write

DOCS = Path(__file__).parents[2] / "docs"
STUDIES, METHODS = ((DOCS / name).read_text(encoding="utf-8") for name in ("studies.md", "methods.md"))
BLOCKS = re.findall(r"```python\n(.*?)```", STUDIES, re.DOTALL)


def test_the_notebook_block_runs(tmp_path, monkeypatch, capsys):
    write(tmp_path / "runs", Plan(items=20), name="quickstart")
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[0], "docs/studies.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "delta_points" in printed
    assert "knowledge" in printed


def test_the_study_block_makes_a_study():
    names: dict[str, object] = {}
    exec(compile(BLOCKS[1], "docs/studies.md", "exec"), names)
    assert names["STUDY"].name == "prompting"


def test_every_study_and_no_other_is_in_the_table():
    assert set(re.findall(r"^\| `(\w+)` \|", STUDIES, re.MULTILINE)) == set(study.names())


def test_every_setting_is_described_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", METHODS, re.MULTILINE))
    defaults = {f.name: f.default for f in fields(Settings)}
    assert set(rows) == {*defaults, "pairs"}
    for name, default in defaults.items():
        told = str(default).lower() if isinstance(default, bool) else str(default)
        assert rows[name].strip() == told, name


def test_every_column_is_described():
    assert all(text and not text.endswith(".") for text in COLUMNS.values())
