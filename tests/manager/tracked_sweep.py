"""A small study made through the store's and the run's own calls: what jobs would have written."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manager.atomic import write_json
from manager.claim import Claimed, claim
from manager.job import Job, Kind, Sweep, SweepJob
from manager.run import Run
from manager.store import RunDirectory, Store

BASE = {"name": "tiny-base", "hub": "example/tiny", "revision": "1"}
BENCHMARKS = [
    {"name": "mini_math", "version": 1, "domain": "math"},
    {"name": "mini_code", "version": 1, "domain": "code"},
]
DOMAINS = ("math", "code")


@dataclass(frozen=True)
class Study:
    store: Store
    sweep: Sweep

    def entry(self, stage: str, **labels: Any) -> SweepJob:
        """The first job of the stage with these labels."""
        return next(
            e for e in self.sweep.jobs if e.stage == stage and all(e.labels.get(k) == v for k, v in labels.items())
        )

    def run_dir(self, stage: str, **labels: Any) -> RunDirectory:
        return self.store.run(self.entry(stage, **labels).job.id)


def make_study(
    root: Path,
    *,
    name: str = "study",
    domains: tuple[str, ...] = DOMAINS,
    settings: Mapping[str, Any] | None = None,
) -> Study:
    """Baseline, training on each domain, evaluation of its checkpoint, report: as one sweep."""
    baseline = Job(Kind.EVALUATE, {"model": BASE, "benchmarks": BENCHMARKS, "engine": {"name": "none"}, "seed": 0})
    jobs = [SweepJob("baseline", {"base": "tiny-base"}, baseline)]
    evaluations = []
    for domain in domains:
        labels = {"base": "tiny-base", "domain": domain, "seed": 0}
        config = {
            "model": BASE,
            "data": {
                "name": domain,
                "domain": domain,
                "sources": [{"benchmark": f"mini_{domain}", "split": "train"}],
            },
            "seed": 0,
            "trainer": "grpo",
            "batch": {"prompts": 8, "samples": 8},
            "grpo": {"learning_rate": 1e-4, "loss_type": "dapo"},
        }
        train = Job(Kind.RL, config)
        model = {"need": 0, "checkpoint": 100}
        evaluation = Job(Kind.EVALUATE, {**baseline.config, "model": model}, needs=(train.id,))
        jobs.append(SweepJob("train", labels, train))
        evaluations.append(SweepJob("evaluate", labels, evaluation))
    needs = (baseline.id, *(e.job.id for e in evaluations))
    report = Job(Kind.REPORT, {"study": "interventional", "settings": {}, "inputs": []}, needs=needs)
    jobs += [*evaluations, SweepJob("report", {}, report)]
    store = Store.open(root, create=True)
    sweep = Sweep(name, "interventional", tuple(jobs), dict(settings or {}), "name: study\n")
    for entry in sweep.jobs:
        store.add_job(entry.job)
    store.write_sweep(sweep)
    return Study(store, sweep)


def begin(directory: RunDirectory, *, pid: int | None = None) -> Run:
    """One more attempt at a job, by this process, or by the process `pid`."""
    claimed = claim(directory, {"token": "t", "scheduler": {"name": "slurm", "job_id": "4711"}, "world_size": 1})
    assert isinstance(claimed, Claimed), claimed
    write_json(claimed.path / "environment.json", {"code": "abc1234"})
    if pid is not None:
        from manager.liveness import identify

        record = {"number": claimed.number, "started": time.time(), **identify(pid)}
        write_json(claimed.path / "attempt.json", record)
    return Run(directory, directory.job(), claimed.path)


def end(run: Run, outcome: str = "done", **details: Any) -> None:
    """What the worker writes when an attempt is over."""
    run.close()
    finished = time.time()
    if outcome == "done":
        number = int(run.attempt_dir.name)
        run.directory.write_result({"outcome": "done", "attempt": number, "finished": finished, **details})
    write_json(run.attempt_dir / "end.json", {"outcome": outcome, "finished": finished, **details})


def vanish(run: Run) -> None:
    """What is left of an attempt that was killed: its process is gone, and it said nothing."""
    run.close()
    path = run.attempt_dir / "attempt.json"
    record = dict(run.directory.attempts()[-1].record)
    write_json(path, {**record, "pid": 2**22 + os.getpid(), "pid_started": 1})


def train(run: Run, first: int, last: int, *, offset: float = 0.0, metrics: int = 3) -> None:
    """Training's journal for some steps, both ends included."""
    for step in range(first, last + 1):
        run.log({f"train/metric_{n}": step + n / 10 + offset for n in range(metrics)}, step)


def evaluate(run: Run, step: int, values: Mapping[str, float | None]) -> dict[str, Any]:
    """An evaluation's journal; returns its summary."""
    for name, value in values.items():
        if value is not None:
            run.log({f"{name}/pass@1": value}, step)
    domains = {spec["name"]: spec["domain"] for spec in BENCHMARKS}
    return {
        "model_step": step,
        "benchmarks": {
            name: {"domain": domains[name], "items": 10, "samples": 10, "pass_at_1": value, "outcomes": {}}
            for name, value in values.items()
        },
    }


def finish_study(study: Study, *, steps: int = 100, metrics: int = 3) -> None:
    """Every job done, with a report."""
    run = begin(study.run_dir("baseline"))
    end(run, **evaluate(run, 0, {"mini_math": 0.2, "mini_code": 0.1}))
    for entry in study.sweep.jobs:
        if entry.stage == "train":
            run = begin(study.store.run(entry.job.id))
            train(run, 1, steps, metrics=metrics)
            end(run, last_step=steps, models=[steps], metrics={})
    for entry in study.sweep.jobs:
        if entry.stage == "evaluate":
            run = begin(study.store.run(entry.job.id))
            own = (
                {"mini_math": 0.6, "mini_code": 0.1}
                if entry.labels["domain"] == "math"
                else {"mini_math": 0.25, "mini_code": 0.5}
            )
            end(run, **evaluate(run, 100, own))
    run = begin(study.run_dir("report"))
    folder = run.path / "report"
    folder.mkdir()
    (folder / "report.html").write_text("<h1>Transfer report</h1><p>math helps code</p>")
    (folder / "figure.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    run.log_artifact(folder / "report.html", "report")
    end(run, report="report/report.html", findings=["math helps code"])
