"""Where this process runs: its rank, its scheduler job and its logs, from submitit's environment."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Place:
    """One task of one execution. `execution` names this execution among all that the job ever has."""

    execution: str
    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    local_world_size: int = 1
    first_host: str = "127.0.0.1"
    scheduler: dict[str, Any] = field(default_factory=dict)
    logs: tuple[str, ...] = ()


def by_hand() -> Place:
    """A single process that somebody started in a shell."""
    return Place(execution=f"hand.{socket.gethostname()}.{os.getpid()}", scheduler={"name": "none"})


def here() -> Place:
    """The place of this process under submitit, local or on Slurm."""
    if "SUBMITIT_EXECUTOR" not in os.environ:
        return by_hand()
    import submitit

    environment = submitit.JobEnvironment()
    slurm = environment.cluster == "slurm"
    scheduler: dict[str, Any] = {"name": environment.cluster, "job_id": environment.job_id}
    if slurm:
        scheduler |= {
            "raw_job_id": os.environ.get("SLURM_JOB_ID", ""),
            "restart_count": int(os.environ.get("SLURM_RESTART_COUNT", "0")),
            "node": os.environ.get("SLURMD_NODENAME", ""),
            "cluster": os.environ.get("SLURM_CLUSTER_NAME", ""),
            "job_name": os.environ.get("SLURM_JOB_NAME", ""),
            "user": os.environ.get("SLURM_JOB_USER", ""),
        }
    paths = environment.paths
    nodes = environment.num_nodes
    return Place(
        execution=f"{environment.cluster}.{environment.job_id}.{scheduler.get('restart_count', 0)}",
        rank=environment.global_rank,
        local_rank=environment.local_rank,
        world_size=environment.num_tasks,
        local_world_size=environment.num_tasks // nodes,
        first_host=environment.hostnames[0] if slurm else "127.0.0.1",
        scheduler=scheduler,
        logs=(str(paths.stdout), str(paths.stderr)),
    )
