"""The toy kind with faults of clusters: takes its place by MANAGER_KINDS="rl=tests.slurm.fault_kind"."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from manager.run import Run
from tests.manager import toy_kind

GPU_MEMORY = (
    "CUDA out of memory. Tried to allocate 4.64 GiB. GPU 3 has a total capacity of 79.11 GiB of which 2.15 GiB is free."
)


class OutOfMemoryError(RuntimeError):
    """Named and worded as torch's."""


def main(run: Run) -> Mapping[str, Any]:
    config = run.config.get("toy", {})
    attempt = int(run.attempt_dir.name)
    micro_batch = run.job.resources.micro_batch or 8
    run.log_params({"train/per_device": micro_batch})
    if config.get("fits") and micro_batch > config["fits"]:
        raise OutOfMemoryError(GPU_MEMORY)
    if config.get("bad_node") and os.environ.get("SLURMD_NODENAME") == config["bad_node"]:
        print("NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.", file=sys.stderr, flush=True)
        os._exit(1)
    if config.get("group"):
        _all_reduce(run, fail_first=bool(config.get("rank_fails")) and attempt == 1)
    result = dict(toy_kind.main(run)) if run.rank == 0 else {}
    if config.get("group"):
        import torch.distributed as dist

        dist.barrier()
        dist.destroy_process_group()
    return result


def _all_reduce(run: Run, *, fail_first: bool) -> None:
    """One sum over all ranks by gloo, as torch.distributed finds them in the environment."""
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo")
    total = torch.tensor([float(dist.get_rank())])
    dist.all_reduce(total)
    if run.rank == 0:
        run.event("sum", str(total.item()), world=dist.get_world_size(), node=os.environ["SLURMD_NODENAME"])
    if fail_first and run.rank == dist.get_world_size() - 1:
        os._exit(9)
