"""Supervised training on demonstrations: warm-up of tiny models from scratch, and of loaded ones.

Reads top to bottom: settings, data, model, trainer, train. The worker calls `main` on every rank.
"""

from __future__ import annotations

from typing import Any

from manager.run import Failed, Run
from trainers import batch, data, distributed, libraries, settings


def main(run: Run) -> dict[str, Any]:
    """Train; returns the result summary. Stopped and Failed are the worker's to record."""
    config = run.config
    gpu = distributed.has_gpu()
    try:
        split = batch.split_sft(config["batch"], run.world_size, run.job.resources.micro_batch)
        arguments = settings.arguments("sft", config, split, run.path / "checkpoints", gpu=gpu)
        zero = settings.deepspeed_config(config.get("deepspeed"), gpu=gpu)
    except ValueError as error:
        raise Failed(str(error), cause="config") from error
    distributed.start(zero, run.world_size)
    libraries.prepare(use_vllm=False)
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from trainers.callbacks import RunCallback
    from trainers.training import Quiet, states_folder, train

    class Trainer(Quiet, SFTTrainer):  # type: ignore[misc]
        pass

    rows = data.demonstrations(config["data"], data.default_data_dir())
    args = SFTConfig(deepspeed=zero, **arguments)
    model, tokenizer = _model(run)
    callback = RunCallback(run, states_folder(run), split.boundary)
    trainer = Trainer(
        model=model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer, callbacks=[callback]
    )
    run.log_params({"train/examples": len(rows), "train/per_device": split.per_device, "train/world": run.world_size})
    return train(trainer, run, callback, config.get("export_steps"))


def _model(run: Run) -> tuple[Any, Any]:
    """(model or its path, tokenizer)"""
    spec = run.config["model"]
    if "scratch" in spec:
        from trainers import scratch

        return scratch.make(spec["scratch"], run.config.get("seed", 0))
    from trainers.training import load_tokenizer

    path, revision = run.model_path()
    return path, load_tokenizer(path, revision)
