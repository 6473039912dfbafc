"""Supervised training on what other stages made: exact ratios, a fixed order, repetition only where it must be."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from manager.atomic import JsonlWriter, read_jsonl
from manager.job import Job, Kind
from manager.run import Failed, Run
from manager.store import Store
from tests.trainers import running
from trainers.trajectories import demonstrations

LENGTHS = {"sciworld": 190, "alfworld": 31, "shop": 12}


def run_of(root: Path, ratios: dict[str, float], **data: Any) -> Run:
    """A training job that needs one collecting job for each source, with so many rows."""
    store = Store.open(root, create=True)
    needs = []
    for name in ratios:
        directory = store.add_job(Job(Kind.COLLECT, {"name": name}))
        path = directory.path / "trajectories" / f"{name}.jsonl"
        if not path.is_file():
            writer = JsonlWriter(path)
            for number in range(LENGTHS[name]):
                asked = [{"role": "user", "content": f"{name} {number}"}]
                writer.write({"messages": asked, "completion": f"<action>{number}</action>"})
            writer.close()
        needs.append(directory.job().id)
    listed = [{"need": place, "ratio": ratio} for place, ratio in enumerate(ratios.values())]
    setting = {"name": "trajectories", "seed": 42, "size": None, "trajectories": listed, **data}
    directory = store.add_job(Job(Kind.SFT, {"data": setting}, tuple(needs)))
    attempt = directory.path / "attempts" / f"{len(directory.attempts()) + 1:04d}"
    attempt.mkdir(parents=True)
    return Run(directory, directory.job(), attempt)


def sources(rows: list[dict[str, Any]]) -> Counter[str]:
    return Counter(row["prompt"][0]["content"].split()[0] for row in rows)


def test_the_ratios_are_exact_and_no_pair_is_there_twice(tmp_path: Path) -> None:
    rows = demonstrations(run_of(tmp_path, {"sciworld": 19, "alfworld": 3, "shop": 1}))
    assert sources(rows) == {"sciworld": 190, "alfworld": 30, "shop": 10}
    assert len({row["prompt"][0]["content"] for row in rows}) == 230


def test_the_order_is_the_seeds(tmp_path: Path) -> None:
    ratios = {"alfworld": 1.0, "shop": 1.0}
    first = demonstrations(run_of(tmp_path / "a", ratios))
    assert first == demonstrations(run_of(tmp_path / "b", ratios))
    assert first != demonstrations(run_of(tmp_path / "c", ratios, seed=43))


def test_repetition_is_told(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"alfworld": 1.0, "shop": 1.0}, size=40)
    assert sources(demonstrations(run)) == {"alfworld": 20, "shop": 20}
    (event,) = [one for one in read_jsonl(run.attempt_dir / "journal.jsonl") if one["type"] == "event"]
    assert event["repeated"] == 8


def test_a_source_without_rows_fails_with_its_place(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"shop": 1.0})
    (run.need(0).path / "trajectories" / "shop.jsonl").unlink()
    with pytest.raises(Failed, match="holds no row"):
        demonstrations(run)


def test_long_states_are_learned_from_so_that_the_ratios_stay(tmp_path: Path) -> None:
    """TRL leaves out what has more than 1024 tokens unless it is told otherwise."""
    run = run_of(tmp_path, {"shop": 1.0})
    path = run.need(0).path / "trajectories" / "shop.jsonl"
    path.unlink()
    writer = JsonlWriter(path)
    for number in range(8):
        asked = [{"role": "user", "content": "a state with very many objects; " * (40 * (number % 2))}]
        writer.write({"messages": asked, "completion": f"<action>{number}</action>"})
    writer.close()
    config = running.sft_config(data=run.config["data"], batch={"examples": 8}, sft={"max_steps": 1})
    attempt = running.start(running.add(tmp_path, "sft", config, run.job.needs))
    assert attempt.wait()["outcome"] == "done"
    assert attempt.events()["data"]["rows"] == 8
    assert "examples_left_out" not in attempt.events()
