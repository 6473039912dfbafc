"""What is told and kept of the episodes that were trained on: values of each step, a table, and a few to look at.

All episodes have a row in the table of completions; of some generated batches, spread over the training, the first
episodes of the first tasks are kept whole in `episodes/`, where `manager episode` finds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evaluators.agent import Episode
from evaluators.benchmark import Outcome
from evaluators.episodes import EpisodeFiles, score_of
from evaluators.summary import mean
from manager.run import Run
from trainers import distributed, tasks
from trainers.completions import CompletionTable
from trainers.returns import NAME, Advantages, deviation
from trainers.rollouts import Rollout

KEPT_BATCHES, KEPT_EPISODES = 100, 4


@dataclass(frozen=True)
class Line:
    """One episode, without its texts."""

    environment: str
    task: int
    sample: int
    outcome: str
    worth: float | None
    score: float | None
    steps: int
    invalid: int
    thought: float | None  # share of its answers
    augmented: bool
    prompt_tokens: int
    answers: tuple[int, ...]  # tokens of each
    cut: int  # answers that reached the limit
    why: str

    @staticmethod
    def of(rollout: Rollout, worth: float | None) -> Line:
        one = rollout.episode
        outcome = score_of(one).outcome
        lengths = tuple(len(step.answer) for step in rollout.steps)
        prompts = sum(len(step.prompt) for step in rollout.steps)
        cut = sum(step.cut for step in rollout.steps)
        return Line(one.environment, one.task, one.sample, str(outcome), worth, one.score, one.steps, one.invalid,
                    one.thought, one.augmented, prompts, lengths, cut, one.failure or one.too_long)  # fmt: skip


def values_of(lines: Sequence[Line]) -> dict[str, float]:
    """What is logged of one generated batch. Undefined values, of an environment that only failed, are left out."""
    answers = [tokens for line in lines for tokens in line.answers]
    played = [line for line in lines if line.worth is not None]
    found: dict[str, float | None] = {
        "reward": mean(line.worth for line in played if line.worth is not None),
        "reward_std": deviation([line.worth for line in played if line.worth is not None]),
        "completions/mean_length": mean(map(float, answers)),
        "completions/min_length": float(min(answers, default=0)),
        "completions/max_length": float(max(answers, default=0)),
        "completions/clipped_ratio": sum(line.cut for line in lines) / max(1, len(answers)),
        "prompts/mean_length": sum(line.prompt_tokens for line in lines) / max(1, len(answers)),
    }
    found |= {f"outcome/{one}": mean(float(line.outcome == one) for line in lines) for one in Outcome}
    found[f"rewards/{NAME}/mean"], found[f"rewards/{NAME}/std"] = found["reward"], found["reward_std"]
    found |= _means("episode", played)
    names = sorted({line.environment for line in lines})
    for name in names:
        own = [line for line in played if line.environment == name]
        found |= _means(name, own)
        found[f"score/{name}"] = mean(float(line.outcome == Outcome.RIGHT) for line in own)
    return {name: value for name, value in found.items() if value is not None}


def _means(name: str, lines: Sequence[Line]) -> dict[str, float | None]:
    return {
        f"{name}/success": mean(float(line.outcome == Outcome.RIGHT) for line in lines),
        f"{name}/return": mean(line.worth for line in lines if line.worth is not None),
        f"{name}/steps": mean(float(line.steps) for line in lines),
        f"{name}/invalid": mean(float(line.invalid) for line in lines),
        f"{name}/thought": mean(line.thought for line in lines),
    }


class EpisodeRecords:
    """Tells and keeps for one training. `batches`: how many are generated in all of it."""

    def __init__(self, run: Run, table: CompletionTable, batches: int, boundary: int) -> None:
        self._run, self._table = run, table
        self._every = max(1, -(-batches // KEPT_BATCHES)) * boundary
        self._files = EpisodeFiles(run.path / "episodes")
        self._told: set[str] = set()

    def tell(
        self, rollouts: Sequence[Rollout], worth: Sequence[float | None], judged: Advantages, step: int, steps: int
    ) -> tuple[dict[str, float], int]:
        """(values of all processes, tokens of all processes) of the batch of `steps` that follows after `step`."""
        own = [Line.of(rollout, value) for rollout, value in zip(rollouts, worth, strict=True)]
        lines = tasks.in_order(distributed.gather(own), steps)
        if self._run.rank == 0:
            self._keep([rollout.episode for rollout in rollouts], step)
            self._table.add(step + 1, _columns(lines, judged))
            self._tell_once(lines, step)
        values = values_of(lines) | {"groups_without_signal": judged.without_signal}
        return values, sum(line.prompt_tokens + sum(line.answers) for line in lines)

    def close(self) -> None:
        self._files.close()

    def _keep(self, episodes: Sequence[Episode], step: int) -> None:
        if step % self._every:
            return
        for one in [one for one in episodes if one.sample == 0][:KEPT_EPISODES]:
            self._files.write(replace(one, training_step=step))

    def _tell_once(self, lines: Sequence[Line], step: int) -> None:
        """An event for the first batch with such episodes; their share is in outcome/… of every step."""
        kinds = {
            "environment_failed": (Outcome.GRADER_FAILED, "are left out"),
            "prompts_too_long": (Outcome.TOO_LONG, "ended as failures because a prompt left no room for an answer"),
        }
        for name, (outcome, what) in kinds.items():
            found = [line for line in lines if line.outcome == outcome]
            if found and name not in self._told:
                first = found[0]
                self._run.event(
                    name, f"{first.environment} task {first.task}: {first.why}; {len(found)} of {len(lines)} episodes "
                    f"of this batch {what}", step=step,
                )  # fmt: skip
                self._told.add(name)


def _columns(lines: Sequence[Line], judged: Advantages) -> Mapping[str, Any]:
    """The batch as the table of completions takes it: an episode a row."""
    return {
        "prompt": [f"{line.environment} task {line.task}" for line in lines],
        "completion": ["" for _ in lines],
        "rewards": {NAME: [line.worth for line in lines]},
        "advantages": judged.values,
        "extra": {
            "environment": [line.environment for line in lines],
            "task": [line.task for line in lines],
            "sample": [line.sample for line in lines],
            "outcome": [line.outcome for line in lines],
            "score": [line.score for line in lines],
            "steps": [line.steps for line in lines],
            "invalid": [line.invalid for line in lines],
            "thought": [line.thought for line in lines],
            "augmented": [line.augmented for line in lines],
            "tokens": [sum(line.answers) for line in lines],
            "why": [line.why for line in lines],
        },
    }
