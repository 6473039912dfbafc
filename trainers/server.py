"""The vLLM server of a training: its command line, and how the trainer finds it. Light; starts nothing.

The tasks that run it are manager/server_rank.py's.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from manager import ports
from manager.atomic import read_json
from manager.model_folder import architecture, files_of
from manager.run import Failed, Run, Stopped
from trainers import context

PROGRAM_VARIABLE = "MANAGER_VLLM_SERVER"  # another program in its place: vLLM of another environment, a stand-in
WAIT_S = 1900.0  # a little longer than the server may take to start
POLL_S = 0.5


def command(run: Run, port: int) -> list[str]:
    """The argv of the server for this job, as TRL's client needs it."""
    path, revision = run.model_path()
    program = shlex.split(os.environ.get(PROGRAM_VARIABLE) or "vllm serve")
    generation = run.config.get("generation") or {}
    settings = {key.removeprefix("vllm_"): value for key, value in generation.items()}
    argv = [*program, path, "--host", "0.0.0.0", "--port", str(port)]
    if revision:
        argv += ["--revision", revision]
    tensor = int(settings.get("tensor_parallel_size") or 1)
    replicas = max(1, run.job.resources.server_gpus // tensor)
    argv += ["--tensor-parallel-size", str(tensor), "--data-parallel-size", str(replicas)]
    if settings.get("gpu_memory_utilization") is not None:
        argv += ["--gpu-memory-utilization", str(settings["gpu_memory_utilization"])]
    argv += ["--max-model-len", str(settings.get("max_model_length") or _length(run, path, revision))]
    argv += ["--weight-transfer-config", json.dumps({"backend": "nccl"})]
    return [*argv, "--logprobs-mode", "processed_logprobs", "--max-logprobs", "-1"]


def _length(run: Run, path: str, revision: str | None) -> int:
    """Tokens of a prompt and its answer, as far as the model's context goes."""
    wanted = context.prompt_tokens(run.config.get("data") or {}) + context.answer_tokens(run.config)
    folder = files_of(path, revision)
    told = architecture(folder) if folder else None
    return min(wanted, context.tokens(told or {}) or wanted)


def address(run: Run) -> dict[str, Any]:
    """TRL's arguments for the server of this job, once it answers; nothing where the job has none."""
    generation: Mapping[str, Any] = run.config.get("generation") or {}
    if generation.get("mode") != "server" or not run.job.resources.server_gpus:
        return {}
    deadline = time.monotonic() + WAIT_S
    while (told := read_json(run.attempt_dir / "server.json")) is None:
        if run.stop_requested:
            raise Stopped(f"{run.stop_reason} before the generation server answered")
        if any(run.attempt_dir.glob("rank-*.failed.json")) or time.monotonic() > deadline:
            raise Failed(
                f"the generation server did not start; see {run.attempt_dir / 'server.log'}",
                cause="generation_server", retryable=True,
            )  # fmt: skip
        time.sleep(POLL_S)
    _ask_directly(str(urlsplit(told["url"]).hostname))
    # Weights meet where rank 0 of the training is, not where the server is: the port is one of this host.
    return {"vllm_server_base_url": told["url"], "vllm_group_port": ports.kept()}


def _ask_directly(host: str) -> None:
    """Sites set a proxy for the way out; the nodes of a job are not out there."""
    for name in ("no_proxy", "NO_PROXY"):
        listed = os.environ.get(name, "")
        if host not in listed.split(","):
            os.environ[name] = f"{listed},{host}".lstrip(",")
