"""The environment of a job: what is set before torch is imported, and what is recorded of the machine."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from manager import __version__
from manager.atomic import read_json, write_json
from manager.job import Job
from manager.liveness import machine


def gpus() -> list[str]:
    """The names of the NVIDIA GPUs that this process can see; empty without a driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    answer = subprocess.run(
        [program, "--query-gpu=name,uuid,driver_version", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return answer.stdout.strip().splitlines() if answer.returncode == 0 else []


def cuda_of_driver() -> str | None:
    """The newest CUDA that the driver here knows; the libraries that are used are among the packages."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    answer = subprocess.run([program], capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"CUDA Version:\s*([\d.]+)", answer.stdout)
    return found.group(1) if found else None


def job_environment(job: Job, outside: Mapping[str, str]) -> dict[str, str]:
    """Variables that a job needs and that nobody has set yet."""
    values = {
        # Compute nodes have no network; what is not on disk must fail at once and not after retries.
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # More threads than cores make small models several times slower.
        "OMP_NUM_THREADS": str(job.resources.cpus_per_task or 1),
    }
    if job.resources.gpus_per_node == 0:
        values |= {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    return {name: value for name, value in values.items() if name not in outside}


def code_version() -> str:
    """The commit that runs (marked when files differ from it), or the package's version."""
    root = Path(__file__).resolve().parents[1]
    frozen = read_json(root / "code.json")
    if frozen and frozen.get("commit"):  # a snapshot that jobs of a cluster run from
        changed = "-dirty" if frozen["changed"] or frozen["new"] else ""
        return f"{frozen['commit'][:12]}{changed}"
    if not (root / ".git").exists():
        return __version__
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except FileNotFoundError:
        return __version__
    return answer.stdout.strip() or __version__


def describe() -> dict[str, Any]:
    packages = {dist.metadata["Name"]: dist.version for dist in metadata.distributions()}
    return {
        "code": code_version(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)),
        "gpus": gpus(),
        "cuda": cuda_of_driver(),
        **machine(),
        "packages": dict(sorted(packages.items())),
        "variables": {
            name: os.environ[name]
            for name in (
                "OMP_NUM_THREADS",
                "CUDA_VISIBLE_DEVICES",
                "DS_ACCELERATOR",
                "WORLD_SIZE",
                "SLURM_JOB_NODELIST",
            )
            if name in os.environ
        },
    }


def record_environment(path: Path) -> None:
    write_json(path, describe())
