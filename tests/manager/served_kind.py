"""A kind for tests: a training whose completions come from a server in the same job."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from manager.run import Run
from trainers import server


def main(run: Run) -> Mapping[str, Any]:
    url = server.address(run)["vllm_server_base_url"]
    with urllib.request.urlopen(f"{url}/health", timeout=30) as answer:
        node = answer.read().decode()
    with urllib.request.urlopen(f"{url}/model", timeout=30) as answer:
        (run.attempt_dir / f"model-{run.rank}").write_bytes(answer.read())
    seen = {name: os.environ[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")}
    (run.attempt_dir / f"seen-{run.rank}").write_text(f"{node} {seen} {os.environ.get('SLURMD_NODENAME')}")
    if run.rank == 0:
        _wait_for_others(run)
        if run.config["toy"].get("dies") and run.attempt_dir.name == "0001":
            try:
                urllib.request.urlopen(f"{url}/die", timeout=30)
            except (urllib.error.URLError, OSError):
                time.sleep(100)  # as a client that tries again
    run.progress(1, 1)
    return {"last_step": 1, "world": run.world_size}


def _wait_for_others(run: Run) -> None:
    while len(list(run.attempt_dir.glob("seen-*"))) < run.world_size:
        time.sleep(0.05)
