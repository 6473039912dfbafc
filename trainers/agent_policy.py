"""GRPO on episodes: TRL's loss and optimiser steps, with the steps of whole episodes as samples.

TRL has one row for a rollout (`environment_factory`, `rollout_func`). Here every step of an episode is a row: the
prompt that was made for that step, the answer, and the advantage that the episode has in its group. One optimiser
step takes all steps of its episodes, however many they are, in as many forward passes as needed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import DistributedType
from transformers import Trainer
from trl import GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import use_adapter

from evaluators.engine import sample_seed
from evaluators.player import Work
from trainers import distributed, returns, tasks
from trainers.episode_records import EpisodeRecords
from trainers.off_policy import correction, told
from trainers.policy import Grpo
from trainers.rollouts import Answers, Rollout, Rollouts
from trainers.step_rows import Row, Whole, passes, tensors

Pass = dict[str, Any]


@dataclass(frozen=True)
class MiniBatch:
    """What this process does in one optimiser step. `weights`: of each pass, the share of all tokens learned from."""

    passes: tuple[Pass, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Episodic:
    """What of a training on episodes is not TRL's."""

    rollouts: Rollouts
    worth: returns.Worth
    records: EpisodeRecords
    micro_batch: int  # rows of one forward pass


class AgentGrpo(Grpo):
    episodic: Episodic  # set before training

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._mini_batches: list[MiniBatch] = []

    # One optimiser step

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """All passes of one mini-batch; the gradients are exchanged with the last of them."""
        model.train()
        if self._step % (self.args.steps_per_generation * self.num_iterations) == 0 or not self._mini_batches:
            self._mini_batches = self._timed("preparing", self._new_batch, inputs)
        batch = self._mini_batches[self._step % self.args.steps_per_generation]
        before = {name: len(values) for name, values in self._metrics["train"].items()}
        loss = torch.zeros((), device=self.args.device)
        for place, one in enumerate(batch.passes):
            with self._exchange(model, last=place == len(batch.passes) - 1):
                # Not GRPOTrainer's own, which counts a pass as a step.
                loss = loss + Trainer.training_step(self, model, one, None)
        self._weigh_metrics(before, batch)
        self._step += 1
        return loss

    def _exchange(self, model: Any, *, last: bool) -> Any:
        self.accelerator.gradient_state._set_sync_gradients(last)
        if last or self.accelerator.distributed_type == DistributedType.DEEPSPEED:
            return contextlib.nullcontext()  # DeepSpeed reads the flag that was just set
        return self.accelerator.no_sync(model)

    def _prepare_inputs(self, generation_batch: Pass) -> Pass:
        """Nothing is generated here: a pass is ready, and waits in the host's memory."""
        device = self.args.device
        return {key: one.to(device) if isinstance(one, torch.Tensor) else one for key, one in generation_batch.items()}

    def compute_loss(self, model: Any, inputs: Pass, *args: Any, **kwargs: Any) -> torch.Tensor:
        whole: Whole = inputs["whole"]
        accumulation = whole.accumulation(inputs["prompt_ids"].size(0))
        self.current_gradient_accumulation_steps = accumulation
        # By token: TRL divides by its items, times accumulated passes, over passes of one generated batch.
        tokens = whole.tokens * self.args.steps_per_generation / accumulation
        items = torch.tensor(tokens, dtype=torch.float32, device=self.args.device)
        return super().compute_loss(model, {**inputs, "num_items_in_batch": items}, *args, **kwargs)

    def _weigh_metrics(self, before: Mapping[str, int], batch: MiniBatch) -> None:
        """TRL notes a value a pass: what is logged is their mean by tokens, or the extreme."""
        for name, values in self._metrics["train"].items():
            new = values[before.get(name, 0) :]
            if len(new) != len(batch.passes):
                continue
            known = [(one, weight) for one, weight in zip(new, batch.weights, strict=True) if one == one]
            if name.endswith(("_min", "/min")):
                value = min((one for one, _ in known), default=float("nan"))
            elif name.endswith(("_max", "/max")):
                value = max((one for one, _ in known), default=float("nan"))
            else:
                total = sum(weight for _, weight in known)
                value = sum(one * weight for one, weight in known) / total if total else float("nan")
            values[before.get(name, 0) :] = [value]

    # One generated batch

    def _new_batch(self, inputs: Sequence[Mapping[str, Any]]) -> list[MiniBatch]:
        """Play, judge, and make the passes of every optimiser step of this batch."""
        steps, world = self.args.steps_per_generation, self.args.world_size
        mine = tasks.share(self.args.generation_batch_size, steps, world, self.args.process_index)
        rollouts = self._play(inputs[0]["place"], mine)
        worth = [self.episodic.worth.of(one.episode) for one in rollouts]
        everyone = tasks.in_order(distributed.gather(worth), steps)
        judged = returns.advantages(everyone, self.num_generations, self.scale_rewards)
        own = [judged.values[number] for number in mine]
        values, tokens = self.episodic.records.tell(rollouts, worth, judged, self.state.global_step, steps)
        self.state.num_input_tokens_seen += tokens
        for name, value in values.items():
            self._metrics["train"][name].append(value)
        self._metrics["train"]["num_tokens"] = [self.state.num_input_tokens_seen]
        rows = [self._rows(rollout, advantage) for rollout, advantage in zip(rollouts, own, strict=True)]
        share = len(rows) // steps
        return [
            self._mini_batch([row for episode in rows[step * share : (step + 1) * share] for row in episode])
            for step in range(steps)
        ]

    def _play(self, place: int, numbers: Sequence[int]) -> list[Rollout]:
        """The episodes of these numbers of the generated batch that `place` is in."""
        prompts = self.args.generation_batch_size // self.num_generations
        first = place // prompts * prompts
        works = []
        for group, sample in (divmod(number, self.num_generations) for number in numbers):
            row = self.train_dataset[first + group]
            seed = sample_seed(self.args.seed, row["environment"], f"train/{row['place']}/{row['task']}", sample)
            works.append(Work(row["environment"], row["task"], sample, seed, "train"))
        rollouts = self.episodic.rollouts
        with kept_awake(self):
            played = rollouts.play(works, self._ask)
        self.times.add("environment", time.perf_counter() - rollouts.seconds)
        self._metrics["train"]["episode/rounds"].append(float(rollouts.rounds))
        return played

    def _ask(self, prompts: list[list[int]]) -> Answers:
        ids, logps = self._timed("generation", self._generate_single_turn, prompts, None, {}, 1)
        if logps is not None:  # vLLM gives None for a token that it could not score
            logps = [[float("nan") if one is None else one for one in answer] for answer in logps]
        return [list(answer) for answer in ids], logps

    def _rows(self, rollout: Rollout, advantage: float) -> list[Row]:
        if rollout.episode.failure:
            return []
        return [
            Row(step.prompt, step.answer, advantage, step.sampled, masked=step.cut and self.mask_truncated_completions)
            for step in rollout.steps
        ]

    def _mini_batch(self, rows: Sequence[Row]) -> MiniBatch:
        device = self.args.device
        counts = torch.tensor([[len(rows), sum(row.tokens for row in rows)]], device=device)
        counts = self.accelerator.gather(counts)
        whole = Whole(int(counts[:, 0].sum()), int(counts[:, 1].sum()), self.args.world_size)
        split = passes(rows, int(counts[:, 0].max()), self.episodic.micro_batch)
        fill, sampled = self._tokenizer.pad_token_id, self.use_vllm
        made = [{**tensors(part, fill, sampled=sampled), "whole": whole} for part in split]
        learned = torch.tensor([[float(sum(row.tokens for row in part if row)) for part in split]], device=device)
        weights = self.accelerator.gather(learned).sum(dim=0).tolist()
        with torch.no_grad(), disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs):
            made = [{**one, **self._scores(self._prepare_inputs(one))} for one in made]
        for name, value in told(made, self.accelerator, device).items():
            self._metrics["train"][name].append(value)
        self._metrics["train"]["samples"].append(float(whole.rows))
        return MiniBatch(tuple(made), tuple(weights))

    def _scores(self, one: Pass) -> dict[str, torch.Tensor]:
        """Log-probabilities before the update and of the reference, where the loss needs them."""
        found: dict[str, torch.Tensor] = {}
        corrected = self.use_vllm and self.vllm_importance_sampling_correction
        if self.args.steps_per_generation * self.num_iterations > 1 or corrected:
            found["old_per_token_logps"] = self._logps(self.model, one)
        if corrected:
            found["importance_sampling_ratio"] = correction(
                found["old_per_token_logps"], one["sampling_per_token_logps"], one["completion_mask"],
                self.vllm_importance_sampling_mode, self.vllm_importance_sampling_clip_min,
                self.vllm_importance_sampling_clip_max,
            )  # fmt: skip
        if self.beta:
            found["ref_per_token_logps"] = self._reference(one)
        return {name: value.cpu() for name, value in found.items()}

    def _reference(self, one: Pass) -> torch.Tensor:
        if self.ref_model is not None:
            return self._logps(self.ref_model, one)
        model = self.accelerator.unwrap_model(self.model)
        with use_adapter(model, adapter_name="ref" if "ref" in model.peft_config else None):
            return self._logps(self.model, one)

    def _logps(self, model: Any, one: Pass) -> torch.Tensor:
        ids = torch.cat([one["prompt_ids"], one["completion_ids"]], dim=1)
        mask = torch.cat([one["prompt_mask"], one["completion_mask"]], dim=1)
        kept = one["completion_ids"].size(1)
        logps: torch.Tensor = self._get_per_token_logps_and_entropies(model, ids, mask, kept)[0]
        return logps


@contextlib.contextmanager
def kept_awake(trainer: GRPOTrainer) -> Iterator[None]:
    """vLLM beside the trainer sleeps between two generated batches, not between two steps of an episode.

    TRL puts it to sleep after every call, and then brings the weights to it again.
    """
    engine = getattr(trainer, "vllm_generation", None)
    if engine is None or engine.mode != "colocate" or not engine.enable_sleep_mode:
        yield
        return
    engine.sync_weights()
    trainer._last_loaded_step = trainer.state.global_step
    engine.llm.wake_up(tags=["kv_cache"])
    engine.enable_sleep_mode = False
    try:
        yield
    finally:
        engine.enable_sleep_mode = True
        engine.llm.sleep(level=2)
        engine._llm_weights_sleeping = True
