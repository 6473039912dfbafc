"""Running a transformers Trainer inside a Run: resume, train, stop, and the summary of what came out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluators.prompts import opens_thinking
from manager.run import Failed, Run, Stopped
from trainers import checkpoints, context, disk, distributed, settings, worlds
from trainers.callbacks import AlreadyTrained, RunCallback


class RunTrainer:
    """Mixin for TRL trainers: no model card with every state, and none begun that does not fit the disk."""

    model: Any
    args: Any
    state: Any

    def create_model_card(self, *_: Any, **__: Any) -> None:
        return None

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        problem = None
        if self.args.process_index == 0:
            problem = disk.problem(Path(self.args.output_dir), self._sizes(), self.state.global_step)
        if problem := distributed.from_first(problem):
            told, wanted = problem
            raise Failed(told, cause="disk_full", needs_bytes=wanted)
        super()._save_checkpoint(*args, **kwargs)  # type: ignore[misc]

    def _sizes(self) -> disk.Sizes:
        sizes = [(getattr(one, "ds_numel", one.numel()), one.requires_grad) for one in self.model.parameters()]
        # DeepSpeed without ZeRO writes what stage 1 does.
        stage = max(1, worlds.zero_stage(self.args.deepspeed)) if self.args.deepspeed else 0
        trained = sum(size for size, grad in sizes if grad)
        return disk.Sizes(sum(size for size, _ in sizes), trained, stage, bool(self.args.bf16))


def completions_begin_in_thinking(tokenizer: Any, template_options: Mapping[str, Any]) -> bool:
    """Whether the chat template ends a prompt with an open `<think>` that the text given to rewards lacks."""
    if any(getattr(tokenizer, name, None) is not None for name in ("response_template", "response_schema")):
        return False  # TRL then parses the thinking off: the text is the answer alone
    asked = [{"role": "user", "content": "1 + 1"}]
    text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True, **template_options)
    return opens_thinking(text)


def states_folder(run: Run) -> Path:
    return run.path / "checkpoints"


def load_tokenizer(path: str, revision: str | None, **kwargs: Any) -> Any:
    """The tokenizer of a model folder or hub id, which must have a chat template."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision, padding_side="left", **kwargs)
    except OSError as error:
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") == "1" else ""
        raise Failed(
            f"model: {path} could not be loaded{offline}: {str(error).splitlines()[0]} Where there is a network, "
            f"`hf download {path}` brings it; or name a folder",
            cause="model_unreachable",
            retryable=not offline,
        ) from error
    if not tokenizer.chat_template:
        raise Failed(
            f"model: {path} has no chat template; name another model, or a folder with a chat_template.jinja",
            cause="no_chat_template",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def fit_context(args: Any, path: str, revision: str | None, asked: int) -> int:
    """The longest prompt that the model, and vLLM, have room for with a whole answer; `asked` at most.

    vLLM is told both together where the sweep names no length: with the model's own context it wants memory for one
    sequence of 131,072 tokens, and does not start where that is not there.
    """
    from transformers import AutoConfig

    if args.max_completion_length is None:
        return asked  # answers go on to the end of the context
    window = context.tokens(AutoConfig.from_pretrained(path, revision=revision).to_dict())
    if args.use_vllm and args.vllm_max_model_length is not None:
        window = min(window or args.vllm_max_model_length, args.vllm_max_model_length)
    try:
        longest = context.room(asked, args.max_completion_length, window)
    except ValueError as error:
        raise Failed(f"model: {path}: {error}", cause="config") from error
    if args.use_vllm and args.vllm_max_model_length is None:
        args.vllm_max_model_length = longest + args.max_completion_length
    return longest


def find_state(run: Run) -> checkpoints.Resume:
    """Where to go on from. Rank 0 looks and tells the others, so that all resume alike."""
    resume = distributed.from_first(checkpoints.newest(states_folder(run)) if run.rank == 0 else None)
    for name, reason in resume.set_aside:
        run.event("state_set_aside", f"{name}: {reason}", state=name, reason=reason)
    if resume.path is not None:
        run.event("resumed", f"from step {resume.step}", step=resume.step)
        saved = (checkpoints.read_json(resume.path / checkpoints.MARKER) or {}).get("world_size")
        if saved != run.world_size:
            run.event(
                "world_size_changed",
                f"saved by {saved} processes, {run.world_size} go on: the same prompts, other random numbers",
                saved=saved,
                now=run.world_size,
            )
    return resume


def exported_steps(run: Run) -> list[int]:
    """The steps whose weights are complete."""
    folder = run.path / "models"
    found = [path for path in folder.glob("step-*") if checkpoints.is_complete(path)] if folder.is_dir() else []
    return sorted(int(path.name.removeprefix("step-")) for path in found)


def train(trainer: Any, run: Run, callback: RunCallback, export_setting: Any) -> dict[str, Any]:
    """Train to the end, or raise Stopped after a save. Returns the summary for the result."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    total = total_steps(trainer)
    callback.trainer = trainer
    callback.set_exports(settings.export_steps(export_setting, total, callback.boundary))
    resume = find_state(run)
    with contextlib.suppress(AlreadyTrained):  # nothing was left to train; its export was done on the way
        trainer.train(resume_from_checkpoint=str(resume.path) if resume.path else None)
    if callback.stopping and trainer.state.global_step < total:
        raise Stopped(f"{run.stop_reason or 'asked to stop'}; saved at step {trainer.state.global_step}")
    metrics = callback.last or last_logged(run)
    return {"last_step": trainer.state.global_step, "models": exported_steps(run), "metrics": metrics}


def last_logged(run: Run) -> dict[str, float]:
    """The values of the last step that an earlier attempt logged."""
    found: dict[str, float] = {}
    for record in run.directory.journal():
        if record["type"] == "metrics" and "loss" in record["values"]:
            found = record["values"]
    return found


def total_steps(trainer: Any) -> int:
    """The optimiser steps of the whole training, as transformers will count them."""
    return int(trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())[6])
