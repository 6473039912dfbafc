"""Models, data sets and system metrics as MLflow 3 shows them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from manager.tracking import rebuild, sync
from manager.tracking.system import SystemSampler, Watched, gpu_values, job_values
from tests.manager.tracked_sweep import Study, begin, end, finish_study, make_study, train, vanish
from tests.manager.tracking_readback import ReadBack


@pytest.fixture
def study(tmp_path: Path, with_database: Callable[[Study], Study]) -> Study:
    return with_database(make_study(tmp_path / "runs"))


def test_base_and_checkpoints_are_logged_models_with_their_lineage(study: Study) -> None:
    finish_study(study)
    result = sync(study.store, "study")
    back = ReadBack.of(result)
    models = {m.name: m for m in back.client.search_logged_models([result.experiment_id])}
    assert set(models) == {"tiny-base", "train math step 100", "train code step 100"}
    base, math = models["tiny-base"], models["train math step 100"]
    trained = back.client.get_run(back.run(stage="train", domain="math").info.run_id)
    judged = back.client.get_run(back.run(stage="evaluate", domain="math").info.run_id)
    assert math.source_run_id == trained.info.run_id
    assert [m.model_id for m in trained.inputs.model_inputs] == [base.model_id]
    assert [(m.model_id, m.step) for m in trained.outputs.model_outputs] == [(math.model_id, 100)]
    assert [m.model_id for m in judged.inputs.model_inputs] == [math.model_id]
    assert {m.key: m.value for m in math.metrics}["math/pass_at_1"] == 0.6
    assert {m.key: m.value for m in base.metrics}["math/pass_at_1"] == 0.2
    assert math.tags["path"] == "models/step-000100"
    # Again, and with every mark disbelieved: no model twice.
    sync(study.store, "study")
    rebuild(study.store, "study")
    assert len(back.client.search_logged_models([result.experiment_id])) == 3


def test_a_replaced_run_keeps_its_models(study: Study) -> None:
    finish_study(study)
    result = sync(study.store, "study")
    back = ReadBack.of(result)
    before = back.run(stage="train", domain="math")
    back.client.log_metric(before.info.run_id, "train/metric_0", 99.0, step=3)
    back = ReadBack.of(rebuild(study.store, "study"))
    after = back.client.get_run(back.run(stage="train", domain="math").info.run_id)
    assert after.info.run_id != before.info.run_id
    models = {m.model_id: m for m in back.client.search_logged_models([result.experiment_id])}
    assert len(models) == 3
    (made,) = after.outputs.model_outputs
    assert models[made.model_id].source_run_id == after.info.run_id


def test_data_sets_are_inputs_of_the_runs(study: Study) -> None:
    finish_study(study)
    back = ReadBack.of(sync(study.store, "study"))
    trained = back.run(stage="train", domain="math").inputs.dataset_inputs
    assert [(i.dataset.name, [t.value for t in i.tags]) for i in trained] == [("math", ["training"])]
    judged = back.run(stage="evaluate", domain="math").inputs.dataset_inputs
    assert {(i.dataset.name, i.tags[0].value) for i in judged} == {
        ("mini_math", "evaluation"),
        ("mini_code", "evaluation"),
    }


def test_the_machine_is_sampled_for_jobs_that_run_on_it(study: Study) -> None:
    directory = study.run_dir("train", domain="math")
    run = begin(directory)
    train(run, 1, 3)
    sampler = SystemSampler()
    journal = run.attempt_dir / "system.jsonl"
    record = dict(directory.attempts()[-1].record)
    sampler.watch([Watched(directory.id, journal, record, float(record["started"]))])
    sampler.sample()
    (line,) = journal.read_text().splitlines()
    values = json.loads(line)["values"]
    assert values["system/system_memory_usage_megabytes"] > 0
    assert values["system/job_memory_usage_megabytes"] > 1
    back = ReadBack.of(sync(study.store, "study"))
    stored = back.run(stage="train", domain="math").data.metrics
    assert stored["system/disk_usage_percentage"] == values["system/disk_usage_percentage"]
    vanish(run)
    dead = dict(directory.attempts()[-1].record)
    sampler.watch([Watched(directory.id, journal, dead, 0.0)])
    sampler.sample()
    assert len(journal.read_text().splitlines()) == 1


def test_a_later_attempts_samples_follow_the_earlier_ones(study: Study) -> None:
    directory = study.run_dir("train", domain="math")
    for number in (1, 2):
        run = begin(directory)
        record = {
            "time": 100.0 * number,
            "type": "metrics",
            "step": 10 * number,
            "values": {"system/x": number},
        }
        (run.attempt_dir / "system.jsonl").write_text(json.dumps(record) + "\n")
        if number == 1:
            vanish(run)
        else:
            end(run, last_step=1)
    back = ReadBack.of(sync(study.store, "study"))
    assert back.line(back.run(stage="train", domain="math"), "system/x") == [(10, 1.0), (20, 2.0)]


def test_what_nvidia_smi_says() -> None:
    values = gpu_values("0, 97, 40000, 81559, 612.5, 700.00\n1, [N/A], 10, 81559, [N/A], [N/A]\n")
    assert values["system/gpu_0_utilization_percentage"] == 97
    assert values["system/gpu_0_power_usage_percentage"] == pytest.approx(87.5)
    assert values["system/gpu_0_memory_usage_percentage"] == pytest.approx(100 * 40000 / 81559)
    assert "system/gpu_1_utilization_percentage" not in values
    assert values["system/gpu_1_memory_usage_megabytes"] == pytest.approx(10.48576)
    assert gpu_values("") == {}


def test_a_process_that_is_gone_has_no_memory() -> None:
    assert job_values(os.getpid())["system/job_memory_usage_megabytes"] > 1
    assert job_values(2**22 + 5) == {}
