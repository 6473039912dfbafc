"""Shards of an evaluation: what a sweep makes of them, what `auto` chooses, and that only all of them have a score."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from evaluators.benchmark import Outcome
from evaluators.engine import Ended
from evaluators.joined import joined_result
from evaluators.records import OutcomeFiles, Record
from evaluators.summary import benchmark_summary
from experiments import more_scores
from experiments.outcomes import load as load_outcomes
from experiments.outcomes import source
from manager.atomic import write_json
from manager.job import Job, Kind, Resources, Sweep, SweepJob
from manager.run import Run
from manager.shards import ShardChooser
from manager.store import Store
from manager.tracking import sync
from tests.manager.sweep_catalog import expanded, mistakes
from tests.manager.tracked_sweep import BASE, begin, end
from tests.manager.tracking_readback import ReadBack

SAMPLER = {"samples": 3, "temperature": 1.0, "top_p": 1.0, "max_tokens": 64, "stop": []}
ENTRIES = [
    {"name": name, "version": 1, "domain": "math", "subdomain": None, "data": None, "sampler": SAMPLER, "limit": None}
    for name in ("mini_math", "mini_knowledge")
]
CONFIG: dict[str, Any] = {
    "model": BASE, "benchmarks": ENTRIES, "engine": {"name": "vllm"}, "prompting": "chat", "seed": 0,
}  # fmt: skip
WHOLE = Job(Kind.EVALUATE, CONFIG, resources=Resources(gpus_per_node=1))


def stage(tmp_path: Path, text: str) -> list[SweepJob]:
    return list(expanded(tmp_path, "stages:\n  e: {kind: evaluate, model: qwen2.5-7b-instruct, " + text + "}").jobs)


def test_shards_are_jobs_of_their_own_and_one_shard_is_the_evaluation_itself(tmp_path: Path) -> None:
    (alone,) = stage(tmp_path, "suite: all16")
    assert [entry.job.id for entry in stage(tmp_path, "suite: all16, shards: 1")] == [alone.job.id]
    three = stage(tmp_path, "suite: all16, shards: 3")
    assert [entry.job.config["shard"] for entry in three] == [{"index": n, "of": 3} for n in range(3)]
    assert [entry.labels["shard"] for entry in three] == ["1/3", "2/3", "3/3"]
    assert len({alone.job.id, *(entry.job.id for entry in three)}) == 4
    assert {entry.job.whole().id for entry in three} == {alone.job.id}
    assert [job.id for job in three[1].job.shards()] == [entry.job.id for entry in three]


def test_every_checkpoint_is_sharded_and_the_report_needs_all_shards(tmp_path: Path) -> None:
    sweep = expanded(
        tmp_path,
        """
        study: interventional
        stages:
          base: {kind: evaluate, model: qwen2.5-7b-instruct, suite: [gsm8k]}
          train: {kind: rl, model: qwen2.5-7b-instruct, data: math, grpo: {max_steps: 200}}
          after: {kind: evaluate, needs: train, checkpoints: all, suite: [gsm8k], shards: 2}
          report: {kind: report, needs: [base, after]}
        """,
    )
    after = [entry for entry in sweep.jobs if entry.stage == "after"]
    steps = {entry.labels["checkpoint"] for entry in after}
    assert len(after) == 2 * len(steps)
    assert {entry.job.id for entry in after} < set(sweep.jobs[-1].job.needs)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("shards: 0", "shards"), ("shards: 65", "shards"), ("shards: true", "shards"), ("shards: many", "shards"),
        ("shards: auto", "shards"), ("shards: 2, deadline_min: 30", "deadline_min"),
        ("shards: auto, deadline_min: 0", "deadline_min"),
    ],
)  # fmt: skip
def test_a_wrong_number_of_shards_is_told(tmp_path: Path, text: str, key: str) -> None:
    text = "stages:\n  e: {kind: evaluate, model: qwen2.5-7b-instruct, suite: [gsm8k], " + text + "}"
    (told,) = mistakes(tmp_path, text)
    assert f"stages.e.{key}" in told


def record(item: int, sample: int, tokens: int = 10) -> Record:
    value = float(random.Random(f"{item}/{sample}").random() < 0.4)
    if (item, sample) == (5, 1):
        return Record(
            str(item), sample, 0, None, Outcome.GRADER_FAILED, None, "1", "", Ended.STOP, 5, tokens, "x"
        )  # fmt: skip
    outcome = Outcome.RIGHT if value else Outcome.WRONG
    return Record(str(item), sample, 0, value, outcome, None, "1", "", Ended.STOP, 5, tokens, "x")


def write(run: Run, items: list[int]) -> dict[str, Any]:
    """The records of these items, and the summary that an evaluation job gives."""
    files = OutcomeFiles(run.directory.outcomes)
    summaries = {}
    for entry in ENTRIES:
        records = [record(item, sample) for item in items for sample in range(3)]
        for one in records:
            files.write(entry["name"], one)
        summaries[entry["name"]] = benchmark_summary(records, "math", None, 3)
    files.close(complete=True)
    return {"benchmarks": summaries, "model_step": 0}


@pytest.fixture
def swept(tmp_path: Path) -> tuple[Store, list[Job]]:
    """A sweep of one evaluation in three shards, the last of them not run."""
    store = Store.open(tmp_path / "runs", create=True)
    jobs = [WHOLE.shard(index, 3) for index in range(3)]
    for job in jobs:
        store.add_job(job)
    entries = tuple(SweepJob("e", {"shard": f"{index + 1}/3"}, job) for index, job in enumerate(jobs))
    store.write_sweep(Sweep("s", "interventional", entries))
    for index in (0, 1):
        run = begin(store.run(jobs[index].id))
        end(run, **write(run, list(range(10))[index::3]))
    return store, jobs


def scores(back: ReadBack) -> dict[str, dict[str, float]]:
    """The scores that each job's run shows, by the job's id."""
    found = {run.data.tags["job_id"]: run.data.metrics for run in back.runs if "job_id" in run.data.tags}
    return {job: {k: v for k, v in values.items() if k.endswith("pass_at_1")} for job, values in found.items()}


def test_a_score_is_logged_once_all_shards_are_there_and_equals_the_unsharded_one(
    swept: tuple[Store, list[Job]],
) -> None:
    store, jobs = swept
    result = sync(store, "s")
    assert result.error is None
    assert not any(scores(ReadBack.of(result)).values())
    assert joined_result([store.run(job.id) for job in jobs]) is None
    run = begin(store.run(jobs[2].id))
    end(run, **write(run, list(range(10))[2::3]))
    records = [record(item, sample) for item in range(10) for sample in range(3)]
    expected = benchmark_summary(records, "math", None, 3)
    joined = joined_result([store.run(job.id) for job in jobs])
    assert joined is not None
    assert joined["benchmarks"] == {"mini_math": expected, "mini_knowledge": expected}
    result = sync(store, "s")
    assert result.error is None
    value = expected["pass_at_1"]
    wanted = {"mini_math/pass_at_1": value, "mini_knowledge/pass_at_1": value, "math/pass_at_1": value}
    assert scores(ReadBack.of(result)) == {jobs[0].id: wanted, jobs[1].id: {}, jobs[2].id: {}}
    parts = [store.run(job.id).result() for job in jobs]
    assert any(part and part["benchmarks"]["mini_math"]["pass_at_1"] != value for part in parts)


def test_scores_beside_pass_at_1_come_to_mlflow_and_the_report_from_all_shards_together(tmp_path: Path) -> None:
    entry = {**ENTRIES[0], "name": "legalbench", "domain": "knowledge", "subdomain": "law"}
    job = Job(Kind.EVALUATE, {**CONFIG, "benchmarks": [entry]})
    store = Store.open(tmp_path / "runs", create=True)
    shards = [job.shard(index, 2) for index in range(2)]
    for shard in shards:
        store.add_job(shard)
    store.write_sweep(Sweep("s", None, tuple(SweepJob("e", {}, shard) for shard in shards)))
    for index, shard in enumerate(shards):
        run = begin(store.run(shard.id))
        files = OutcomeFiles(run.directory.outcomes)
        for number in range(index, 6, 2):
            # Task a: yes yes no, of which one yes is right; task b: all right.
            item = f"{'a' if number < 3 else 'b'}/test/{number}"
            right = number in (0, 3, 4, 5)
            files.write("legalbench", Record(
                item, 0, 0, float(right), Outcome.RIGHT if right else Outcome.WRONG, None,
                "no" if number == 2 else "yes", "", Ended.STOP, 5, 5, "x",
            ))  # fmt: skip
        files.close(complete=True)
        end(run, benchmarks={}, model_step=7)
    result = sync(store, "s")
    assert result.error is None
    (shown,) = [run.data.metrics for run in ReadBack.of(result).runs if run.data.tags.get("job_id") == shards[0].id]
    assert shown["legalbench/balanced_accuracy"] == pytest.approx((0.25 + 1) / 2)
    assert shown["legalbench/pass_at_1"] == pytest.approx(4 / 6)
    assert shown["legalbench_tasks/a.balanced_accuracy"] == 0.25
    assert shown["legalbench_tasks/a.exact_match"] == pytest.approx(1 / 3)
    scores, tasks = more_scores.tables(source(store, "s"))
    assert dict(zip(scores["score"], scores["percent"], strict=True)) == {
        "balanced accuracy": 62.5, "exact match by task": pytest.approx(200 / 3)
    }  # fmt: skip
    assert list(tasks["task"]) == ["a", "b"]
    assert list(tasks["balanced_accuracy_percent"]) == [25.0, 100.0]


def test_outcomes_of_some_shards_are_not_a_finished_evaluation(swept: tuple[Store, list[Job]]) -> None:
    store, jobs = swept
    frame = load_outcomes("s", store=store)
    assert not frame["finished"].any()
    run = begin(store.run(jobs[2].id))
    end(run, **write(run, list(range(10))[2::3]))
    frame = load_outcomes("s", store=store)
    assert frame["finished"].all()
    assert len(frame) == 2 * 10 * 3
    assert frame["model"].nunique() == 1


# What auto chooses


def finished_evaluation(store: Store, job: Job, *, load_s: float, generating_s: float, tokens: int) -> None:
    """A done evaluation of three samples of two items of each benchmark."""
    store.add_job(job)
    run = begin(store.run(job.id))
    run.event("engine_loaded", "vllm", seconds=load_s)
    summary = {"domain": "math", "items": 2, "samples": 3, "completion_tokens": tokens, "pass_at_1": 0.5}
    end(run, benchmarks={entry["name"]: summary for entry in ENTRIES}, model_step=0)
    write_json(run.attempt_dir / "attempt.json", {"number": 1, "started": 1000.0})
    write_json(run.attempt_dir / "end.json", {"outcome": "done", "finished": 1000.0 + load_s + generating_s})


def limited(limit: int) -> Job:
    entries = [{**entry, "limit": limit} for entry in ENTRIES]
    return Job(Kind.EVALUATE, {**CONFIG, "benchmarks": entries}, resources=Resources(gpus_per_node=1))


def test_auto_needs_to_know_how_long_answers_take(tmp_path: Path) -> None:
    chooser = ShardChooser(Store.open(tmp_path, create=True))
    assert chooser(limited(40), {}, 30.0) == 1
    assert "no finished evaluation" in chooser.lines()[0]


def test_auto_is_the_least_gpu_time_that_meets_the_deadline(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    # 12 samples in 10 minutes: 0.83 min a sample; 2 benchmarks × 20 items × 3 samples are 100 minutes.
    finished_evaluation(store, limited(2), load_s=120.0, generating_s=600.0, tokens=600)
    for deadline, shards in ((1000, 1), (102, 1), (101, 2), (52, 2), (27, 4), (22, 5)):
        chooser = ShardChooser(store)
        assert chooser(limited(20), {}, float(deadline)) == shards, chooser.lines()
    chooser = ShardChooser(store)
    assert chooser(limited(20), {}, 1.0) == 40  # no more than there are items
    assert "no number of shards meets the deadline" in chooser.lines()[0]
    assert ShardChooser(store)(Job(Kind.EVALUATE, limited(20).config), {}, 22.0) == 1  # another machine


def test_what_auto_chose_is_kept_once_it_was_begun(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    finished_evaluation(store, limited(2), load_s=120.0, generating_s=600.0, tokens=600)
    assert ShardChooser(store)(limited(20), {}, 27.0) == 4
    for job in limited(20).shard(0, 4).shards():
        store.add_job(job)
    finished_evaluation(store, limited(3), load_s=1.0, generating_s=1.0, tokens=6000)
    chooser = ShardChooser(store)
    assert chooser(limited(20), {}, 27.0) == 4
    assert "as it was begun" in chooser.lines()[0]
