"""Starting trainings as processes: a job's directory, its ranks, and reading back what they logged."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manager.job import Job, Kind, Resources
from manager.store import RunDirectory, Store

DEADLINE_S = 900.0
TINY = {"architecture": "qwen2", "hidden_size": 32, "layers": 1, "heads": 2, "context": 512}
# Four letters to choose from: even a model that knows nothing is rewarded now and then.
KNOWLEDGE = {"benchmark": "mini_knowledge", "split": "train", "weight": 1}


def sft_config(**changes: Any) -> dict[str, Any]:
    return {
        "model": {"name": "tiny", "scratch": TINY},
        "data": {"name": "knowledge", "seed": 0, "size": 512, "wrong_share": 0.5, "sources": [KNOWLEDGE]},
        "seed": 0,
        "batch": {"examples": 32},
        "sft": {"max_steps": 60, "learning_rate": 3e-3, "save_steps": 20},
        **changes,
    }


def rl_config(model: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "model": model,
        "data": {"name": "knowledge", "domain": "knowledge", "seed": 0, "size": 64, "sources": [KNOWLEDGE]},
        "seed": 0,
        "trainer": "grpo",
        "batch": {"prompts": 4, "samples": 4, "mini_batch": 2},
        "grpo": {"max_steps": 8, "learning_rate": 1e-3, "max_completion_length": 4, "save_steps": 2},
        "export_steps": [4],
        **changes,
    }


@dataclass
class Attempt:
    """The processes of one execution of a job."""

    directory: RunDirectory
    name: str
    ranks: list[subprocess.Popen[bytes]]

    @property
    def folder(self) -> Path:
        return self.directory.path / "attempts" / self.name

    def wait(self) -> dict[str, Any]:
        """Rank 0's word when all ranks have ended."""
        for rank in self.ranks:
            rank.wait(timeout=DEADLINE_S)
        return self.out()

    def out(self, rank: int = 0) -> dict[str, Any]:
        path = self.folder / f"out-{rank}.json"
        assert path.is_file(), (self.folder / f"log-{rank}.txt").read_text()[-3000:]
        return json.loads(path.read_text())

    def records(self) -> list[dict[str, Any]]:
        path = self.folder / "journal.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
        return [json.loads(line) for line in lines]

    def metrics(self) -> dict[int, dict[str, float]]:
        """All values of each step, whichever records they came in."""
        found: dict[int, dict[str, float]] = {}
        for record in self.records():
            if record["type"] == "metrics":
                found.setdefault(record["step"], {}).update(record["values"])
        return found

    def curve(self, name: str) -> dict[int, float]:
        return {step: values[name] for step, values in self.metrics().items() if name in values}

    def events(self) -> dict[str, dict[str, Any]]:
        return {record["name"]: record for record in self.records() if record["type"] == "event"}

    def wait_until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not true():
            assert all(rank.poll() is None for rank in self.ranks), (self.folder / "log-0.txt").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.01)


def add(root: Path, kind: str, config: dict[str, Any], needs: tuple[str, ...] = (), **resources: Any) -> RunDirectory:
    return Store.open(root, create=True).add_job(Job(Kind(kind), config, needs, Resources(**resources)))


def free_port() -> int:
    """A free port below those that the system gives to connections: the ranks open it only when torch is imported."""
    while True:
        # Not the module's numbers: tests that run side by side are seeded alike and would all draw the same.
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def start(
    directory: RunDirectory,
    name: str = "0001",
    world_size: int = 1,
    *,
    logits: bool = False,
    gpu: bool = False,
    module: str = "tests.trainers.process",
) -> Attempt:
    """Start every rank of the job, as the worker would; with `logits`, rank 0 keeps the trainer's at the end."""
    folder = directory.path / "attempts" / name
    folder.mkdir(parents=True)
    shared = {
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        **({} if gpu else {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}),
    }
    root = Path(__file__).parents[2]
    if logits:
        shared["TEST_LOGITS"] = "1"
    ranks = []
    for rank in range(world_size):
        environment = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": str(root)}
        command = [sys.executable, "-m", module, str(directory.path.parents[1]), directory.id, name]
        with open(folder / f"log-{rank}.txt", "wb") as log:
            ranks.append(subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=subprocess.STDOUT))
    return Attempt(directory, name, ranks)
