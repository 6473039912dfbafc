"""Supervised training on demonstrations: warm-up of tiny models from scratch, and of loaded ones.

Reads top to bottom: settings, data, model, trainer, train. The worker calls `main` on every rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manager.run import Failed, Run
from trainers import (
    adapters,
    batch,
    data,
    distributed,
    libraries,
    prepare,
    settings,
    shared_prompts,
    trajectories,
    universal,
)


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
    from trainers.training import RunTrainer, states_folder, train

    class Trainer(RunTrainer, SFTTrainer):  # type: ignore[misc]
        pass

    zero = universal.adapt(run, zero, states_folder(run))
    if "trajectories" in config["data"]:
        # TRL's 1024 would leave out the long states, and with them the ratios of the mixture.
        arguments = {"max_length": None, **arguments}
    args = SFTConfig(deepspeed=zero, dataset_kwargs={"skip_prepare_dataset": True}, **arguments)
    model, tokenizer = _model(run)
    rows = _rows(run, arguments)
    columns, too_long = data.tokenize(rows, tokenizer, args.max_length)
    if too_long:
        run.event("examples_left_out", f"{too_long} of {len(rows)} are longer than sft.max_length {args.max_length}")
    callback = RunCallback(run, states_folder(run), split.boundary, ("examples", split.per_step))
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_dict(columns),
        processing_class=tokenizer,
        callbacks=[callback],
        peft_config=adapters.peft_config(config.get("peft")),
    )
    run.log_params(
        {"train/examples": len(columns["length"]), "train/per_device": split.per_device, "train/world": run.world_size}
    )
    return train(trainer, run, callback, config.get("export_steps"))


def _rows(run: Run, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    config = run.config
    if "trajectories" in config["data"]:
        return trajectories.demonstrations(run)
    drawn = None
    if config["data"].get("decontaminate"):  # what repeats a benchmark is no more to be learned here than by reward
        drawn = [data.Row(row["benchmark"], prepare.item_of(row["item"])) for row in shared_prompts.load(run, None)]
    return data.demonstrations(config["data"], _seen(arguments, config["batch"]), data.data_dir(config), drawn)


def _seen(arguments: Mapping[str, Any], batch_setting: Mapping[str, Any]) -> int | None:
    """The examples that `max_steps` steps look at; None where epochs count instead."""
    steps = arguments.get("max_steps", 0)
    return steps * int(batch_setting["examples"]) if steps > 0 else None


def _model(run: Run) -> tuple[Any, Any]:
    """(model or its path, tokenizer)"""
    spec = run.config["model"]
    if "scratch" in spec:
        from trainers import scratch

        return scratch.make(spec["scratch"], run.config.get("seed", 0))
    from trainers.training import load_tokenizer

    path, revision = run.model_path()
    return path, load_tokenizer(path, revision)
