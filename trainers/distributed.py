"""Joining the processes of one job: one task a device, found through the environment that the worker set.

The only importer of deepspeed. Its parts must be set up before any trainer config exists, in this order.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch

# What one rank does while the others wait: prompts prepared, a state of 100 GB hashed or converted, a judge asked.
PATIENCE = timedelta(hours=3)
_patient: Any = None  # the group in which ranks wait so long; NCCL ends a process that waits ten minutes


def has_gpu() -> bool:
    return torch.cuda.is_available()


def start(deepspeed_config: Mapping[str, Any] | None, world_size: int) -> None:
    """Join the process group if this job has one. DeepSpeed wants one for a single process too.

    It is joined here and not by the libraries later, so that ranks can agree before a trainer is built.
    """
    if deepspeed_config is None and world_size == 1:
        # A group of one only costs: without these names the libraries do not make one.
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            os.environ.pop(name, None)
        return
    backend = "gloo"
    if has_gpu():
        backend = "nccl"
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if deepspeed_config is None:
        if not has_gpu():
            _let_numbered_cpus_load()
        torch.distributed.init_process_group(backend)
        _form_patient_group()
        return
    import deepspeed

    if not has_gpu():
        # No compiled communication kernel: it would need ninja and g++ on the node.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend=backend)  # ZeRO-3 needs it before the trainer's config is built
    _form_patient_group()


def _form_patient_group() -> None:
    """Its sockets tell at once when a rank is gone, so that only one that hangs is waited for in vain."""
    global _patient
    _patient = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)


def _let_numbered_cpus_load() -> None:
    """transformers loads optimiser states onto the rank's device, which accelerate calls "cpu:0" on a CPU.

    torch knows no CPU by number and would refuse to resume.
    """

    def keep(storage: Any, location: str) -> Any:
        return storage if location.startswith("cpu:") else None

    torch.serialization.register_package(0, lambda storage: None, keep)


def _active() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def rank() -> int:
    return torch.distributed.get_rank() if _active() else 0


def barrier() -> None:
    if _active():
        torch.distributed.barrier(group=_patient)


def any_rank(flag: bool, device: torch.device) -> bool:
    """True on every rank if it is on one: all ranks decide alike."""
    if not _active():
        return flag
    value = torch.tensor([float(flag)], device=device)
    torch.distributed.all_reduce(value, op=torch.distributed.ReduceOp.MAX)
    return bool(value.item())


def from_first(value: Any) -> Any:
    """Rank 0's value on every rank."""
    if not _active():
        return value
    holder = [value]
    torch.distributed.broadcast_object_list(holder, src=0, group=_patient)
    return holder[0]


def gather(value: Any) -> list[Any]:
    """Every rank's value, on every rank."""
    if not _active():
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value, group=_patient)
    return values


def leave() -> None:
    """Leave the process group, so that no rank waits for one that is gone."""
    global _patient
    _patient = None
    if _active():
        torch.distributed.destroy_process_group()
