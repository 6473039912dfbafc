"""GPU-hours: from finished jobs of the same shape, from time limits, and within a budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.atomic import write_json
from manager.cost import Estimator, shape
from manager.errors import UserError
from manager.history import gpu_hours_used, read_history
from manager.job import Job, Kind, Resources, SweepJob
from manager.store import Store

EIGHT = Resources(gpus_per_node=8, time_min=600)


def train(seed: int, base: str = "small", resources: Resources = EIGHT, **config: object) -> Job:
    return Job(Kind.RL, {"model": {"name": base}, "seed": seed, "data": {"name": "math"}, **config}, (), resources)


def evaluate(of: Job, resources: Resources = EIGHT) -> Job:
    return Job(Kind.EVALUATE, {"model": {"need": 0, "checkpoint": "last"}}, (of.id,), resources)


def entries(*jobs: Job) -> list[SweepJob]:
    return [SweepJob(job.kind.value, {}, job) for job in jobs]


def finished(store: Store, job: Job, *hours: float) -> None:
    run = store.add_job(job)
    for number, each in enumerate(hours, 1):
        attempt = run.path / "attempts" / f"{number:04d}"
        attempt.mkdir(parents=True)
        write_json(attempt / "attempt.json", {"started": 1000.0})
        write_json(attempt / "end.json", {"outcome": "done", "finished": 1000.0 + 3600 * each})
    run.write_result({"outcome": "done"})


def test_seed_and_data_do_not_change_the_shape_but_the_model_behind_a_job_does() -> None:
    small, same, large = train(0), train(1), train(0, "large")
    children = [evaluate(small), evaluate(same), evaluate(large)]
    jobs = {job.id: job for job in (small, same, large, *children)}
    shapes = [shape(job, jobs) for job in (small, same, large, *children)]
    assert shapes[0] == shapes[1] != shapes[2]
    assert shapes[3] == shapes[4] != shapes[5]
    assert shape(train(0, lr=1), jobs) != shapes[0]


def test_an_estimate_is_that_of_finished_jobs_with_all_their_attempts(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    for seed in range(10):
        finished(store, train(seed), 0.5, 0.5 + seed)  # two attempts
    assert gpu_hours_used(store.run(train(3).id)) == pytest.approx(8 * 4.0)
    new = [train(100), train(101), train(0, "large"), train(7, resources=Resources())]
    estimator = Estimator({job.id: job for job in new}, read_history(store))
    cost = estimator.total(entries(*new))
    assert (cost.measured_jobs, cost.limited_jobs, cost.unlimited_jobs) == (2, 1, 0)
    assert cost.p50_gpu_hours == pytest.approx(2 * 8 * 5.5 + 80)
    assert cost.p90_gpu_hours == pytest.approx(2 * 8 * 9.0 + 80)
    assert "1 need no GPU" in cost.text()


def test_without_history_and_limit_nothing_is_invented() -> None:
    job = train(0, resources=Resources(gpus_per_node=8))
    cost = Estimator({job.id: job}).total(entries(job))
    assert (cost.unlimited_jobs, cost.p90_gpu_hours) == (1, 0.0)
    assert "no time_min" in cost.text()
    with pytest.raises(UserError, match=r"stages\.rl\.resources\.time_min"):
        Estimator({job.id: job}).within(entries(job), 100.0, 0.0)


def test_a_budget_pays_for_the_first_jobs_and_never_for_a_child_alone() -> None:
    first, second = train(0), train(1)
    children = [evaluate(first), evaluate(second, Resources())]
    jobs = {job.id: job for job in (first, second, *children)}
    every = entries(first, second, *children)
    estimator = Estimator(jobs)
    assert estimator.within(every, 1000.0, 0.0) == every
    assert estimator.within(every, 160.0, 0.0) == [every[0], every[1], every[3]]
    assert estimator.within(every, 160.0, 10.0) == [every[0]], "the second and its child, which is free, wait"
    assert estimator.within(every, 160.0, 160.0) == []
