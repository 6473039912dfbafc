"""The command line: what it prints for mistakes, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from manager.atomic import write_json
from manager.cli.options import load
from manager.cli.sweeps import with_budget
from manager.errors import UserError
from manager.forecast import refuse_above_budget
from manager.store import Store

ROOT = Path(__file__).parents[2]
TOY = {"MANAGER_KINDS": ",".join(f"{kind}=tests.manager.toy_kind" for kind in ("sft", "rl", "evaluate"))}
SWEEP = """
name: toy
cluster: local
matrix: {seed: [0, 1]}
stages:
  base: {kind: sft, model: tiny, data: mini-math, sft: {max_steps: 4}}
  train: {kind: rl, needs: base, data: mini-math, seed: "${seed}", grpo: {max_steps: 4}, generation: transformers}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(SWEEP, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sweep's file and its finished store."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "toy.yaml").write_text(SWEEP, encoding="utf-8")
    ran = manager(folder, "sweep", folder / "toy.yaml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path, file: Path) -> Path:
    """A copy of the finished store beside the sweep's file, for one test to change."""
    shutil.copytree(finished_once / "runs", tmp_path / "runs")
    return tmp_path / "runs"


def manager(folder: Path, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "manager", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **TOY, "MANAGER_STORE": str(folder / "runs"), "COLUMNS": "160", **variables},
    )


def test_a_sweep_from_plan_to_clean(tmp_path: Path, file: Path) -> None:
    planned = manager(tmp_path, "plan", file, "--json")
    jobs = json.loads(planned.stdout)["jobs"]
    assert [(job["stage"], job["action"]) for job in jobs] == [
        ("base", "submit"),
        ("train", "submit"),
        ("train", "submit"),
    ]
    assert not (tmp_path / "runs").exists()  # a plan changes nothing
    ran = manager(tmp_path, "sweep", file)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "3 executions" in ran.stdout
    status = json.loads(manager(tmp_path, "status", "toy", "--json").stdout)
    assert status["complete"]
    assert status["counts"] == {"done": 3}
    assert "0 of 3" not in manager(tmp_path, "plan", file).stdout
    again = manager(tmp_path, "sweep", file)
    assert "all 3 jobs are done; nothing was started" in again.stdout
    why = manager(tmp_path, "why", jobs[1]["id"], jobs[2]["id"])
    assert why.stdout.strip() == "config.seed: 0 | 1"
    logs = manager(tmp_path, "logs", jobs[0]["id"])
    assert "done" in logs.stdout.splitlines()[-1]
    assert "nothing to delete" in manager(tmp_path, "clean", "toy").stdout


@pytest.mark.usefixtures("finished")
def test_an_override_makes_other_jobs_and_shares_the_rest(tmp_path: Path, file: Path) -> None:
    changed = manager(tmp_path, "plan", file, "stages.train.grpo.learning_rate=5e-7", "--json")
    assert [job["action"] for job in json.loads(changed.stdout)["jobs"]] == ["skip", "submit", "submit"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "none.yaml"], "none.yaml"),
        (["status", "--store", "/nowhere/at/all"], "no store here"),
        (["logs", "zzz"], "no store here"),
        (["data", "check", "/nowhere"], "manager data fetch"),
        (["data", "fetch", "--to", "/tmp/x", "--suite", "alll16"], "is neither a suite"),
        (["evaluate", "no-such-model", "--suite", "mini"], "no-such-model"),
        (["evaluate", "tiny", "--suite", "mini", "--sampling", "samples"], "for example --sampling temperature=0"),
        (["evaluate", "qwen2.5-1.5b-instruct", "--suite", "mini", "--sampling", "heat=1"], "heat"),
    ],
)
def test_mistakes_are_one_line_and_exit_1(tmp_path: Path, arguments: list[str], message: str) -> None:
    answer = manager(tmp_path, *arguments)
    assert answer.returncode == 1
    assert message in answer.stderr
    assert answer.stderr.startswith("error: ")
    assert "Traceback" not in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


def test_a_sweep_that_asks_for_gpus_says_so_before_anything_runs(tmp_path: Path, file: Path) -> None:
    answer = manager(tmp_path, "sweep", file, "stages.train.resources.gpus_per_node=64")
    assert answer.returncode == 1
    assert "asks for 64 GPUs and this machine has" in answer.stderr
    assert not list((tmp_path / "runs" / "jobs").iterdir())


