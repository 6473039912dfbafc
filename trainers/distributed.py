"""Joining the processes of one job: one task a device, found through the environment that the worker set.

The only importer of deepspeed. Its parts must be set up before any trainer config exists, in this order.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch


def has_gpu() -> bool:
    return torch.cuda.is_available()


def start(deepspeed_config: Mapping[str, Any] | None, world_size: int) -> None:
    """Join the process group if this job has one. DeepSpeed wants one for a single process too."""
    if deepspeed_config is None:
        if world_size == 1:
            # A group of one only costs: without these names the libraries do not make one.
            for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
                os.environ.pop(name, None)
        return
    import deepspeed

    if has_gpu():
        return
    # On a CPU: no compiled communication kernel (it needs ninja and g++ on the node), and gloo explicitly,
    # which ZeRO-3 needs before the trainer's config is built.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="gloo")


def _active() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def barrier() -> None:
    if _active():
        torch.distributed.barrier()


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
    torch.distributed.broadcast_object_list(holder, src=0)
    return holder[0]


def gather(value: Any) -> list[Any]:
    """Every rank's value, on every rank."""
    if not _active():
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def leave() -> None:
    """Leave the process group, so that no rank waits for one that is gone."""
    if _active():
        torch.distributed.destroy_process_group()
