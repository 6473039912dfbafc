"""The same samples are drawn once for all sweeps; shards together ask every item once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators import run as evaluation
from evaluators.joined import joined_result
from evaluators.shards import part, plan_shards
from tests.evaluators.test_evaluation import journal, outcomes
from tests.evaluators.tiny import config, entry, make_run


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
        config(tiny_model, entry("mini_math", limit=2), engine={"name": "transformers", "batch_size": 3}),
        config(tiny_model, entry("mini_math", limit=2, temperature=0.5)),
        {**config(tiny_model, entry("mini_math", limit=2)), "model": {"path": str(tiny_model), "digest": "else"}},
    ]
    for settings in others:
        run = make_run(tmp_path, settings)
        evaluation.main(run)
        assert [r["name"] for r in journal(run, "event") if r["name"] == "reused"] == []


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
