"""`manager episode`: the list of a job's episodes, the replay of one, and what is told of a wrong name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evaluators.agent import Episode, Turn
from manager.atomic import JsonlWriter
from manager.cli.app import app
from manager.errors import UserError
from manager.job import Job, Kind
from manager.store import Store


@pytest.fixture
def job(tmp_path: Path) -> str:
    directory = Store.open(tmp_path, create=True).add_job(Job(Kind.EVALUATE, {"benchmarks": []}))
    writer = JsonlWriter(directory.path / "episodes" / "sokoban.jsonl")
    right = Turn("a room", "<think>go</think><action>up</action>", "up", True, 10, 4)
    wrong = Turn("the same room", "up!", None, False, 12, 2)
    writer.write(Episode("sokoban", 3, 0, 1, True, 1.0, 1, 0, False, (right,)).to_json())
    writer.write(Episode("sokoban", 4, 0, 2, False, 0.0, 2, 1, True, (right, wrong)).to_json())
    writer.close()
    return directory.path.name


def run(tmp_path: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["episode", *arguments, "--store", str(tmp_path)], catch_exceptions=False)
    return result.output


def test_a_job_alone_lists_what_it_played(tmp_path: Path, job: str) -> None:
    lines = run(tmp_path, job).splitlines()
    assert lines == [
        f"{job}:sokoban:3:0  success, 1 steps, 0 invalid",
        f"{job}:sokoban:4:0  no success (score 0), 2 steps, 1 invalid",
    ]
    assert [row["id"] for row in json.loads(run(tmp_path, job, "--failed", "--json"))] == [f"{job}:sokoban:4:0"]


def test_a_replay_shows_every_step(tmp_path: Path, job: str) -> None:
    text = run(tmp_path, f"{job}:sokoban:4")
    assert "sokoban task 4 sample 0, augmented" in text
    assert "--- step 2\nthe same room" in text
    assert "no action could be read  (could not be done)" in text
    assert text.rstrip().endswith("2 steps, 1 invalid, 6 tokens")


@pytest.mark.parametrize(
    ("which", "told"),
    [(":maze:1", "it played: sokoban"), (":sokoban:9", "tasks are: 3, 4"), (":sokoban:1:2:3", "JOB:ENVIRONMENT")],
)
def test_a_wrong_name_is_told(tmp_path: Path, job: str, which: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        run(tmp_path, job + which)
