"""`when: saved`: evaluations that start on weights which a running training has saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from manager.cluster.local import LocalBackend
from manager.cluster.slurm_arrays import ParentTask, Source, plan_arrays
from manager.cluster.slurm_script import ScriptRequest, script
from manager.cluster.slurm_site import Site
from manager.foreground import ForegroundSweep
from manager.job import Job, Kind, Resources, State, Sweep, SweepJob
from manager.plan import JobFacts, states
from manager.store import Store
from tests.manager.sweep_catalog import expanded, mistakes


def job_of(starts_with: int | None, needs: tuple[str, ...]) -> Job:
    config = {"toy": {"steps": 2}, "model": {"need": 0, "checkpoint": 1}}
    return Job(Kind.EVALUATE, config, needs, Resources(starts_with=starts_with))


def sweep_of(starts_with: int | None, **toy: bool) -> Sweep:
    train = Job(Kind.RL, {"toy": toy})
    return Sweep(
        "saved",
        None,
        (SweepJob("train", {}, train), SweepJob("evaluate", {"checkpoint": 1}, job_of(starts_with, (train.id,)))),
    )


def test_the_evaluation_is_done_while_its_training_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANAGER_KINDS", "rl=tests.manager.saving_kind,evaluate=tests.manager.toy_kind")
    store, sweep = Store.open(tmp_path, create=True), sweep_of(1)
    for entry in sweep.jobs:
        store.add_job(entry.job)
    ended = ForegroundSweep(store, sweep, LocalBackend(store, 2, 0), lambda known: None).run()
    assert set(ended.states.values()) == {State.DONE}  # the training ends only after an evaluation of it has
    training, evaluation = (store.run(entry.job.id).result() for entry in sweep.jobs)
    assert training is not None
    assert evaluation is not None
    assert evaluation["finished"] < training["finished"]


def test_a_checkpoint_that_is_saved_is_evaluated_even_if_the_training_fails_later() -> None:
    sweep = sweep_of(1)
    train, evaluation = (entry.job.id for entry in sweep.jobs)
    failed = JobFacts(done=False, attempts=1, outcome="failed")
    assert states(sweep, {train: failed, evaluation: JobFacts(done=False)})[evaluation] is State.BLOCKED
    saved = replace(failed, saved=frozenset({1}))
    assert states(sweep, {train: saved, evaluation: JobFacts(done=False)})[evaluation] is State.READY
    without = sweep_of(None)
    assert states(without, {train: saved, evaluation: JobFacts(done=False)})[evaluation] is State.BLOCKED


def test_weights_are_not_waited_for_before_they_are_complete(tmp_path: Path) -> None:
    run = Store.open(tmp_path, create=True).add_job(Job(Kind.RL, {}))
    run.model_dir(2).mkdir(parents=True)
    assert run.saved_steps() == frozenset()
    (run.model_dir(2) / "COMPLETE.json").write_text("{}")
    assert run.saved_steps() == {2}


STAGES = """
stages:
  train:
    kind: rl
    model: qwen2.5-1.5b-instruct
    data: math
    batch: {prompts: 4, samples: 4}
    grpo: {max_steps: 100}
    export_steps: 50
  evaluate: {kind: evaluate, needs: train, checkpoints: [50, last], suite: mini%s}
"""


def test_when_is_no_part_of_the_identity_and_the_last_step_waits_for_the_result(tmp_path: Path) -> None:
    plain = [entry.job for entry in expanded(tmp_path, STAGES % "").jobs]
    saved = [entry.job for entry in expanded(tmp_path, STAGES % ", when: saved").jobs]
    assert [job.id for job in plain] == [job.id for job in saved]
    assert [job.resources.starts_with for job in plain] == [None, None, None]
    assert [job.resources.starts_with for job in saved] == [None, 50, None]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (STAGES % ", when: early", "stages.evaluate.when"),
        (
            "stages: {evaluate: {kind: evaluate, model: qwen2.5-1.5b-instruct, suite: mini, when: saved}}",
            "saved: this stage needs no stage that saves weights",
        ),
    ],
)
def test_mistakes_are_told(text: str, told: str, tmp_path: Path) -> None:
    assert told in "".join(mistakes(tmp_path, text))


def test_a_job_whose_weights_are_saved_depends_on_nothing() -> None:
    train = Job(Kind.RL, {})
    entry = SweepJob("evaluate", {}, job_of(1, (train.id,)))
    parents = {train.id: ParentTask(Source(None, "7"), 0)}
    (waits,) = plan_arrays([entry], parents, 100)
    assert [each.kind for each in waits.dependencies] == ["aftercorr"]
    (free,) = plan_arrays([entry], parents, 100, None, [entry.job.id])
    assert free.dependencies == ()


def test_only_trainings_watch_for_jobs_to_release(tmp_path: Path) -> None:
    folder = tmp_path / "submissions" / "m"
    request = ScriptRequest("m012345678901234", "s", "train", Resources(), folder, tmp_path, "0-1")
    assert "release_saved" not in script(request, Site())
    text = script(replace(request, saves_weights=True), Site())
    assert 'scontrol update jobid="${file##*/}" dependency=' in text
    assert "release-${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}/*" in text
