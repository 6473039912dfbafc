"""Reinforcement learning of an agent on text environments: GRPO whose samples are the steps of episodes.

Reads top to bottom: settings, environments, trainer, train. `trainers.grpo` calls `main` where the data are
environments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluators.agent import AgentSettings
from evaluators.environment_files import placed
from evaluators.episodes import task_count
from manager.run import Failed, Run
from trainers import adapters, batch, context, distributed, libraries, returns, server, settings, tasks, universal
from trainers.batch import Split
from trainers.settings import SettingsError

WITHOUT_END = 2**31  # the context of a model that does not tell any
# How this is done, for the run's tags: TRL's own ways have one row for a rollout.
METHOD = {
    "agent/samples": "one row a step, with a prompt made for that step; environment_factory and rollout_func not used",
    "agent/advantage": "of the episode in its group, the same for each of its steps",
    "agent/return": "of the whole episode: its end and its invalid actions, not by the step",
    "agent/differs_from_paper": "weight of a step, place of the penalty and normalisation are not published: ours",
}
# Settings whose effect would depend on how the steps are split over forward passes, and the value that has none.
UNSUPPORTED = {"entropy_coef": 0.0, "use_adaptive_entropy": False, "top_entropy_quantile": 1.0}


def main(run: Run) -> dict[str, Any]:
    """Train; returns the result summary. Stopped and Failed are the worker's to record."""
    config = run.config
    gpu = distributed.has_gpu()
    try:
        split = batch.split_rl(config["batch"], run.world_size)
        arguments = _arguments(run, split, gpu=gpu)
        zero = settings.deepspeed_config(config.get("deepspeed"), gpu=gpu)
        worth = returns.Worth.parse(config.get("reward"))
    except ValueError as error:
        raise Failed(str(error), cause="config") from error
    entries = [placed(entry, run.job.resources.files) for entry in config["data"]["environments"]]
    pools = [tasks.Pool(entry["name"], task_count(entry)) for entry in entries]
    arguments |= server.address(run)
    distributed.start(zero, run.world_size)
    libraries.prepare(use_vllm=bool(arguments.get("use_vllm")))
    from trl import GRPOConfig

    from trainers.agent_policy import Episodic
    from trainers.drift import Drift
    from trainers.held_out_steps import held_out_steps
    from trainers.training import states_folder, train

    args = GRPOConfig(deepspeed=universal.adapt(run, zero, states_folder(run)), **arguments)
    parts = _parts(run, args, split, entries, pools)
    trainer = parts.trainer
    micro_batch = run.job.resources.micro_batch or batch.STEPS_IN_A_PASS
    trainer.episodic = Episodic(parts.rollouts, worth, parts.records, micro_batch)
    steps = distributed.from_first(held_out_steps(entries, run) if run.rank == 0 else None)
    parts.callback.drift = Drift(run, steps, longest_prompt(trainer, args))
    run.log_params({"train/tasks": len(trainer.train_dataset), "train/world": run.world_size,
                    "train/micro_batch": micro_batch})  # fmt: skip
    run.log_tags(METHOD)
    try:
        return train(trainer, run, parts.callback, config.get("export_steps"))
    finally:
        parts.rollouts.close()
        parts.records.close()


def _arguments(run: Run, split: Split, *, gpu: bool) -> dict[str, Any]:
    """GRPOConfig's arguments; SettingsError for what would not be what it says with steps as rows."""
    config = run.config
    if config.get("trainer", "grpo") != "grpo":
        raise SettingsError(f"trainer: {config['trainer']} does not train on environments; leave it out")
    if (config.get("generation") or {}).get("dynamic_sampling"):
        raise SettingsError("generation.dynamic_sampling replaces prompts, not episodes; leave it out")
    found = settings.arguments("grpo", config, split, run.path / "checkpoints", gpu=gpu)
    if (found.get("max_steps") or 0) < 1:
        raise SettingsError("grpo.max_steps is missing: tasks are made without end")
    if (loss := found.get("loss_type", "dapo")) not in batch.EPISODE_LOSSES:
        raise SettingsError(
            f"grpo.loss_type: {loss} would depend on how the steps are split over forward passes; "
            f"valid with environments: {', '.join(batch.EPISODE_LOSSES)}"
        )
    for key, without in UNSUPPORTED.items():
        if found.get(key, without) != without:
            raise SettingsError(f"grpo.{key} is not supported with environments; leave it out")
    thinking = AgentSettings.parse(config.get("agent")).thinking
    # What `chat_prompt` gives to the template at every step, for TRL's own uses of it.
    template = {**(found.get("chat_template_kwargs") or {}), "enable_thinking": thinking}
    return {**found, "shuffle_dataset": False, "chat_template_kwargs": template}


