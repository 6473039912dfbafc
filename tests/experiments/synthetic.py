"""A sweep with planted effects, written through the store as a real one would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from manager.atomic import JsonlWriter, write_json
from manager.job import Job, Kind, Sweep, SweepJob
from manager.store import Store

DOMAINS = {"math": ("mini_math",), "code": ("mini_code",), "knowledge": ("mini_knowledge",)}


@dataclass(frozen=True)
class Plan:
    """What to plant. Effects are on the logit scale, at the last step; earlier steps get their share."""

    domains: Mapping[str, Sequence[str]] = field(default_factory=lambda: dict(DOMAINS))
    train: Sequence[str] = ("math", "code", "knowledge")
    seeds: Sequence[int] = (0, 1)
    algorithms: Sequence[str] = ("grpo",)
    steps: Sequence[int] = (100,)
    items: int = 120
    samples: int = 1
    inside: float = 1.0
    outside: float = 0.0
    seed_sd: float = 0.1
    item_sd: float = 1.5
    base_seeds: Sequence[int] = (0,)
    bases: Sequence[str] = ("tiny-base",)
    unfinished: Sequence[tuple[str, int]] = ()  # (domain, seed) whose evaluation has not run
    kl: bool = False
    texts: Sequence[str] = ()
    study: str = "interventional"
    seed: int = 0


def benchmark(name: str, domain: str, samples: int, subdomain: str | None = None) -> dict[str, object]:
    sampler = {"samples": samples, "temperature": 0.6, "top_p": 1.0, "max_tokens": 64, "stop": []}
    return {
        "name": name, "version": 1, "domain": domain, "subdomain": subdomain,
        "data": {} if name.startswith("mini_") else {"hub": f"org/{name}", "revision": "abc"},
        "sampler": sampler, "limit": None,
    }  # fmt: skip


def evaluate_job(plan: Plan, model: Mapping[str, object], needs: tuple[str, ...], seed: int = 0) -> Job:
    benchmarks = [benchmark(b, d, plan.samples) for d, names in plan.domains.items() for b in names]
    config = {"model": dict(model), "benchmarks": benchmarks, "engine": {"name": "transformers"},
              "prompting": "chat", "seed": seed}  # fmt: skip
    return Job(Kind.EVALUATE, config, needs)


def rl_job(
    plan: Plan, model: Mapping[str, object], needs: tuple[str, ...], domain: str, seed: int, algorithm: str
) -> Job:
    sources = [{"benchmark": b, "version": 1, "split": "train"} for b in plan.domains.get(domain, ())]
    config = {
        "model": dict(model), "seed": seed, "trainer": "grpo", "grpo": {"loss_type": algorithm},
        "data": {"name": domain, "domain": domain, "seed": 42, "size": 100, "sources": sources},
        "batch": {"prompts": 8, "samples": 8, "mini_batch": 8}, "export_steps": list(plan.steps),
    }  # fmt: skip
    return Job(Kind.RL, config, needs)


class Writer:
    """Writes jobs with results and outcomes drawn from a logistic model with planted effects."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.store = Store.open(root, create=True)
        self.plan = plan
        self.rng = np.random.default_rng(plan.seed)
        self.difficulty = {
            (base, b): self.rng.normal(0, plan.item_sd, plan.items)
            for base in plan.bases
            for names in plan.domains.values()
            for b in names
        }
        self.entries: list[SweepJob] = []

    def add(self, stage: str, labels: Mapping[str, object], job: Job, result: dict | None) -> None:
        run = self.store.add_job(job)
        self.entries.append(SweepJob(stage, labels, job))
        if result is not None:
            run.write_result({"outcome": "done", "attempt": 1, "finished": 0, **result})

    def outcomes(self, job: Job, base: str, effect: Mapping[str, float]) -> None:
        for entry in job.config["benchmarks"]:
            name = entry["name"]
            logits = self.difficulty[base, name] + effect.get(entry["domain"], 0.0)
            p = 1 / (1 + np.exp(-logits))
            writer = JsonlWriter(self.store.run(job.id).outcomes / f"{name}.jsonl")
            for item in range(self.plan.items):
                for sample in range(self.plan.samples):
                    writer.write(self._record(item, sample, bool(self.rng.random() < p[item])))
            writer.close()

    def _record(self, item: int, sample: int, right: bool) -> dict[str, object]:
        text = str(self.rng.choice(list(self.plan.texts))) if self.plan.texts else "answer"
        return {
            "item": f"i{item:04d}", "sample": sample, "seed": item, "value": float(right),
            "outcome": "right" if right else "wrong", "extracted": "1", "gold": "1", "why": "",
            "ended": "stop", "prompt_tokens": 10, "completion_tokens": int(self.rng.integers(3, 30)),
            "text": text,
        }  # fmt: skip

    def journal(self, job: Job, kl: Mapping[int, float]) -> None:
        run = self.store.run(job.id)
        folder = run.path / "attempts" / "0001"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "attempt.json", {"number": 1})
        writer = JsonlWriter(folder / "journal.jsonl")
        for step, value in kl.items():
            writer.write({"type": "metrics", "step": step, "values": {"kl": value, "entropy": 1.0}})
        writer.close()


