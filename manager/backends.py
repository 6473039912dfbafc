"""Chooses where a sweep runs. The rule: --cluster, else the sweep's `cluster`, else Slurm if it is here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from manager.cluster.backend import Backend, Phase, SchedulerView
from manager.cluster.local import LocalBackend
from manager.environment import gpus
from manager.errors import UserError
from manager.job import Sweep
from manager.store import Store
from manager.usage import Usage, gpus_of, usage

if TYPE_CHECKING:
    from manager.cluster.slurm import SlurmBackend


LOCAL = "local"


def choose(
    store: Store, sweep: Sweep, cluster: str | None, slots: int | None, canary: bool | None = None
) -> Backend:
    wanted = cluster or _cluster_setting(sweep)
    if wanted == LOCAL or (wanted is None and shutil.which("sbatch") is None):
        number = len(gpus())
        return LocalBackend(store, slots or default_slots(number), number)
    if shutil.which("sbatch") is None:
        raise UserError(
            f"cluster {wanted!r} needs Slurm and there is no sbatch on PATH; run this on a login node, "
            "or with --cluster local"
        )
    from manager.cluster.slurm import SlurmBackend
    from manager.cluster.slurm_site import load_site

    site = load_site(cluster, sweep.settings.get("cluster"))
    return SlurmBackend(store, site, sweep.name, canary)


def job_variables(sweep: Sweep, cluster: str | None) -> Mapping[str, str] | None:
    """The environment that jobs will start with; None where a container or the site's shell lines decide it."""
    wanted = cluster or _cluster_setting(sweep)
    if wanted == LOCAL or shutil.which("sbatch") is None:
        return os.environ
    from manager.cluster.slurm_site import load_site

    site = load_site(cluster, sweep.settings.get("cluster"))
    if site.container is not None or any("HF_" in line for line in site.setup):
        return None
    return {**os.environ, **site.env}


def _cluster_setting(sweep: Sweep) -> str | None:
    """What `cluster:` says: a name, or a mapping of site values (always Slurm)."""
    value = sweep.settings.get("cluster")
    if isinstance(value, Mapping):
        return str(value.get("name", "slurm"))
    return None if value is None else str(value)


def default_slots(gpu_count: int) -> int:
    """One job a GPU; without GPUs one a core, since a small model gains nothing from a second thread."""
    return gpu_count or max(1, len(os.sched_getaffinity(0)))


def views(store: Store, sweep: Sweep, ids: Sequence[str]) -> Mapping[str, SchedulerView]:
    """What the scheduler says of these jobs; nothing for jobs that only ever ran on this machine."""
    return _submitted_backend(store).observe(ids)


def views_and_usage(store: Store, sweep: Sweep) -> tuple[Mapping[str, SchedulerView], Usage | None]:
    """What the scheduler says of the sweep's jobs, and their GPU-hours so far; None without GPU jobs."""
    gpus = gpus_of(sweep.jobs)
    seen, accounted = _submitted_backend(store).observe_and_account([entry.job.id for entry in sweep.jobs], gpus)
    return seen, usage(store, gpus, accounted) if gpus else None


def in_queue(store: Store, job_id: str) -> bool:
    """Whether a scheduler holds the job now, or cannot say that it does not."""
    view = _submitted_backend(store).observe([job_id]).get(job_id)
    return view is not None and view.phase in (Phase.QUEUED, Phase.RUNNING, Phase.UNKNOWN)


def cancel_submitted(store: Store, ids: Sequence[str]) -> list[str]:
    """Tell the schedulers that hold these jobs to end them; returns the jobs that were told."""
    return _submitted_backend(store).cancel(ids)


@lru_cache(maxsize=1)
def _submitted_backend(store: Store) -> SlurmBackend:
    """For what is in a queue already no site is needed: the store knows tokens, names and users. The same one as
    long as a screen is watched: it remembers since when Slurm has been silent."""
    from manager.cluster.slurm import SlurmBackend
    from manager.cluster.slurm_site import Site

    return SlurmBackend(store, Site())


__all__ = ["LocalBackend", "cancel_submitted", "choose", "default_slots", "in_queue", "views", "views_and_usage"]