def test_two_managers_on_one_sweep_at_once_the_second_is_told(tmp_path: Path, file: Path) -> None:
    from manager.lock import exclusive

    store = Store.open(tmp_path / "runs", create=True)
    with exclusive(store.sweep_dir("toy") / "lock", "sweep toy"):
        answer = manager(tmp_path, "sweep", file)
    assert answer.returncode == 1
    assert f"is being run by process {os.getpid()}" in answer.stderr


def test_cancel_and_retry_take_a_part_of_a_sweep(tmp_path: Path, file: Path, finished: Path) -> None:
    store = Store.open(finished)
    train = [entry.job.id for entry in store.read_sweep("toy").jobs if entry.stage == "train"]
    for job_id in train:
        (store.run(job_id).path / "result.json").unlink()
    answer = manager(tmp_path, "cancel", "toy", "stage=train", "seed=0")
    assert answer.stdout.startswith("1 job cancelled (0 running)")
    states = {job["id"]: job["state"] for job in json.loads(manager(tmp_path, "plan", file, "--json").stdout)["jobs"]}
    assert [states[job_id] for job_id in train] == ["cancelled", "interrupted"]
    assert manager(tmp_path, "retry", "toy", "seed=0").returncode == 0
    states = {job["id"]: job["state"] for job in json.loads(manager(tmp_path, "plan", file, "--json").stdout)["jobs"]}
    assert [states[job_id] for job_id in train] == ["ready", "interrupted"]


@pytest.mark.usefixtures("finished")
def test_logs_follow_a_job_to_its_end(tmp_path: Path, file: Path) -> None:
    job_id = json.loads(manager(tmp_path, "plan", file, "--json").stdout)["jobs"][0]["id"]
    answer = manager(tmp_path, "logs", job_id, "-f")
    assert "--- attempt 1: done" in answer.stdout


def test_help_names_every_command(tmp_path: Path) -> None:
    text = manager(tmp_path, "--help").stdout
    for name in (
        "plan",
        "sweep",
        "status",
        "logs",
        "cancel",
        "retry",
        "why",
        "report",
        "ui",
        "doctor",
        "clean",
        "data",
    ):
        assert f" {name} " in text
    assert "Traceback" not in text


def test_doctor_says_what_is_here(tmp_path: Path) -> None:
    rows = {row["part"]: row for row in json.loads(manager(tmp_path, "doctor", "--json").stdout)}
    assert rows["python"]["ok"]
    assert rows["torch"]["found"].startswith("2.13")
    assert {"bigcodebench", "aider_polyglot"} <= rows.keys()


def test_doctor_names_the_sandbox_that_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evaluators.sandbox import launch
    from manager.doctor import examine

    monkeypatch.setenv("PATH", str(tmp_path))  # no bubblewrap
    for fault in ("", "unshare: not allowed"):
        monkeypatch.setattr(launch, "_fault", lambda made_by, fault=fault: fault)
        (found,) = [each for each in examine() if each.part == "sandbox"]
        assert found.ok is not bool(fault)
        assert ("install the package bubblewrap" in found.advice) is bool(fault)


def test_benchmarks_without_data_are_told_before_anything_is_handed_over(tmp_path: Path) -> None:
    file = tmp_path / "real.yaml"
    file.write_text(
        "name: real\ncluster: local\nstages:\n"
        "  evaluate: {kind: evaluate, model: deepseek-r1-distill-qwen-1.5b, suite: [gsm8k, mini_math, usaco], "
        "limit: 2}\n",
        encoding="utf-8",
    )
    answer = manager(tmp_path, "sweep", file, MANAGER_DATA_DIR=str(tmp_path), HF_HOME=str(tmp_path))
    assert answer.returncode == 1
    assert "no test data for 2 of its benchmarks (gsm8k, usaco)" in answer.stderr  # also one that is on no hub
    assert "manager data fetch" in answer.stderr
    _, model = answer.stderr.strip().splitlines()  # a line for each thing that is missing
    assert "hf download deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B" in model
    assert not list((tmp_path / "runs" / "jobs").iterdir())


