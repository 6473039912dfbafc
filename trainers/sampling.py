"""Dynamic sampling (DAPO): groups whose rewards are all equal teach nothing and are replaced by other prompts'.

After a batch is generated and judged, its groups without signal are filled from further batches of prompts,
until every group has signal or MOST_ROUNDS are done. Which prompts come next depends on seed, step and round
alone, so a resumed training draws the same. Every rank takes part in every round: generation is collective.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import torch

from trainers import distributed

MOST_ROUNDS = 10
LEFT_PADDED = ("prompt_ids", "prompt_mask")
Batch = dict[str, Any]


def with_signal(advantages: torch.Tensor, samples: int) -> torch.Tensor:
    """For each group, whether its completions were not all worth the same."""
    return (advantages.view(-1, samples) != 0).any(dim=1)


def _widened(one: torch.Tensor, width: int, fill: float, *, left: bool) -> torch.Tensor:
    missing = width - one.size(1)
    return torch.nn.functional.pad(one, (missing, 0) if left else (0, missing), value=fill) if missing else one


def replace_groups(batch: Batch, other: Batch, samples: int, pad_id: int) -> Batch:
    """`batch` with its groups without signal replaced by groups of `other` that have some, as far as they go."""
    empty = torch.nonzero(~with_signal(batch["advantages"], samples)).flatten().tolist()
    full = torch.nonzero(with_signal(other["advantages"], samples)).flatten().tolist()
    pairs = list(zip(empty, full, strict=False))
    if not pairs:
        return batch
    taken = _rows([source for _, source in pairs], samples)
    places = _rows([target for target, _ in pairs], samples)
    merged = dict(batch)
    for name, value in batch.items():
        if not isinstance(value, torch.Tensor) or value.dim() == 0:
            continue
        theirs = other[name]
        if value.dim() == 2:
            width = max(value.size(1), theirs.size(1))
            fill = pad_id if name in ("prompt_ids", "completion_ids") else 0
            value = _widened(value, width, fill, left=name in LEFT_PADDED)
            theirs = _widened(theirs, width, fill, left=name in LEFT_PADDED)
        value = value.clone()
        value[places] = theirs[taken]
        merged[name] = value
    return merged


def _rows(groups: list[int], samples: int) -> list[int]:
    return [group * samples + place for group in groups for place in range(samples)]


class DynamicSampling:
    """Mixin for TRL's GRPOTrainer, over one that generates and scores."""

    args: Any
    state: Any
    model: Any
    accelerator: Any
    train_dataset: Any
    num_generations: int
    _metrics: dict[str, Any]
    _tokenizer: Any

    def _generate_and_score_completions(self, inputs: list[Mapping[str, Any]]) -> Batch:
        batch: Batch = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        if not self.model.training:
            return batch
        samples, rounds = self.num_generations, 0
        without = float((~with_signal(batch["advantages"], samples)).float().mean())
        while rounds < MOST_ROUNDS:
            lacking = not bool(with_signal(batch["advantages"], samples).all())
            if not distributed.any_rank(lacking, self.args.device):
                break
            rounds += 1
            other: Batch = super()._generate_and_score_completions(self._fresh(rounds, len(inputs)))  # type: ignore[misc]
            batch = replace_groups(batch, other, samples, self._tokenizer.pad_token_id)
        mask = batch["completion_mask"]
        if "tool_mask" in batch:
            mask = mask * batch["tool_mask"]
        batch["num_items_in_batch"] = self.accelerator.gather(mask.sum()).sum()
        left = float((~with_signal(batch["advantages"], samples)).float().mean())
        metrics = self._metrics["train"]
        metrics["dynamic_sampling/rounds"].append(float(rounds))
        metrics["dynamic_sampling/without_signal_before"].append(without)
        metrics["dynamic_sampling/without_signal_after"].append(left)
        return batch

    def _fresh(self, round_number: int, count: int) -> list[Mapping[str, Any]]:
        """This rank's share of the next prompts, each as often as it is sampled."""
        groups, world, rank = count // self.num_generations, self.args.world_size, self.args.process_index
        draw = random.Random(f"{self.args.seed}/{self.state.global_step}/{round_number}")
        places = [draw.randrange(len(self.train_dataset)) for _ in range(groups * world)]
        mine = places[rank * groups : (rank + 1) * groups]
        return [self.train_dataset[place] for place in mine for _ in range(self.num_generations)]
