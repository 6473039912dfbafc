"""Reinforcement learning with verifiable rewards: TRL's GRPO or RLOO on prompts of any domain.

Reads top to bottom: settings, data, rewards, trainer, train. The worker calls `main` on every rank.
"""

from __future__ import annotations

from typing import Any

from manager.run import Failed, Run
from trainers import batch, data, distributed, libraries, rewards, scoring, settings


def main(run: Run) -> dict[str, Any]:
    """Train; returns the result summary. Stopped and Failed are the worker's to record."""
    config = run.config
    kind = config.get("trainer", "grpo")
    gpu = distributed.has_gpu()
    try:
        split = batch.split_rl(config["batch"], run.world_size, run.job.resources.micro_batch)
        arguments = settings.arguments(kind, config, split, run.path / "checkpoints", gpu=gpu)
        zero = settings.deepspeed_config(config.get("deepspeed"), gpu=gpu)
        rewards.resolve(config.get("reward"))
    except ValueError as error:
        raise Failed(str(error), cause="config") from error
    distributed.start(zero, run.world_size)
    libraries.prepare(use_vllm=bool(arguments.get("use_vllm")))
    from datasets import Dataset

    from trainers.callbacks import RunCallback
    from trainers.completions import CompletionTable
    from trainers.policy import config_class, trainer_class
    from trainers.training import load_tokenizer, states_folder, train

    rows = data.prompts(config["data"], data.data_dir(config))
    path, revision = run.model_path()
    tokenizer = load_tokenizer(path, revision)
    scorer = scoring.PooledScorer(scoring.workers(run.job.resources.cpus_per_task))
    batches = rewards.Batches(scorer, frozenset({tokenizer.eos_token_id}))
    args = config_class(kind)(deepspeed=zero, **arguments)
    callback = RunCallback(run, states_folder(run), split.boundary * getattr(args, "num_iterations", 1))
    trainer = trainer_class(kind)(
        model=path,
        reward_funcs=rewards.functions(
            config.get("reward"), batches, seed=args.seed, rank=run.rank, limit_tokens=args.max_completion_length
        ),
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[callback],
    )
    trainer.table = CompletionTable(run)
    run.log_params({"train/prompts": len(rows), "train/per_device": split.per_device, "train/world": run.world_size})
    try:
        return train(trainer, run, callback, config.get("export_steps"))
    finally:
        scorer.close()
