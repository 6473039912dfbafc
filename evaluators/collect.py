"""The `collect` stage: trajectories to learn from, by an environment's own plan or by a model, on training tasks.

A row of `trajectories/<environment>.jsonl` is one state-action pair: the prompt that the policy of a trainer will get,
and the answer. The rows are made from the stored episodes when all are played, in the order of the tasks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from evaluators.agent import Episode, messages
from evaluators.episodes import EpisodeJob, Played
from evaluators.summary import mean
from evaluators.worlds import Worlds
from manager.atomic import JsonlWriter
from manager.run import Failed, Run

FOLDER = "trajectories"


def main(run: Run) -> dict[str, Any]:
    """Play, then write the pairs; the summary for result.json."""
    job = EpisodeJob(run)
    job.play()
    return {"environments": {name: _write(run, job, played) for name, played in job.played.items()}}


def _write(run: Run, job: EpisodeJob, played: Played) -> dict[str, Any]:
    """All rows of one environment, put in their place at once."""
    episodes = sorted(job.files.read(played.name), key=lambda episode: (episode.task, episode.sample))
    kept = [episode for episode in episodes if _keep(episode, run.config["keep"])]
    worlds = Worlds(played.environment, played.options, 1)
    instruction = worlds.all[0].instruction
    worlds.close()
    path = run.path / FOLDER / f"{played.name}.jsonl"
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    writer, pairs = JsonlWriter(beside), 0
    for row in _rows(played, kept, instruction, job):
        writer.write(row)
        pairs += 1
    writer.close(durable=True)
    if not pairs:
        raise Failed(
            f"environments.{played.name}: none of {len(episodes)} episodes is kept (keep: {run.config['keep']}); "
            "use policy: oracle, a better model, or keep: all",
            cause="no_trajectories",
        )
    os.replace(beside, path)
    return {
        "episodes": len(episodes),
        "kept": len(kept),
        "failed": sum(bool(episode.failure) for episode in episodes),
        "too_long": sum(bool(episode.too_long) for episode in episodes),
        "pairs": pairs,
        "success": mean(float(episode.success) for episode in episodes if not episode.failure),
        "steps": mean(float(episode.steps) for episode in kept),
    }


def _keep(episode: Episode, keep: str) -> bool:
    return not episode.failure and not episode.too_long and (keep == "all" or episode.success)


def _rows(played: Played, kept: Sequence[Episode], instruction: str, job: EpisodeJob) -> Iterator[dict[str, Any]]:
    """Only steps that could be done: a mistake is nothing to learn from, also within a success."""
    for episode in kept:
        for number, turn in enumerate(episode.turns):
            if turn.valid:
                yield {
                    "environment": played.name,
                    "task": episode.task,
                    "sample": episode.sample,
                    "step": number,
                    "messages": messages(instruction, episode.turns[:number], turn.state, job.settings),
                    "completion": turn.completion,
                    "success": episode.success,
                }
