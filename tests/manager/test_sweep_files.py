"""Options of environments that name files: their content is in a job's identity, and where it lies is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.catalog import load
from manager import content
from manager.job import Job
from manager.store import Store
from manager.sweep import SweepErrors, load_sweep

LEVEL = "#####\n#@$.#\n#####\n\n"
SWEEP = """
name: levels
matrix: {where: [WHERE]}
stages:
  probe:
    kind: probe
    model: qwen2.5-1.5b-instruct
    environments: [shop, {name: boxoban, environment: sokoban, levels: "${where}"}]
  train:
    kind: rl
    model: qwen2.5-1.5b-instruct
    environments: [{name: sokoban, levels: "${where}"}]
    grpo: {max_steps: 10}
"""


def jobs(folder: Path, where: str) -> dict[str, Job]:
    path = folder / "sweep.yaml"
    path.write_text(SWEEP.replace("WHERE", where), encoding="utf-8")
    return {entry.stage: entry.job for entry in load_sweep(path, catalog=load(), environ={}).jobs}


def test_other_levels_at_one_path_are_other_jobs_and_the_same_levels_at_another_path_are_not(tmp_path: Path) -> None:
    levels, moved = tmp_path / "levels.txt", tmp_path / "elsewhere" / "copy.txt"
    levels.write_text(LEVEL)
    before = jobs(tmp_path, "levels.txt")
    moved.parent.mkdir()
    moved.write_text(LEVEL)
    elsewhere = jobs(tmp_path, "elsewhere/copy.txt")
    levels.write_text(LEVEL.replace("@$.", "@ $"))
    after = jobs(tmp_path, "levels.txt")
    for stage, job in before.items():
        assert elsewhere[stage].id == job.id != after[stage].id
        assert str(tmp_path) not in str(job.config), "no path of this machine is in the identity"
        assert job.resources.files == {content.digest(moved): str(levels)}
        assert elsewhere[stage].resources.files == {content.digest(moved): str(moved)}
    (options,) = [row["data"]["options"] for row in before["train"].config["data"]["environments"]]
    assert options["levels"] == {"digest": content.digest(moved)}


def test_the_store_takes_the_place_that_the_last_sweep_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(LEVEL)
    (tmp_path / "b.txt").write_text(LEVEL)
    store = Store.open(tmp_path / "store", create=True)
    store.add_job(jobs(tmp_path, "a.txt")["probe"])
    moved = store.add_job(jobs(tmp_path, "b.txt")["probe"])
    assert list(moved.job().resources.files.values()) == [str(tmp_path / "b.txt")]


def test_one_content_at_two_places_of_one_sweep_is_one_job(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(LEVEL)
    (tmp_path / "b.txt").write_text(LEVEL)
    assert len(jobs(tmp_path, "a.txt, b.txt")) == 2


def test_what_is_not_there_is_told_with_file_and_key(tmp_path: Path) -> None:
    with pytest.raises(SweepErrors) as told:
        jobs(tmp_path, "absent.txt")
    lines = str(told.value).splitlines()
    assert any("sweep.yaml:3" in line and "absent.txt: No such file" in line for line in lines), lines


def test_of_a_folder_counts_what_is_played(tmp_path: Path) -> None:
    patterns = ("train/**/*.json",)
    game = tmp_path / "data" / "train" / "task" / "trial" / "game.json"
    game.parent.mkdir(parents=True)
    game.write_text("one")
    first = content.digest(tmp_path / "data", patterns)
    (tmp_path / "data" / "sessions.log").write_text("written while it runs")
    assert content.digest(tmp_path / "data", patterns) == first
    (tmp_path / "data").rename(tmp_path / "moved")
    assert content.digest(tmp_path / "moved", patterns) == first
    (tmp_path / "moved" / "train" / "task" / "trial" / "game.json").write_text("two")
    assert content.digest(tmp_path / "moved", patterns) != first
    assert content.find("moved", tmp_path, ("test/*.json",)) == f"{tmp_path / 'moved'}: holds no test/*.json"


@pytest.mark.parametrize("place", [0, content.WHOLE_BYTES // 2, content.WHOLE_BYTES + content.SAMPLE_BYTES])
def test_a_large_file_of_a_folder_is_looked_at_in_places(tmp_path: Path, place: int) -> None:
    large = tmp_path / "large"
    size = content.WHOLE_BYTES + 2 * content.SAMPLE_BYTES
    large.write_bytes(b"\0" * size)
    before = content.digest(tmp_path, ("large",))
    with open(large, "r+b") as stream:
        stream.seek(place)
        stream.write(b"1" * content.SAMPLE_BYTES)
    assert content.digest(tmp_path, ("large",)) != before
