"""Chooses where a sweep runs, and asks every scheduler that holds jobs of it.

The rule: --cluster, else the sweep's `cluster:`, else Slurm if it is here, else this machine.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from manager.cluster.backend import Backend, SchedulerView
from manager.cluster.local import LocalBackend
from manager.environment import gpus
from manager.errors import UserError
from manager.job import Sweep
from manager.store import Store

if TYPE_CHECKING:
    from manager.cluster.slurm import SlurmBackend

LOCAL = "local"


def choose(store: Store, sweep: Sweep, cluster: str | None, slots: int | None) -> Backend:
    """The backend for this sweep; a cluster without Slurm here is told."""
    wanted = cluster or _setting_name(sweep.settings.get("cluster"))
    if wanted == LOCAL or (wanted is None and shutil.which("sbatch") is None):
        number = len(gpus())
        return LocalBackend(store, slots or default_slots(number), number)
    if shutil.which("sbatch") is None:
        raise UserError(
            f"cluster {wanted!r} needs Slurm and there is no sbatch on PATH; run this on a login node, "
            "or with --cluster local"
        )
    return slurm(store, sweep, cluster)


def slurm(store: Store, sweep: Sweep, cluster: str | None = None) -> SlurmBackend:
    """The Slurm backend with the site that the sweep or the command line names."""
    from manager.cluster.slurm import SlurmBackend
    from manager.cluster.slurm_site import load_site

    setting: Any = sweep.settings.get("cluster")
    return SlurmBackend(store, load_site(cluster, setting), sweep.name, sweep.settings.get("max_parallel"))


def _setting_name(setting: Any) -> str | None:
    """What `cluster:` says: a name, a mapping of site values (Slurm), or nothing."""
    if isinstance(setting, Mapping):
        return str(setting.get("name") or "slurm")
    return None if setting is None else str(setting)


def default_slots(gpu_count: int) -> int:
    """One job a GPU; without GPUs one a core, since a small model gains nothing from a second thread."""
    return gpu_count or max(1, len(os.sched_getaffinity(0)))


def views(store: Store, sweep: Sweep, ids: Sequence[str]) -> Mapping[str, SchedulerView]:
    """What the scheduler says of the sweep's jobs; nothing for jobs that only ever ran on one machine."""
    if store.sweep_backend(sweep.name) != "slurm":
        return {}
    return slurm(store, sweep, store.sweep_cluster(sweep.name)).observe(ids)


def cancel_submitted(store: Store, sweep: Sweep | None, ids: Sequence[str]) -> list[str]:
    """Tell the scheduler that holds these jobs to end them; returns the jobs that were told."""
    if sweep is None or store.sweep_backend(sweep.name) != "slurm":
        return []
    return slurm(store, sweep, store.sweep_cluster(sweep.name)).cancel(ids)