@pytest.mark.parametrize("path", ["gsm8k/test.jsonl", "usaco/test.jsonl", "usaco/tests.jsonl"])
def test_other_rows_in_the_data_folder_make_another_job(tmp_path: Path, path: str) -> None:
    file = tmp_path / "real.yaml"
    name = path.partition("/")[0]
    file.write_text(
        f"name: real\nstages:\n  evaluate: {{kind: evaluate, model: qwen2.5-7b-instruct, suite: [{name}]}}\n",
        encoding="utf-8",
    )
    data = tmp_path / "data" / name
    data.mkdir(parents=True)

    def planned(row: str) -> str:
        (data.parent / path).write_text(row + "\n", encoding="utf-8")
        answer = manager(tmp_path, "plan", file, "--json", MANAGER_DATA_DIR=str(data.parent))
        return str(json.loads(answer.stdout)["jobs"][0]["id"])

    first = planned('{"question": "1+1?", "answer": "#### 2"}')
    assert planned('{"question": "1+2?", "answer": "#### 3"}') != first
    assert planned('{"question": "1+1?", "answer": "#### 2"}') == first


def test_the_rows_that_examples_come_from_make_another_job_where_examples_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "real.yaml"
    data = tmp_path / "data" / "gsm8k"
    data.mkdir(parents=True)
    (data / "test.jsonl").write_text('{"question": "1+1?", "answer": "#### 2"}\n')

    def planned(mode: str, row: str) -> str:
        file.write_text(
            "name: real\nstages:\n  evaluate: {kind: evaluate, model: qwen2.5-7b-instruct, suite: [gsm8k], "
            f"prompting: {mode}}}\n"
        )
        (data / "train.jsonl").write_text(row + "\n")
        answer = manager(tmp_path, "plan", file, "--json", MANAGER_DATA_DIR=str(data.parent))
        return str(json.loads(answer.stdout)["jobs"][0]["id"])

    row, other = '{"question": "2+2?", "answer": "#### 4"}', '{"question": "2+3?", "answer": "#### 5"}'
    assert planned("base_fewshot", row) != planned("base_fewshot", other)
    with_system = "{mode: base_fewshot, system: Think.}"
    assert planned(with_system, row) != planned(with_system, other)
    assert planned("chat", row) == planned("chat", other)
    (data / "train.jsonl").unlink()
    file.write_text(file.read_text().replace("chat", "base_fewshot"))
    answer = manager(tmp_path, "sweep", file, MANAGER_DATA_DIR=str(data.parent))
    assert answer.returncode == 1
    [told] = [line for line in answer.stderr.splitlines() if "no train data for 1 of its benchmarks (gsm8k)" in line]
    assert "run `manager data fetch --suite gsm8k" in told


def test_the_prompts_of_a_domain_are_made_before_any_job(tmp_path: Path) -> None:
    answer = manager(tmp_path, "data", "prepare", "mini-mixed", "--json")
    assert answer.returncode == 0, answer.stderr
    made = json.loads(answer.stdout)
    assert Path(made["path"]).parent == tmp_path / "runs" / "prepared"
    assert [source["benchmark"] for source in made["data"]["sources"]] == ["mini_math", "mini_code", "mini_knowledge"]
    assert len(made["left_out"]) == 3
    assert Store.open(tmp_path / "runs").sweep_names() == []  # a sweep may go there
    told = manager(tmp_path, "data", "prepare", "mini-mixed").stdout
    assert f"mini-mixed: {made['rows']:,} prompts in {made['path']}\ndigest {made['digest']}\n" in told
    assert told.count("left out") == 3
    elsewhere = manager(tmp_path, "data", "prepare", "mini-mixed", "--json", MANAGER_PREPARED_DATA=str(tmp_path / "p"))
    assert json.loads(elsewhere.stdout)["digest"] == made["digest"]
    assert Path(json.loads(elsewhere.stdout)["path"]).parent == tmp_path / "p"
    for domain, message in (("mini-maths", "did you mean mini-math"), ("math", "manager data fetch")):
        wrong = manager(tmp_path, "data", "prepare", domain, MANAGER_DATA_DIR=str(tmp_path))
        assert (wrong.returncode, len(wrong.stderr.strip().splitlines())) == (1, 1)
        assert message in wrong.stderr


def test_prompts_that_are_made_for_a_model_are_those_that_its_trainings_read(tmp_path: Path) -> None:
    from trainers.prepare import prepare
    from trainers.prompt_limit import prompt_limit
    from trainers.scratch import make_tokenizer
    from trainers.training import load_tokenizer

    for name in ("base", "trained"):  # the same tokenizer in another folder, as after a stage
        make_tokenizer(512).save_pretrained(tmp_path / name)
    answer = manager(tmp_path, "data", "prepare", "mini-math", "--json", "--model", tmp_path / "base")
    assert answer.returncode == 0, answer.stderr
    made = json.loads(answer.stdout)
    limit = prompt_limit(load_tokenizer(str(tmp_path / "trained"), None), 1024)
    found = prepare(made["data"], Path(made["path"]).parent, None, limit)
    assert str(found.path) == made["path"]
    wrong = manager(tmp_path, "data", "prepare", "mini-math", "--model", "qwen2.5-1.5b-instruc")
    assert (wrong.returncode, len(wrong.stderr.strip().splitlines())) == (1, 1)
    assert "did you mean qwen2.5-1.5b-instruct" in wrong.stderr


