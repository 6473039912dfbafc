"""The same samples are drawn once for all sweeps; shards together ask every item once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators import run as evaluation
from evaluators.joined import joined_result
from evaluators.shards import part, plan_shards
from manager.alike import enter_all
from manager.job import Job, Kind
from manager.rebuild import rebuild_store
from manager.run import Failed, Stopped
from manager.store import Store
from tests.evaluators.test_evaluation import journal, outcomes
from tests.evaluators.tiny import config, entry, make_model, make_run


def test_a_larger_suite_takes_over_what_a_smaller_one_has(tiny_model: Path, tmp_path: Path) -> None:
    small = make_run(tmp_path, config(tiny_model, entry("mini_math", limit=3)))
    evaluation.main(small)
    large = make_run(tmp_path, config(tiny_model, entry("mini_math", limit=5), entry("mini_code", limit=2)))
    evaluation.main(large)
    reused = [record for record in journal(large, "event") if record["name"] == "reused"]
    assert [(record["job"], record["records"]) for record in reused] == [(small.directory.id, 12)]
    alone = make_run(tmp_path / "other", large.config)
    evaluation.main(alone)
    assert outcomes(alone) == outcomes(large)
    subset = make_run(tmp_path, config(tiny_model, entry("mini_math", limit=4)))
    evaluation.main(subset)
    assert "engine_loaded" not in [record["name"] for record in journal(subset, "event")]


def test_what_differs_in_anything_that_decides_a_sample_is_not_taken_over(tiny_model: Path, tmp_path: Path) -> None:
    evaluation.main(make_run(tmp_path, config(tiny_model, entry("mini_math", limit=2))))
    others: list[dict[str, Any]] = [
        config(tiny_model, entry("mini_math", limit=2), seed=8),
        config(tiny_model, entry("mini_math", limit=2), prompting={"mode": "chat", "thinking": False}),
        config(tiny_model, entry("mini_math", limit=2), engine={"name": "transformers", "dtype": "float64"}),
        config(tiny_model, entry("mini_math", limit=2, temperature=0.5)),
        config(make_model(tmp_path / "another", seed=1), entry("mini_math", limit=2)),
        config(tiny_model, {**entry("mini_math", limit=2), "data": {"revision": "another"}}),
    ]
    for settings in others:
        run = make_run(tmp_path, settings)
        evaluation.main(run)
        assert [r["name"] for r in journal(run, "event") if r["name"] == "reused"] == []


def test_the_same_weights_by_another_way_are_not_asked_again(tiny_model: Path, tmp_path: Path) -> None:
    """By the job that made them, by their path, as a copy, under another name, with engines of another size."""
    store = Store.open(tmp_path / "store", create=True)
    training = store.add_job(Job(Kind.SFT, {"toy": 1}))
    exported = training.model_dir(8)
    shutil.copytree(tiny_model, exported)
    (exported / "COMPLETE.json").write_text('{"source": {"step": 8}}')
    copy = shutil.copytree(exported, tmp_path / "copy")
    asked = entry("mini_math", limit=3)
    first = make_run(store.root, config(exported, asked))
    evaluation.main(first)
    needed = {**config(exported, asked), "model": {"need": 0, "checkpoint": 8}}
    others = [
        make_run(store.root, needed, needs=(training.id,)),
        make_run(store.root, config(copy, asked)),
        make_run(store.root, config(copy, asked, engine={"name": "transformers", "batch_size": 3})),
    ]
    assert len({run.directory.id for run in (first, *others)}) == 4
    for run in others:
        evaluation.main(run)
        events = [record["name"] for record in journal(run, "event")]
        assert "reused" in events
        assert "engine_loaded" not in events
        assert outcomes(run) == outcomes(first)


def test_the_index_of_samples_is_made_again_from_run_directories(tiny_model: Path, tmp_path: Path) -> None:
    first = make_run(tmp_path, config(tiny_model, entry("mini_math", limit=2)))
    evaluation.main(first)
    shutil.rmtree(tmp_path / "samples")
    assert any("evaluations entered" in line for line in rebuild_store(tmp_path).lines())
    assert enter_all(Store.open(tmp_path)) == 0
    second = make_run(tmp_path, config(tiny_model, entry("mini_math", limit=1)))
    evaluation.main(second)
    assert "reused" in [record["name"] for record in journal(second, "event")]


def test_records_of_other_weights_are_not_gone_on_with(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    settings = config(folder, entry("mini_math", limit=2))
    stopped = make_run(tmp_path / "store", settings)
    stopped.request_stop("SIGTERM")
    with pytest.raises(Stopped):
        evaluation.main(stopped)
    make_model(folder, seed=1)
    with pytest.raises(Failed, match=r"another model; `manager retry [0-9a-f]+ --from-scratch` sets them aside"):
        evaluation.main(make_run(tmp_path / "store", settings))


def test_shards_together_are_the_whole(tiny_model: Path, tmp_path: Path) -> None:
    entries = [entry("mini_math", limit=7), entry("mini_code", limit=5)]
    whole = make_run(tmp_path / "whole", config(tiny_model, *entries))
    evaluation.main(whole)
    found: dict[Any, Any] = {}
    for index in range(3):
        run = make_run(tmp_path / "parts", config(tiny_model, *entries, shard={"index": index, "of": 3}))
        summary = evaluation.main(run)
        assert summary["benchmarks"]["mini_math"]["items"] in (2, 3)
        records = outcomes(run)
        assert not records.keys() & found.keys()
        found |= records
    assert found == outcomes(whole)


@given(st.integers(0, 300), st.integers(1, 20))
def test_every_item_is_in_one_shard(count: int, of: int) -> None:
    items = list(range(count))
    assert sorted(item for index in range(of) for item in part(items, index, of)) == items


@given(
    st.floats(0, 1e4), st.floats(0, 30), st.floats(1, 600), st.integers(1, 64), st.integers(1, 8)
)  # fmt: skip
def test_the_plan_is_the_cheapest_that_meets_the_deadline(
    generation: float, load: float, deadline: float, most: int, gpus: int
) -> None:
    plan = plan_shards(generation, load, deadline, most=most, gpus=gpus)
    options = {n: load + generation / n for n in range(1, most + 1)}
    fit = [n for n, minutes in options.items() if minutes <= deadline]
    assert plan.meets_deadline == (options[plan.shards] <= deadline)
    if plan.meets_deadline:
        assert plan.shards == min(fit) or options[plan.shards - 1] == pytest.approx(deadline)
    assert plan.gpu_minutes == pytest.approx(gpus * plan.shards * options[plan.shards])


def test_an_answer_that_alone_takes_too_long_is_not_hidden() -> None:
    assert not plan_shards(100, 5, 60, most=8, longest_min=58).meets_deadline


def test_shards_and_the_whole_share_their_samples(tiny_model: Path, tmp_path: Path) -> None:
    """In both directions, and the joined result is the unsharded one."""
    entries = [entry("mini_math", limit=5), entry("mini_code", limit=1)]
    shards = [make_run(tmp_path, config(tiny_model, *entries, shard={"index": n, "of": 2})) for n in range(2)]
    for shard in shards:
        shard.directory.write_result({"outcome": "done", "attempt": 1, "finished": 1.0, **evaluation.main(shard)})
        assert not journal(shard, "metrics")
    whole = make_run(tmp_path, config(tiny_model, *entries))
    summary = evaluation.main(whole)
    assert "engine_loaded" not in [record["name"] for record in journal(whole, "event")]
    joined = joined_result([shard.directory for shard in shards])
    assert joined is not None
    assert joined["benchmarks"] == summary["benchmarks"]
    again = make_run(tmp_path, config(tiny_model, *entries, shard={"index": 1, "of": 3}))
    evaluation.main(again)
    assert "engine_loaded" not in [record["name"] for record in journal(again, "event")]
