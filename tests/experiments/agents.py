"""A sweep of the agents study with planted success rates, written through the store as a real one would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from manager.atomic import JsonlWriter
from manager.job import Job, Kind, Sweep, SweepJob
from manager.store import Store

# Success in percent as published (arXiv 2601.18217), in the environments' order; None is a dash. What the source was
# trained in is published as a gain over the starting checkpoint.
ENVIRONMENTS = ("alfworld", "webshop", "sokoban", "scienceworld")
PUBLISHED: Mapping[str, Mapping[str, Sequence[float | None]]] = {
    "v1": {
        "": (25.8, 34.4, 12.5, 3.1), "alfworld": (25.8 + 47.2, 15.2, 14.0, None),
        "webshop": (10.8, 34.4 + 23.6, 12.8, None), "sokoban": (20.5, 15.0, 12.5 + 36.0, None),
    },
    "v2": {
        "": (21.9, 38.3, 14.1, 18.0), "alfworld": (21.9 + 60.6, 30.5, 9.8, 10.0),
        "webshop": (17.0, 38.3 + 28.7, 9.0, 13.8), "sokoban": (20.0, 34.0, 14.1 + 35.7, 13.0),
        "scienceworld": (19.8, 35.8, 12.0, 18.0 + 20.2),
    },
}  # fmt: skip
# Mean characters of a state and mean steps of an episode, as published.
AXES = {"scienceworld": (2851, 43.5), "sokoban": (3114, 44.0), "webshop": (3063, 33.9), "alfworld": (1572, 42.0)}


@dataclass(frozen=True)
class Agent:
    """The settings of one training, and its planted success rates in percent by environment."""

    source: str
    rates: Mapping[str, float]
    start: str = "v2"
    thinking: bool = True
    augment: Mapping[str, float] | None = None
    steps: int = 150


@dataclass
class Study:
    """Writes jobs and outcomes. With so many tasks that a planted rate comes out exactly, up to 0.1 points."""

    root: Path
    tasks: int = 1000
    seeds: Sequence[int] = (0, 1, 2)
    checkpoints: Sequence[int] = (105, 120, 135, 150)
    spread: float = 0.0  # of the rates of single runs, in points
    environments: Sequence[str] = ENVIRONMENTS
    entries: list[SweepJob] = field(default_factory=list)
    starts: dict[str, Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = Store.open(self.root, create=True)
        self.rng = np.random.default_rng(0)

    def add(self, stage: str, job: Job, labels: Mapping[str, object], result: Mapping[str, object]) -> None:
        run = self.store.add_job(job)
        self.entries.append(SweepJob(stage, labels, job))
        run.write_result({"outcome": "done", **result})

    def start(self, name: str, rates: Mapping[str, float], mixture: Mapping[str, float] | None = None) -> None:
        """A starting checkpoint: taught on a mixture of demonstrations, or trained for a few steps in a web shop."""
        llama = {"name": "llama", "hub": "org/llama", "revision": "1"}
        if mixture is None:
            job = Job(Kind.RL, self.training(llama, Agent("webshop", {}, steps=20), 7))
        else:
            plans = [Job(Kind.COLLECT, {"benchmarks": [self.row(e)], "policy": "oracle"}) for e in mixture]
            for plan in plans:
                self.add("plans", plan, {}, {})
            ratios = [{"need": i, "ratio": ratio} for i, ratio in enumerate(mixture.values())]
            data = {"name": "trajectories", "domain": "trajectories", "trajectories": ratios}
            job = Job(Kind.SFT, {"model": llama, "data": data, "sft": {}, "seed": 0}, tuple(p.id for p in plans))
        self.add("start", job, {"start": name}, {"last_step": 20 if mixture is None else 100})
        self.starts[name] = job
        self.evaluate("baseline", job, "last", rates, {"start": name})

    def row(self, environment: str) -> dict[str, object]:
        sampler = {"samples": 1, "temperature": 0.4, "top_p": 1.0, "max_tokens": 512, "stop": []}
        data = {"environment": environment, "options": {}, "split": "test", "first_task": 0}
        return {"name": environment, "version": 1, "domain": environment, "subdomain": None, "data": data,
                "sampler": sampler, "limit": self.tasks}  # fmt: skip

    def training(self, model: Mapping[str, object], agent: Agent, seed: int) -> dict[str, object]:
        return {
            "model": dict(model), "seed": seed, "trainer": "grpo",
            "grpo": {"loss_type": "grpo", "max_steps": agent.steps},
            "data": {"name": agent.source, "domain": agent.source, "seed": 0, "environments": [self.row(agent.source)]},
            "agent": {"history": 2, "thinking": agent.thinking, "augment": agent.augment},
            "reward": {"name": "episode", "success": 10, "failure": 0, "invalid": -0.1},
        }  # fmt: skip

    def train(self, agent: Agent) -> None:
        """Every seed of one configuration, and the evaluations of its checkpoints."""
        start = self.starts[agent.start]
        checkpoint = 20 if start.kind is Kind.RL else 100
        for seed in self.seeds:
            job = Job(Kind.RL, self.training({"need": 0, "checkpoint": checkpoint}, agent, seed), (start.id,))
            self.add("train", job, {"source": agent.source, "seed": seed}, {"last_step": agent.steps})
            shift = {e: self.rng.normal(0, self.spread) for e in self.environments} if self.spread else {}
            for step in self.checkpoints:
                rates = {e: rate + shift.get(e, 0.0) for e, rate in agent.rates.items()}
                labels = {"source": agent.source, "seed": seed, "checkpoint": step}
                self.evaluate("evaluate", job, step, rates, labels, thinking=agent.thinking)

    def evaluate(
        self, stage: str, model: Job, checkpoint: object, rates: Mapping[str, float], labels: Mapping[str, object],
        *, thinking: bool = True,
    ) -> None:  # fmt: skip
        config = {
            "model": {"need": 0, "checkpoint": checkpoint}, "benchmarks": [self.row(e) for e in rates], "seed": 0,
            "engine": {"name": "vllm"}, "prompting": "chat",
            "agent": {"history": 2, "thinking": thinking, "augment": None},
        }  # fmt: skip
        job = Job(Kind.EVALUATE, config, (model.id,))
        self.add(stage, job, labels, {"benchmarks": {}})
        for environment, rate in rates.items():
            self._outcomes(job, environment, rate)

    def _outcomes(self, job: Job, environment: str, rate: float) -> None:
        """So many tasks succeed as the rate says, not the same ones every time."""
        right = set(self.rng.permutation(self.tasks)[: round(self.tasks * min(max(rate, 0), 100) / 100)].tolist())
        writer = JsonlWriter(self.store.run(job.id).outcomes / f"{environment}.jsonl")
        for task in range(self.tasks):
            done = task in right
            writer.write({"item": f"{task}", "sample": 0, "value": float(done), "outcome": "right" if done else "wrong",
                          "ended": "stop", "completion_tokens": 40})  # fmt: skip
        writer.close()

    def probe(self, start: str, axes: Mapping[str, tuple[float, float]] = AXES) -> None:
        config = {"model": {"need": 0, "checkpoint": "last"}, "benchmarks": [self.row(e) for e in axes], "seed": 0}
        found = {
            name: {
                "episodes": 128, "failed": 0, "states": 128 * int(length), "cap": 50,
                "chars_mean": float(chars), "chars_low": 0.97 * chars, "chars_high": 1.03 * chars,
                "length_mean": length, "length_low": length - 2, "length_high": min(50.0, length + 2),
                "reach_mean": 1 - length / 50, "reach_low": 0.0, "reach_high": 1 - length / 60,
            }
            for name, (chars, length) in axes.items()
        }  # fmt: skip
        self.add("probe", Job(Kind.PROBE, config, (self.starts[start].id,)), {}, {"environments": found})

    def finish(self, name: str = "agents", settings: Mapping[str, object] | None = None) -> Store:
        reported = tuple(e.job.id for e in self.entries if e.job.kind in (Kind.EVALUATE, Kind.PROBE))
        config = {"study": "agentic", "settings": {"replicates": 300, "mixed_effects": False, **(settings or {})},
                  "inputs": [{"stage": "all", "needs": list(range(len(reported)))}]}  # fmt: skip
        job = Job(Kind.REPORT, config, reported)
        self.store.add_job(job)
        self.entries.append(SweepJob("report", {}, job))
        self.store.write_sweep(Sweep(name, "agentic", tuple(self.entries), {}, ""))
        return self.store


def rates(row: Sequence[float | None]) -> dict[str, float]:
    return {name: rate for name, rate in zip(ENVIRONMENTS, row, strict=True) if rate is not None}


MIXTURE = {"scienceworld": 19, "alfworld": 3, "webshop": 1}


def published(root: Path, **options: object) -> Study:
    """Both starting checkpoints and the seven plain trainings, with the published success rates."""
    study = Study(root, **options)  # type: ignore[arg-type]
    for start, table in PUBLISHED.items():
        study.start(start, rates(table[""]), MIXTURE if start == "v2" else None)
        for source, row in table.items():
            if source:
                study.train(Agent(source, rates(row), start))
    return study