def test_other_training_rows_in_the_data_folder_make_another_job(tmp_path: Path) -> None:
    file = tmp_path / "real.yaml"
    file.write_text(
        "name: real\nstages:\n  train: {kind: rl, model: qwen2.5-7b-instruct, data: math}\n"
        "  mini: {kind: rl, model: qwen2.5-7b-instruct, data: mini-math}\n",
        encoding="utf-8",
    )
    data = tmp_path / "data" / "eurus2"
    data.mkdir(parents=True)

    def planned(row: str | None) -> dict[str, str]:
        if row is not None:
            (data / "train.jsonl").write_text(row + "\n", encoding="utf-8")
        answer = manager(tmp_path, "plan", file, "--json", MANAGER_DATA_DIR=str(data.parent))
        return {job["stage"]: job["id"] for job in json.loads(answer.stdout)["jobs"]}

    absent, first, second = planned(None), planned('{"prompt": 1}'), planned('{"prompt": 2}')
    assert len({absent["train"], first["train"], second["train"]}) == 3
    assert planned('{"prompt": 1}') == first
    assert absent["mini"] == first["mini"] == second["mini"]  # computed, not read


def fail(finished: Path, cause: str) -> str:
    """Make the base of a finished sweep look failed; returns its id."""
    store = Store.open(finished)
    base = next(entry.job.id for entry in store.read_sweep("toy").jobs if entry.stage == "base")
    run = store.run(base)
    (run.path / "result.json").unlink()
    end = {"outcome": "failed", "cause": cause, "message": "told to fail", "retryable": False, "finished": 0.0}
    write_json(run.attempts()[-1].path / "end.json", end)
    return base


def test_retry_takes_the_jobs_of_one_cause_only(tmp_path: Path, finished: Path) -> None:
    base = fail(finished, "disk_full")
    other = manager(tmp_path, "retry", "toy", "--only", "cause=gpu_memory")
    assert other.stderr == "error: cause=gpu_memory: nothing here ended so; causes: disk_full\n"
    answer = manager(tmp_path, "retry", "toy", "--only", "cause=disk_full", "--only", "stage=base")
    assert answer.stdout.splitlines()[0] == f"{base} base: will run again"


@pytest.mark.parametrize(
    ("filter_", "message"),
    [
        ("domian=math", "jobs of this sweep have no domian; valid: stage, kind, seed"),
        ("stage=trian", "no job has that; stage is one of base, train"),
        ("seed", "'seed' is not KEY=VALUE"),
    ],
)
def test_a_filter_that_no_job_fits_is_a_mistake(tmp_path: Path, file: Path, filter_: str, message: str) -> None:
    store = Store.open(tmp_path / "runs", create=True)
    sweep = load(file, ())
    for entry in sweep.jobs:
        store.add_job(entry.job)
    store.write_sweep(sweep)
    answer = manager(tmp_path, "cancel", "toy", filter_)
    assert answer.returncode == 1
    assert message in answer.stderr


def test_a_sweep_in_which_nothing_may_start_says_what_would_help(tmp_path: Path, file: Path, finished: Path) -> None:
    base = fail(finished, "read_only")
    store = Store.open(finished)
    answer = manager(tmp_path, "sweep", file)
    assert answer.returncode == 1
    assert f"nothing was started; `manager logs {base}` shows why; `manager retry toy --failed`" in answer.stdout
    assert len(store.run(base).attempts()) == 1
    assert manager(tmp_path, "retry", base).returncode == 0
    assert manager(tmp_path, "cancel", base).returncode == 0
    answer = manager(tmp_path, "sweep", file)
    assert "nothing was started; cancelled jobs stay as they are until `manager retry toy`" in answer.stdout


@pytest.mark.usefixtures("finished")
def test_what_is_done_cannot_be_cancelled(tmp_path: Path) -> None:
    answer = manager(tmp_path, "cancel", "toy")
    assert answer.stderr == "error: toy: nothing to cancel; every job of it is done or was cancelled before\n"


