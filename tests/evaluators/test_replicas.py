"""Several engine processes share the requests: same results as one, ended together, errors told."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from evaluators import run as evaluation
from evaluators.engine import EngineError, EngineSettings, load, over_all_gpus
from evaluators.engines.replicas import device_shares
from tests.evaluators.test_evaluation import failure, journal, outcomes
from tests.evaluators.tiny import config, entry, make_run

TWO = {"name": "transformers", "data_parallel_size": 2, "batch_size": 4, "window": 8}


@pytest.mark.slow
def test_two_replicas_give_what_one_gives(tiny_model: Path, tmp_path: Path) -> None:
    entries = [entry(name, limit=30) for name in ("mini_math", "mini_code")]
    one = make_run(tmp_path / "one", config(tiny_model, *entries))
    two = make_run(tmp_path / "two", config(tiny_model, *entries, engine=TWO))
    assert evaluation.main(one)["benchmarks"] == evaluation.main(two)["benchmarks"]
    assert outcomes(one) == outcomes(two)
    assert not engines()


def engines() -> list[psutil.Process]:
    return [p for p in psutil.Process().children(recursive=True) if "evaluators.engine_process" in p.cmdline()]


def test_a_replica_that_is_killed_once_is_started_again_and_nothing_is_lost(tiny_model: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, config(tiny_model, entry("mini_math", limit=40), engine=TWO))
    plain, killed = run.event, []

    def event(name: str, *rest: object, **values: object) -> None:
        plain(name, *rest, **values)  # type: ignore[arg-type]
        if name == "engine_loaded" and not killed:
            # Now, because a tiny model may have answered everything before the first score is known.
            killed.append(engines()[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    run.event = event  # type: ignore[method-assign]
    summary = evaluation.main(run)
    assert killed
    assert summary["benchmarks"]["mini_math"]["outcomes"]["engine_failed"] == 0
    assert len(outcomes(run)) == 160
    assert [e["name"] for e in journal(run, "event")].count("engine_loaded") == 2
    assert not engines()


@pytest.mark.slow
def test_an_engine_that_dies_twice_marks_what_is_owed_and_a_retry_does_it(tiny_model: Path, tmp_path: Path) -> None:
    settings = config(tiny_model, entry("mini_math", limit=40), engine=TWO)
    run = make_run(tmp_path, settings)
    plain = run.event

    def event(name: str, *rest: object, **values: object) -> None:
        plain(name, *rest, **values)  # type: ignore[arg-type]
        if name == "engine_loaded":
            os.kill(engines()[0].pid, signal.SIGKILL)

    run.event = event  # type: ignore[method-assign]
    with pytest.raises(evaluation.Failed, match="died twice") as caught:
        evaluation.main(run)
    assert (caught.value.cause, caught.value.retryable) == ("engine_died", True)
    found = outcomes(run)
    assert len(found) == 160
    assert {r["outcome"] for r in found.values() if r["value"] is None} == {"engine_failed"}
    again = make_run(tmp_path, settings)
    assert evaluation.main(again)["benchmarks"]["mini_math"]["outcomes"]["engine_failed"] == 0
    assert len(outcomes(again)) == 160


@pytest.mark.slow
def test_a_model_that_does_not_load_is_told_and_nothing_stays(tiny_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in tiny_model.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    (broken / "model.safetensors").write_bytes(b"no")
    assert failure(tmp_path / "store", config(broken, engine=TWO)).cause == "model"
    assert not engines()


@pytest.mark.slow
def test_closing_in_the_middle_ends_the_processes(tiny_model: Path) -> None:
    engine = load(
        "transformers", EngineSettings(str(tiny_model), options={k: v for k, v in TWO.items() if k != "name"})
    )
    assert len(engines()) == 2
    engine.close()
    deadline = time.monotonic() + 60
    while engines():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_devices_are_shared_out_in_order() -> None:
    assert device_shares(2, 2, None) == ["0,1", "2,3"]
    assert device_shares(2, 1, "3,5,7") == ["3", "5"]
    with pytest.raises(EngineError, match="4, but 2 are visible"):
        device_shares(2, 2, "0,1")


def test_all_gpus_of_a_job_are_used_unless_its_engine_says_how() -> None:
    assert over_all_gpus("vllm", {"tensor_parallel_size": 2}, 8)["data_parallel_size"] == 4
    assert over_all_gpus("vllm", {"tensor_parallel_size": 3}, 8)["data_parallel_size"] == 2
    for name, options, gpus in (("vllm", {}, 1), ("transformers", {}, 0), ("vllm", {"tensor_parallel_size": 8}, 8),
                                ("openai", {}, 8), ("vllm", {"data_parallel_size": 1}, 8)):  # fmt: skip
        assert over_all_gpus(name, options, gpus) == options
