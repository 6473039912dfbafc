"""Reinforcement learning with verifiable rewards: TRL's GRPO or RLOO on prompts of any domain.

Reads top to bottom: settings, data, rewards, trainer, train. The worker calls `main` on every rank.
"""

from __future__ import annotations

from typing import Any

from manager.run import Failed, Run
from trainers import (
    adapters,
    batch,
    context,
    data,
    distributed,
    libraries,
    rewards,
    scoring,
    server,
    settings,
    shared_prompts,
    universal,
)


def main(run: Run) -> dict[str, Any]:
    """Train; returns the result summary. Stopped and Failed are the worker's to record."""
    config = run.config
    if "environments" in config["data"]:
        from trainers import agents

        return agents.main(run)
    kind = config.get("trainer", "grpo")
    gpu = distributed.has_gpu()
    try:
        split = batch.split_rl(config["batch"], run.world_size, run.job.resources.micro_batch)
        arguments = settings.arguments(kind, config, split, run.path / "checkpoints", gpu=gpu)
        zero = settings.deepspeed_config(config.get("deepspeed"), gpu=gpu)
        dynamic = settings.dynamic_sampling(config, run.world_size)
        rewards.resolve(config.get("reward"))
    except ValueError as error:
        raise Failed(str(error), cause="config") from error
    arguments |= server.address(run)
    distributed.start(zero, run.world_size)
    libraries.prepare(use_vllm=bool(arguments.get("use_vllm")))
    from trainers.callbacks import RunCallback
    from trainers.completions import CompletionTable
    from trainers.drift import Drift, held_out
    from trainers.policy import config_class, trainer_class
    from trainers.prompt_limit import prompt_limit
    from trainers.training import completions_begin_in_thinking, fit_context, load_tokenizer, states_folder, train

    path, revision = run.model_path()
    tokenizer = load_tokenizer(path, revision)
    zero = universal.adapt(run, zero, states_folder(run))
    args = config_class(kind)(deepspeed=zero, **arguments)
    longest = fit_context(args, path, revision, context.prompt_tokens(config["data"]))
    rows = shared_prompts.load(run, prompt_limit(tokenizer, longest, args.chat_template_kwargs))
    scorer = scoring.PooledScorer(scoring.workers(run.job.resources.cpus_per_task))
    in_thinking = completions_begin_in_thinking(tokenizer, args.chat_template_kwargs or {})
    batches = rewards.Batches(scorer, frozenset({tokenizer.eos_token_id}), in_thinking=in_thinking)
    boundary = split.boundary * getattr(args, "num_iterations", 1)
    callback = RunCallback(run, states_folder(run), boundary, ("prompts", config["batch"]["prompts"]))
    trainer = trainer_class(kind, dynamic_sampling=dynamic)(
        model=path,
        reward_funcs=rewards.functions(
            config.get("reward"), batches, seed=args.seed, rank=run.rank, limit_tokens=args.max_completion_length
        ),
        args=args,
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=[callback],
        peft_config=adapters.peft_config(config.get("peft")),
    )
    batches.end_ids = frozenset(trainer.eos_token_ids)  # a model may end its answers in more than one way
    trainer.table = CompletionTable(run)
    callback.drift = Drift(run, held_out(config["data"], data.data_dir(config), run), longest)
    run.log_params({"train/prompts": len(rows), "train/per_device": split.per_device, "train/world": run.world_size,
                    "train/in_thinking": in_thinking})  # fmt: skip
    try:
        return train(trainer, run, callback, config.get("export_steps"))
    finally:
        scorer.close()
