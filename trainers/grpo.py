"""Reinforcement learning with verifiable rewards: TRL's GRPO or RLOO on prompts of any domain.

Reads top to bottom: settings, data, rewards, trainer, train. The worker calls `main` on every rank.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from manager.run import Failed, Run
from trainers import (
    adapters,
    batch,
    checkpoints,
    context,
    data,
    distributed,
    libraries,
    prepare,
    rewards,
    scoring,
    server,
    settings,
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
    rows = _prompts(run, prompt_limit(tokenizer, longest, args.chat_template_kwargs))
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


def _prompts(run: Run, limit: prepare.PromptLimit) -> Any:
    """The prompts, prepared once (by rank 0, or by any job before) and read memory-mapped by every rank."""
    setting = run.config["data"]
    cache = Path(os.environ.get("MANAGER_PREPARED_DATA") or run.path.parents[1] / "prepared")
    prepared, problem, cause = None, "", ""
    if run.rank == 0:
        try:
            prepared = prepare.prepare(setting, cache, data.data_dir(run.config), limit)
            _require_same_prompts(run, prepared.digest)
        except Failed as error:
            problem, cause = str(error), error.cause
    prepared, problem, cause = distributed.from_first((prepared, problem, cause))
    if problem:
        raise Failed(problem, cause=cause)
    run.event("data", f"{prepared.rows} prompts, digest {prepared.digest[:12]}", digest=prepared.digest,
              rows=prepared.rows, left_out=prepared.left_out)  # fmt: skip
    return prepare.load(prepared)


def _require_same_prompts(run: Run, digest: str) -> None:
    """A training that has a state goes on with the prompts that it began with, or not at all."""
    if checkpoints.newest_complete(run.path / "checkpoints") is None:
        return
    told = [one["digest"] for one in run.directory.journal() if one.get("name") == "data" and "digest" in one]
    if told and told[-1] != digest:
        raise Failed(
            f"data: the prompts have the digest {digest[:12]}, those that the training began with had {told[-1][:12]}; "
            f"bring the old data back, or remove {run.path / 'checkpoints'} to start it anew",
            cause="data_changed",
        )
