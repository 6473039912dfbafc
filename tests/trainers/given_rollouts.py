"""A training whose episodes are given: `python -m tests.trainers.given_rollouts STORE JOB ATTEMPT`, as process.py.

The steps of an episode follow from its task and sample alone, so that trainings on any number of processes have the
same rows, and must have the same gradients. Episodes differ much in length: every process lacks some rows.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from evaluators.agent import Episode
from evaluators.player import Work
from trainers import rollouts
from trainers.rollouts import Ask, Rollout, Rollouts, Step


def given(work: Work) -> Rollout:
    rng = random.Random(f"{work.task}/{work.sample}")
    failure = "its process ended" if rng.random() < 0.1 else None

    def ids(count: int) -> tuple[int, ...]:
        return tuple(rng.choices(range(20, 120), k=count))

    steps = tuple(
        Step(ids(rng.randint(3, 30)), ids(length), None, cut=length > 7)
        for length in rng.choices(range(1, 10), k=rng.choice([1, 1, 2, 7]))
    )
    return Rollout(
        Episode(work.environment, work.task, work.sample, 0, rng.random() < 0.5, None if failure else 0.0, len(steps),
                rng.randint(0, 3), False, (), "", failure),
        steps,
    )  # fmt: skip


def play(self: Rollouts, works: Sequence[Work], ask: Ask) -> list[Rollout]:
    self.seconds, self.rounds = 0.0, 1
    return [given(work) for work in works]


if __name__ == "__main__":
    rollouts.Rollouts.play = play
    from tests.trainers import process  # noqa: F401  (it runs the job)