@pytest.mark.usefixtures("finished")
def test_clean_keeps_results_until_asked_and_then_what_the_sweep_was(tmp_path: Path, file: Path) -> None:
    assert "nothing to delete" in manager(tmp_path, "clean", "toy", "--yes").stdout
    listed = manager(tmp_path, "clean", "toy", "--results")
    assert "nothing was deleted, `--yes` deletes the list above" in listed.stderr
    assert json.loads(manager(tmp_path, "status", "toy", "--json").stdout)["complete"]
    assert manager(tmp_path, "clean", "toy", "--results", "--yes").returncode == 0
    status = json.loads(manager(tmp_path, "status", "toy", "--json").stdout)
    assert status["counts"] == {"ready": 1, "waiting": 2}
    assert "nothing to delete" in manager(tmp_path, "clean", "toy", "--results").stdout
    planned = json.loads(manager(tmp_path, "plan", file, "--json").stdout)["jobs"]
    assert [job["action"] for job in planned] == ["submit"] * 3


def test_a_budget_that_does_not_pay_for_a_sweep_starts_nothing(tmp_path: Path, file: Path) -> None:
    planned = manager(tmp_path, "plan", file, "stages.train.resources.gpus_per_node=1",
                      "stages.train.resources.time_min=60", "--budget", "1.5")  # fmt: skip
    assert "at most 2.0 GPU-hours" in planned.stdout
    assert "budget: 0.0 of 1.5 GPU-hours used; what is left may need 2.0, above the budget" in planned.stdout
    sweep = with_budget(
        load(file, ["stages.train.resources.gpus_per_node=1", "stages.train.resources.time_min=60"]), 1.5
    )
    store = Store.open(tmp_path / "runs", create=True)
    with pytest.raises(UserError, match=r"what is left may need 2\.0, above the budget; nothing was started"):
        refuse_above_budget(store, sweep, sweep.jobs)
    refuse_above_budget(store, with_budget(sweep, 2.0), sweep.jobs)


def test_a_plan_tells_machines_of_memory_and_disk(tmp_path: Path, file: Path) -> None:
    value = json.loads(manager(tmp_path, "plan", file, "--json").stdout)
    assert value["disk"]["weights_gb"] > 0
    assert {row["stage"] for row in value["memory"]} == {"base", "train"}
    assert value["memory"][0]["fits"] is None  # on the CPU


def test_a_store_of_a_newer_layout_is_left_alone(tmp_path: Path, file: Path) -> None:
    Store.open(tmp_path / "runs", create=True)
    write_json(tmp_path / "runs" / "store.json", {"layout": 99})
    for arguments in (["sweep", file], ["status"], ["clean"]):
        answer = manager(tmp_path, *arguments)
        assert answer.returncode == 1
        assert "store layout 99, this manager knows 1; use the version of the manager that wrote it" in answer.stderr
        assert len(answer.stderr.splitlines()) == 1
    assert not any((tmp_path / "runs" / "jobs").iterdir())


def test_status_tells_why_a_job_vanished_and_that_it_will_go_on(tmp_path: Path, finished: Path) -> None:
    store = Store.open(finished)
    train = next(entry.job.id for entry in store.read_sweep("toy").jobs if entry.stage == "train")
    (store.run(train).path / "result.json").unlink()
    (store.run(train).attempts()[-1].path / "end.json").unlink()
    problems = json.loads(manager(tmp_path, "status", "toy", "--json").stdout)["problems"]
    assert [(row["id"], row["state"], row["cause"]) for row in problems] == [(train, "interrupted", "vanished")]
    shown = manager(tmp_path, "status", "toy").stdout
    assert "vanished (1 attempt): it vanished without a word" in shown
    assert "run `manager sweep` with the same file to go on" in shown


def test_the_shell_completes_commands_and_the_sweeps_of_the_store(tmp_path: Path, finished: Path) -> None:
    def completed(words: str) -> list[str]:
        environment = {"_MANAGER_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "2"}
        answer = subprocess.run(
            [sys.executable, "-c", "from manager.cli.app import app; app(prog_name='manager')"],
            cwd=ROOT, env={**os.environ, **environment, "MANAGER_STORE": str(finished)},
            capture_output=True, text=True, timeout=300, check=True,
        )  # fmt: skip
        return answer.stdout.split()

    assert completed("manager status t") == ["toy"]
    assert completed("manager status x") == []
    assert "--watch" in completed("manager status --")
