"""One rank of one job in a process of its own: what the worker does, without scheduler and heartbeat.

python -m tests.trainers.process STORE JOB_ID ATTEMPT; the rank comes from the environment. SIGTERM asks to
stop. Writes out-RANK.json beside the attempt's journal: {"outcome": …, …}.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from manager.run import Failed, Run, Stopped
from manager.store import Store


def keep_logits(folder: Path) -> None:
    """After the training, the trained model itself (not what was exported) answers a probe."""
    import torch

    from trainers import training

    train = training.train

    def train_and_ask(trainer: Any, *args: Any) -> Any:
        summary = train(trainer, *args)
        ids = torch.arange(5, 45).reshape(2, 20)
        with torch.no_grad():
            trainer.model_wrapped.eval()
            logits = trainer.model_wrapped(input_ids=ids.to(trainer.args.device)).logits
        if trainer.args.process_index == 0:  # the others took part: their shares of the weights were needed
            torch.save({"ids": ids, "logits": logits.float().cpu()}, folder / "logits.pt")
        return summary

    training.train = train_and_ask


def main() -> None:
    store, job_id, attempt = sys.argv[1:4]
    directory = Store.open(Path(store)).run(job_id)
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    folder = directory.path / "attempts" / attempt
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(directory, directory.job(), folder, rank=rank, local_rank=rank, world_size=world_size)
    signal.signal(signal.SIGTERM, lambda *_: run.request_stop("signal"))
    module = importlib.import_module("trainers.sft" if run.job.kind == "sft" else "trainers.grpo")
    if os.environ.get("TEST_LOGITS"):
        keep_logits(folder)
    try:
        out = {"outcome": "done", **module.main(run)}
        if rank == 0:
            directory.write_result(out)
    except Stopped as stopped:
        out = {"outcome": "interrupted", "message": str(stopped)}
    except Failed as failed:
        out = {"outcome": "failed", "message": str(failed), "cause": failed.cause, "retryable": failed.retryable}
    run.close()
    (folder / f"out-{rank}.json").write_text(json.dumps(out))


main()
