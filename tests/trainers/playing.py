"""Jobs of agents for tests: plans of a small Sokoban, a tiny model that has seen them, and its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evaluators import collect
from evaluators.environments import facts
from manager.job import Job, Kind
from manager.run import Run
from manager.store import RunDirectory, Store
from tests.trainers import running

SMALL = {"height": 4, "width": 5, "min_moves": 1, "view": "short", "cap": 6}
AGENT = {"history": 0, "thinking": False, "augment": None, "rules": False}
MODEL = {"architecture": "qwen2", "hidden_size": 32, "layers": 1, "heads": 2, "context": 192}


def environment(name: str = "sokoban", kind: str = "sokoban", split: str = "train", **options: Any) -> dict[str, Any]:
    """A row of the config, as a sweep resolves it."""
    known = facts(kind)
    data = {"environment": kind, "options": {**known.options, **options}, "split": split, "first_task": 0}
    return {"name": name, "version": known.version, "domain": name, "subdomain": None, "data": data}


def collected(root: Path, episodes: int = 100, **options: Any) -> RunDirectory:
    """A finished `collect` job: the plans of the environment."""
    sampler = {"samples": 1, "temperature": 1.0, "top_p": 1.0, "max_tokens": 32, "stop": []}
    row = {**environment(**options), "sampler": sampler, "limit": episodes}
    config = {"policy": "oracle", "keep": "success", "benchmarks": [row], "agent": AGENT, "seed": 0}
    directory = running.add(root, "collect", config)
    attempt = directory.path / "attempts" / "0001"
    attempt.mkdir(parents=True)
    run = Run(directory, directory.job(), attempt)
    directory.write_result({"outcome": "done", **collect.main(run)})
    run.close()
    return directory


def warmup(root: Path, plans: RunDirectory, **changes: Any) -> RunDirectory:
    """A finished `sft` job on those plans."""
    data = {"name": "trajectories", "domain": "trajectories", "seed": 0, "size": None}
    config = {
        "model": {"name": "tiny", "scratch": MODEL},
        "data": {**data, "trajectories": [{"need": 0, "ratio": 1.0}]},
        "seed": 0,
        "batch": {"examples": 32},
        "sft": {"max_steps": 60, "learning_rate": 5e-3, "max_length": 192},
        **changes,
    }
    directory = Store.open(root, create=True).add_job(Job(Kind.SFT, config, (plans.id,)))
    assert running.start(directory).wait()["outcome"] == "done"
    return directory


def rl_config(model: dict[str, Any], *rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    rows = rows or (environment(**SMALL),)
    names = [row["name"] for row in rows]
    return {
        "model": model,
        "data": {
            "name": "+".join(names),
            "domain": names[0] if len(names) == 1 else names,
            "seed": 0,
            "environments": list(rows),
        },
        "agent": AGENT,
        "reward": {"name": "episode", "success": 10, "failure": 0, "invalid": -0.1},
        "seed": 0,
        "trainer": "grpo",
        "batch": {"prompts": 2, "samples": 4, "mini_batch": 2},
        "grpo": {"max_steps": 6, "learning_rate": 1e-3, "max_completion_length": 24, "save_steps": 2, "beta": 0.01},
        "export_steps": 3,
        **changes,
    }
