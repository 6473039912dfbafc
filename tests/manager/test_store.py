"""The store: what it refuses, and in which words."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from manager.clean import candidates, delete
from manager.errors import UserError
from manager.job import Job, Kind, Resources, Sweep, SweepJob
from manager.store import Store
from manager.why import differences


def test_a_folder_with_other_files_is_not_taken_for_a_store(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="holds other files"):
        Store.open(tmp_path, create=True)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_store_of_a_newer_version_is_refused_and_untouched(tmp_path: Path) -> None:
    Store.open(tmp_path / "s", create=True)
    (tmp_path / "s" / "store.json").write_text(json.dumps({"layout": 99}))
    with pytest.raises(UserError, match="store layout 99, this manager knows 1"):
        Store.open(tmp_path / "s", create=True)
    assert json.loads((tmp_path / "s" / "store.json").read_text()) == {"layout": 99}


def test_a_missing_store_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="manager sweep FILE"):
        Store.open(tmp_path / "none")


def test_a_damaged_marker_is_told_with_its_path(tmp_path: Path) -> None:
    Store.open(tmp_path / "s", create=True)
    (tmp_path / "s" / "store.json").write_text('{"layout": ')
    with pytest.raises(UserError, match=r"store\.json: not readable"):
        Store.open(tmp_path / "s")


def test_a_read_only_place_is_told_in_one_line(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a read-only file system needs root")
    place = tmp_path / "ro"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(place)], check=True)
    try:
        with pytest.raises(UserError, match="cannot use this folder as the store: Read-only file system") as caught:
            Store.open(place / "store", create=True)
        assert "\n" not in str(caught.value)
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "s", create=True)


def test_jobs_are_found_by_the_beginning_of_their_id(store: Store) -> None:
    jobs = [Job(Kind.RL, {"n": n}) for n in range(40)]
    for job in jobs:
        store.add_job(job)
    assert store.find_job(jobs[0].id[:12]).id == jobs[0].id
    with pytest.raises(UserError, match="no job 'zz'"):
        store.find_job("zz")
    with pytest.raises(UserError, match="fits 40 jobs"):
        store.find_job("")


def test_a_sweep_comes_back_as_it_was_written(store: Store) -> None:
    job = store.add_job(Job(Kind.RL, {"n": 1})).job()
    sweep = Sweep("a", "interventional", (SweepJob("train", {"seed": 0}, job),), {"cluster": "local"}, "name: a\n")
    store.write_sweep(sweep)
    assert store.read_sweep("a") == sweep
    with pytest.raises(UserError, match=r"no sweep 'b'.*there are: a"):
        store.read_sweep("b")


def test_a_rerun_may_change_the_resources_and_nothing_else(store: Store) -> None:
    run = store.add_job(Job(Kind.RL, {"n": 1}, resources=Resources(time_min=10)))
    again = store.add_job(Job(Kind.RL, {"n": 1}, resources=Resources(time_min=20, micro_batch=4)))
    assert again == run
    assert run.job().resources == Resources(time_min=20, micro_batch=4)
    assert run.job().id == run.id


def test_why_names_the_leaf_that_differs_also_in_a_parent(store: Store) -> None:
    parents = [Job(Kind.SFT, {"data": {"size": size}, "seed": 0}) for size in (10, 20)]
    a, b = (Job(Kind.RL, {"lr": 1}, (parent.id,)) for parent in parents)
    for job in (*parents, a, b):
        store.add_job(job)
    assert [(d.place, d.a, d.b) for d in differences(store, a, b)] == [("needs[0].config.data.size", 10, 20)]
    assert differences(store, a, a) == []
    c = store.add_job(Job(Kind.RL, {"lr": 1, "kl": 0.1}, a.needs)).job()
    assert [(d.place, d.a, d.b) for d in differences(store, a, c)] == [("config.kl", "(absent)", 0.1)]


def test_clean_offers_no_result_of_a_job_that_another_sweep_uses(store: Store) -> None:
    shared, own = (store.add_job(Job(Kind.RL, {"n": n})) for n in range(2))
    for run in (shared, own):
        (run.path / "checkpoints" / "checkpoint-1").mkdir(parents=True)
        (run.path / "checkpoints" / "checkpoint-1" / "w").write_bytes(b"x" * 1000)
        run.write_result({"outcome": "done"})
    one = Sweep("one", None, (SweepJob("s", {}, shared.job()), SweepJob("s", {}, own.job())))
    store.write_sweep(one)
    store.write_sweep(Sweep("two", None, (SweepJob("s", {}, shared.job()),)))
    kept = candidates(store, one, results=False)
    assert [(each.path.name, each.bytes) for each in kept] == [("checkpoints", 1000)] * 2
    found = candidates(store, one, results=True)
    assert [each.path for each in found] == [shared.path / "checkpoints", own.path]
    delete(found)
    assert shared.is_done()
    assert not own.is_done()
    assert [path.name for path in own.path.iterdir()] == ["job.json"]  # `status` can still tell what it was
