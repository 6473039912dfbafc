"""Dynamic sampling (DAPO): groups whose rewards are all equal teach nothing and are replaced by other prompts'.

After a batch is generated and judged, its groups without signal are filled from further batches of prompts,
until every group has signal or MOST_ROUNDS are done. Which prompts come next depends on seed, step and round
alone, so a resumed training draws the same. Every rank takes part in every round: generation is collective.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from trainers import distributed

MOST_ROUNDS = 10
ROUNDING = 1e-6  # rewards that differ by less are equal
LEFT_PADDED = ("prompt_ids", "prompt_mask")
Batch = dict[str, Any]


def with_signal(rewards: Sequence[Sequence[float]], weights: Sequence[float], samples: int) -> list[bool]:
    """For each group, whether two of its judged completions were worth something different.

    `rewards` holds the values of each part, NaN where a completion was not judged. Asked of the rewards and not of
    the advantages, in which rounding is left where all are equal and the KL is added by some trainers.
    """
    by_completion = zip(*rewards, strict=True)
    totals = [sum(weight * value for weight, value in zip(weights, one, strict=True)) for one in by_completion]
    groups = [totals[start : start + samples] for start in range(0, len(totals), samples)]
    known = [[total for total in group if not math.isnan(total)] for group in groups]
    return [bool(group) and max(group) - min(group) > ROUNDING for group in known]


def _widened(one: torch.Tensor, width: int, fill: float, *, left: bool) -> torch.Tensor:
    missing = width - one.size(1)
    return torch.nn.functional.pad(one, (missing, 0) if left else (0, missing), value=fill) if missing else one


def pairs(signal: Sequence[bool], others: Sequence[bool]) -> list[tuple[int, int]]:
    """(group without signal, group of the other batch that has some), as far as they go."""
    empty = [place for place, has in enumerate(signal) if not has]
    full = [place for place, has in enumerate(others) if has]
    return list(zip(empty, full, strict=False))


def replace_groups(batch: Batch, other: Batch, chosen: Sequence[tuple[int, int]], samples: int, pad_id: int) -> Batch:
    """`batch` with the first group of each pair replaced by the second, of `other`."""
    if not chosen:
        return batch
    taken = _rows([source for _, source in chosen], samples)
    places = _rows([target for target, _ in chosen], samples)
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
    groups_with_signal: Callable[[], list[bool]]
    _metrics: dict[str, Any]
    _tokenizer: Any

    def _generate_and_score_completions(self, inputs: list[Mapping[str, Any]]) -> Batch:
        batch: Batch = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        if not self.model.training:
            return batch
        samples, rounds = self.num_generations, 0
        signal = self._signal(len(inputs))
        without = signal.count(False) / len(signal)
        while rounds < MOST_ROUNDS and distributed.any_rank(not all(signal), self.args.device):
            rounds += 1
            other: Batch = super()._generate_and_score_completions(self._fresh(rounds, len(inputs)))  # type: ignore[misc]
            chosen = pairs(signal, self._signal(len(inputs)))
            batch = replace_groups(batch, other, chosen, samples, self._tokenizer.pad_token_id)
            signal = [has or place in dict(chosen) for place, has in enumerate(signal)]
        mask = batch["completion_mask"]
        if "tool_mask" in batch:
            mask = mask * batch["tool_mask"]
        batch["num_items_in_batch"] = self.accelerator.gather(mask.sum()).sum()
        # Every rank has as many groups as the others: the mean of the shares is the share of all.
        told = distributed.gather((without, signal.count(False) / len(signal)))
        metrics = self._metrics["train"]
        metrics["dynamic_sampling/rounds"].append(float(rounds))
        metrics["dynamic_sampling/without_signal_before"].append(sum(one for one, _ in told) / len(told))
        metrics["dynamic_sampling/without_signal_after"].append(sum(one for _, one in told) / len(told))
        return batch

    def _signal(self, count: int) -> list[bool]:
        """Which of this rank's groups of the batch that was just judged have signal."""
        groups = count // self.num_generations
        start = self.args.process_index * groups
        return self.groups_with_signal()[start : start + groups]

    def _fresh(self, round_number: int, count: int) -> list[Mapping[str, Any]]:
        """This rank's share of the next prompts, each as often as it is sampled."""
        groups, world, rank = count // self.num_generations, self.args.world_size, self.args.process_index
        draw = random.Random(f"{self.args.seed}/{self.state.global_step}/{round_number}")
        places = [draw.randrange(len(self.train_dataset)) for _ in range(groups * world)]
        mine = places[rank * groups : (rank + 1) * groups]
        return [self.train_dataset[place] for place in mine for _ in range(self.num_generations)]
