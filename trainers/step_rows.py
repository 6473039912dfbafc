"""The steps of episodes as rows of a batch: how they are split into forward passes, filled up and weighed.

How many steps a batch of episodes has is known only when they are played, so the split is made then. Every process
gets the same number of forward passes of the same number of rows; what it lacks are rows that are masked altogether.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from trl.trainer.utils import pad


@dataclass(frozen=True)
class Row:
    """One step: the prompt that was made for it, the answer, and the advantage of its episode."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    advantage: float
    sampled: tuple[float, ...] | None = None  # log-probabilities by the engine that sampled; NaN: not known
    masked: bool = False  # counts as a row, but none of its tokens is learned from

    @property
    def tokens(self) -> int:
        """Tokens that are learned from."""
        return 0 if self.masked else len(self.answer)


def passes(rows: Sequence[Row], most: int, micro: int) -> list[list[Row | None]]:
    """Forward passes of at most `micro` rows for this process: as many as for `most` rows, None being a fill.

    Longest rows first, so that rows of one pass have about the same length, and too little memory shows at once.
    """
    count = max(1, math.ceil(most / micro))
    size, more = divmod(max(most, 1), count)
    ordered: list[Row | None] = [
        rows[place] for place in sorted(range(len(rows)), key=lambda at: -len(rows[at].prompt) - len(rows[at].answer))
    ]
    ordered += [None] * (max(most, 1) - len(rows))
    found, start = [], 0
    for place in range(count):
        end = start + size + (place < more)
        found.append(ordered[start:end])
        start = end
    return found


@dataclass(frozen=True)
class Whole:
    """One optimiser step over all processes: what a loss is divided by."""

    rows: int
    tokens: int
    world_size: int

    def accumulation(self, rows_of_pass: int) -> float:
        """What TRL has to take for the number of accumulated passes, so that its mean over the rows of a pass,
        summed over passes and averaged over processes, is the mean over all rows."""
        return max(self.rows, 1) / (self.world_size * rows_of_pass)


def tensors(rows: Sequence[Row | None], fill: int, *, sampled: bool) -> dict[str, Any]:
    """The rows of one pass as TRL's loss takes them; with `sampled`, what the engine said of their probabilities."""
    prompts = [torch.tensor(row.prompt if row else (fill,)) for row in rows]
    # A fill has two tokens: in a pass of one column TRL takes a value for that of a whole row, whatever its mask is.
    answers = [torch.tensor(row.answer if row else (fill, fill)) for row in rows]
    learned = [
        torch.full((len(answer),), int(row is not None and row.tokens > 0))
        for row, answer in zip(rows, answers, strict=True)
    ]
    found: dict[str, Any] = {
        "prompt_ids": pad(prompts, padding_value=fill, padding_side="left"),
        "prompt_mask": pad([torch.ones_like(one) for one in prompts], padding_value=0, padding_side="left"),
        "completion_ids": pad(answers, padding_value=fill, padding_side="right"),
        "completion_mask": pad(learned, padding_value=0, padding_side="right"),
        "advantages": torch.tensor([row.advantage if row else 0.0 for row in rows]),
    }
    if not sampled:
        return found
    known = [
        torch.tensor(row.sampled) if row and row.sampled is not None else torch.full((len(answer),), torch.nan)
        for row, answer in zip(rows, answers, strict=True)
    ]
    found["sampling_per_token_logps"] = pad(known, padding_value=0.0, padding_side="right")
    return found