def write(root: Path, plan: Plan | None = None, name: str = "synthetic") -> Store:
    """A whole interventional sweep: a warm-up, baselines, training runs, their evaluations."""
    plan = plan or Plan()
    writer = Writer(root, plan)
    for base in plan.bases:
        _write_base(writer, plan, base)
    report = Job(
        Kind.REPORT, {"study": plan.study, "settings": {"replicates": 400},
                      "inputs": [{"stage": "all", "needs": list(range(_evaluations(writer)))}]},
        tuple(e.job.id for e in writer.entries if e.job.kind == Kind.EVALUATE),
    )  # fmt: skip
    writer.add("report", {}, report, None)
    writer.store.write_sweep(Sweep(name, plan.study, tuple(writer.entries), {}, "name: synthetic\n"))
    return writer.store


def _evaluations(writer: Writer) -> int:
    return sum(e.job.kind == Kind.EVALUATE for e in writer.entries)


def _write_base(writer: Writer, plan: Plan, base: str) -> None:
    warm = Job(Kind.SFT, {"model": {"name": base, "scratch": {"hidden": 64}}, "data": {"name": "warmup"},
                          "seed": 0, "sft": {}})  # fmt: skip
    writer.add("warmup", {"base": base}, warm, {"last_step": 500, "models": [500], "metrics": {}})
    source = {"need": 0, "checkpoint": "last"}
    for seed in plan.base_seeds:
        job = evaluate_job(plan, source, (warm.id,), seed)
        writer.add("baseline", {"base": base}, job, {"benchmarks": {}})
        writer.outcomes(job, base, {})
    for algorithm in plan.algorithms:
        for domain in plan.train:
            for seed in plan.seeds:
                _write_run(writer, plan, base, warm, algorithm, domain, seed)


def _write_run(writer: Writer, plan: Plan, base: str, warm: Job, algorithm: str, domain: str, seed: int) -> None:
    labels = {"base": base, "domain": domain, "algorithm": algorithm, "seed": seed}
    rl = rl_job(plan, {"need": 0, "checkpoint": 500}, (warm.id,), domain, seed, algorithm)
    last = max(plan.steps)
    writer.add("train", labels, rl, {"last_step": last, "models": list(plan.steps), "metrics": {}})
    shift = {d: writer.rng.normal(0, plan.seed_sd) for d in plan.domains}
    kl = {}
    for step in plan.steps:
        effect = {
            d: (plan.inside if d == domain or domain == "mixed" else plan.outside) * step / last + shift[d]
            for d in plan.domains
        }
        kl[step] = 0.1 * step / last + 0.01 * abs(shift[domain])
        job = evaluate_job(plan, {"need": 0, "checkpoint": step}, (rl.id,))
        done = (domain, seed) not in plan.unfinished
        writer.add("evaluate", {**labels, "checkpoint": step}, job, {"benchmarks": {}} if done else None)
        if done:
            writer.outcomes(job, base, effect)
    if plan.kl:
        writer.journal(rl, kl)
