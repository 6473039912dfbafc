"""What the knowledge benchmarks share: their sampler, and how prompts ask for one of several labels."""

from __future__ import annotations

import random
from collections.abc import Sequence

from evaluators.benchmark import Sampler

SAMPLER = Sampler(samples=1, temperature=0.6, top_p=0.95)


def ask_for(labels: Sequence[str]) -> str:
    """The last line of a prompt: think, then state one of the labels."""
    listed = ", ".join(labels[:-1]) + f" or {labels[-1]}" if len(labels) > 1 else labels[0]
    return f'Think step by step. Then finish with one line of the form "Answer: X", where X is {listed}.'


def other_than(gold: str, labels: Sequence[str], seed: int) -> str:
    """A label that is not the gold one."""
    return random.Random(f"{seed}:{gold}").choice([label for label in labels if label != gold])
