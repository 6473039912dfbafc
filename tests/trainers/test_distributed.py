"""How long ranks wait for each other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.trainers.running import free_port

RANK = """
import functools, os, sys, time
from datetime import timedelta
from pathlib import Path
import torch
from trainers import distributed
folder, rank = Path(sys.argv[1]), os.environ["RANK"]
(folder / rank).touch()
while len(list(folder.iterdir())) < 2:  # both have loaded torch
    time.sleep(0.05)
join = torch.distributed.init_process_group
torch.distributed.init_process_group = functools.partial(join, timeout=timedelta(seconds=8))
distributed.start(None, 2)
if rank == "0":
    time.sleep(16)  # prompts are prepared, say
print(distributed.from_first("prompts" if rank == "0" else None), sorted(distributed.gather(int(rank))))
distributed.barrier()
distributed.leave()
"""


def test_what_one_rank_makes_is_waited_for_longer_than_collectives_may_take(tmp_path: Path) -> None:
    """NCCL ends processes after ten minutes, in which neither KodCode is prepared nor a large state is hashed."""
    port, ranks = str(free_port()), []
    for number in ("0", "1"):
        place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": "2"}
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = {**os.environ, **place, **where, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", RANK, str(tmp_path)]
        ranks.append(subprocess.Popen(
            command, env=environment, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        ))  # fmt: skip
    try:
        said = [rank.communicate(timeout=300) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [out for out, _ in said] == ["prompts [0, 1]\n"] * 2, said
