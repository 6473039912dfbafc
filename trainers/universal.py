"""Resuming a ZeRO training with another number of processes, by DeepSpeed's universal checkpoint.

ZeRO shares the optimiser's state out over the processes that saved it. The newest state is converted once,
beside the original and inside its folder; the training then goes on with the same weights, moments and place
in the data, and with other random numbers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manager.atomic import write_text
from manager.run import Failed, Run
from trainers import checkpoints, distributed
from trainers.worlds import obstacle, zero_stage

TAG_FILE = "latest_universal"


def adapt(run: Run, deepspeed: Mapping[str, Any] | None, folder: Path) -> dict[str, Any] | None:
    """The DeepSpeed config for this start: told to read a converted state where the processes have changed."""
    if deepspeed is None:
        return None
    config = dict(deepspeed)
    newest, saved = distributed.from_first(_state_of_others(folder, run.world_size) if run.rank == 0 else (None, None))
    if newest is None:
        return config
    problem = ""
    if run.rank == 0:
        problem = obstacle(run.config, saved, run.world_size) or _convert(newest, zero_stage(deepspeed)) or ""
    if problem := distributed.from_first(problem):
        raise Failed(
            f"{newest} was saved by {saved} processes and could not be converted for {run.world_size}: {problem}; "
            f"give the stage {saved} GPUs again (resources), or remove {folder} to start it anew",
            cause="world_size",
        )
    config["checkpoint"] = {**config.get("checkpoint", {}), "load_universal": True}
    return config


def _state_of_others(folder: Path, now: int) -> tuple[Path | None, int | None]:
    """The state that will be gone on from and how many processes saved it, if these are not `now`."""
    if checkpoints.saved_processes(folder) in (None, now):
        return None, None
    # Only a sound one is converted: training.find_state sets the others aside.
    sound = next((path for _, path in checkpoints.states(folder) if checkpoints.problem(path) is None), None)
    saved = checkpoints.read_json(sound / checkpoints.MARKER)["world_size"] if sound else now
    return (None, None) if saved == now else (sound, saved)


def _convert(state: Path, stage: int) -> str | None:
    """Convert the state once; what went wrong, or None."""
    step = next(path for path in state.glob("global_step*") if not path.name.endswith(("_universal", ".tmp")))
    target = step.with_name(f"{step.name}_universal")
    tag = state / TAG_FILE
    if tag.is_file() and tag.read_text() == target.name and target.is_dir():
        return None  # the converter writes the tag too, but before it is done: the name tells ours
    temporary = step.with_name(f"{step.name}.tmp")
    for left in (temporary, target):
        shutil.rmtree(left, ignore_errors=True)
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal"]
    command += ["--input_folder", str(step), "--output_folder", str(temporary)]
    command += ["--num_extract_workers", "1", "--num_merge_workers", "1"]
    if stage < 3:
        command.append("--inject_missing_state")
    # A process of its own: it is not one of this job's ranks.
    ranks = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    environment = {name: value for name, value in os.environ.items() if name not in ranks}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        return lines[-1] if lines else f"exit code {done.returncode}"
    os.rename(temporary, target)
    write_text(tag, target.name, durable=True)
    return None