@dataclass(frozen=True)
class _Parts:
    trainer: Any
    callback: Any
    rollouts: Any
    records: Any


def _parts(
    run: Run, args: Any, split: Split, entries: Sequence[Mapping[str, Any]], pools: Sequence[tasks.Pool]
) -> _Parts:
    """The trainer, with what plays and what records its episodes."""
    from datasets import Dataset

    from trainers.agent_policy import AgentGrpo
    from trainers.callbacks import RunCallback
    from trainers.completions import CompletionTable
    from trainers.episode_records import EpisodeRecords
    from trainers.rollouts import Kind, Rollouts, Speaker
    from trainers.training import fit_context, load_tokenizer, states_folder

    config = run.config
    path, revision = run.model_path()
    tokenizer = load_tokenizer(path, revision)
    fit_context(args, path, revision, context.prompt_tokens(config["data"]))
    boundary = split.boundary * args.num_iterations
    batches = -(-args.max_steps // boundary)
    drawn = tasks.draw(pools, config["data"]["seed"], range(batches * config["batch"]["prompts"]))
    callback = RunCallback(run, states_folder(run), boundary, ("tasks", config["batch"]["prompts"]))
    trainer = AgentGrpo(
        model=path,
        reward_funcs=[_never_asked],
        args=args,
        train_dataset=Dataset.from_dict(_columns(drawn)),
        processing_class=tokenizer,
        callbacks=[callback],
        peft_config=adapters.peft_config(config.get("peft")),
    )
    if trainer.aux_loss_enabled:
        raise Failed("grpo.router_aux_loss_coef must be 0 with environments: it is not weighed by rows", cause="config")
    trainer.table = table = CompletionTable(run)
    kinds = [Kind(entry["name"], entry["data"]["environment"], entry["data"]["options"]) for entry in entries]
    speaker = Speaker(tokenizer, path, frozenset(trainer.eos_token_ids), longest_prompt(trainer, args))

    def tell(name: str, text: str) -> None:
        run.event("environments_started", text, environment=name)

    processes = run.job.resources.environment_processes
    rollouts = Rollouts(kinds, AgentSettings.parse(config.get("agent")), speaker, processes, tell)
    return _Parts(trainer, callback, rollouts, EpisodeRecords(run, table, batches, boundary))


def longest_prompt(trainer: Any, args: Any) -> int:
    """Tokens of a prompt after which a whole answer still fits the context of the model, and of vLLM's."""
    context = getattr(trainer.model.config.get_text_config(), "max_position_embeddings", None) or WITHOUT_END
    engine = (args.vllm_max_model_length if args.use_vllm else None) or WITHOUT_END
    longest = min(context, engine) - args.max_completion_length
    if longest < 1:
        raise Failed(
            f"grpo.max_completion_length {args.max_completion_length} leaves no room for a prompt in a context of "
            f"{min(context, engine)} tokens",
            cause="config",
        )
    return int(longest)


def _columns(drawn: list[tasks.Task]) -> Mapping[str, list[Any]]:
    return {
        "prompt": ["" for _ in drawn],  # TRL wants one; every step of an episode has its own
        "environment": [one.environment for one in drawn],
        "task": [one.number for one in drawn],
        "place": [one.place for one in drawn],
    }


def _never_asked(**_: Any) -> list[float | None]:
    """TRL wants a reward function; episodes have their returns (trainers/returns.py)."""
    raise AssertionError("episodes are not rewarded by completion")
