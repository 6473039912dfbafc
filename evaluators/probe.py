"""The `probe` stage: the two axes of an environment, measured under a base policy.

State information richness: how much text a state is, on the mean over all states that were seen, in characters and
tokens. Planning complexity: how many steps an episode takes, a failure counting as the cap, and the share of episodes
that reach the goal. An episode whose prompt outgrew the context is a failure like any other, and the state that did not
fit is one of its states: without them the longest states and the hardest tasks would be left out. How many there are is
told. Intervals are percentiles of a bootstrap over episodes, whose states are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from evaluators.agent import Episode
from evaluators.episodes import EpisodeJob
from manager.run import Failed, Run

REPLICATES = 2000


def main(run: Run) -> dict[str, Any]:
    """Play, then measure; the summary for result.json."""
    job = EpisodeJob(run)
    job.play()
    count = token_counter(run)
    found = {name: axes(list(job.files.read(name)), job.cap(name), count, run.config["seed"]) for name in job.played}
    for name, values in found.items():
        run.log({f"{name}/{key}": value for key, value in values.items() if isinstance(value, float | int)}, 0)
    return {"environments": found}


def token_counter(run: Run) -> Callable[[str], int] | None:
    """Counts with the policy's own tokenizer; None for an endpoint, whose tokenizer is not here."""
    if run.config["engine"]["name"] == "openai":
        return None
    from evaluators.engines.hf import load_tokenizer

    tokenizer = load_tokenizer(*run.model_path())
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def axes(episodes: Sequence[Episode], cap: int, count: Callable[[str], int] | None, seed: int) -> dict[str, Any]:
    """The axes of one environment with their intervals. An episode that its environment ended is left out, and told."""
    import numpy

    played = [episode for episode in episodes if not episode.failure]
    if not played:
        raise Failed("no episode could be played; see episodes/ for what failed", cause="environment")
    states = numpy.array([len(episode.states) for episode in played], dtype=float)
    characters = numpy.array([sum(map(len, episode.states)) for episode in played], dtype=float)
    lengths = numpy.array([episode.steps if episode.success else cap for episode in played], dtype=float)
    reached = numpy.array([episode.success for episode in played], dtype=float)
    sums = {"chars": (characters, states), "length": (lengths, None), "reach": (reached, None)}
    if count is not None:
        tokens = [sum(map(count, episode.states)) for episode in played]
        sums["tokens"] = (numpy.array(tokens, dtype=float), states)
    draws = numpy.random.default_rng(seed).integers(len(played), size=(REPLICATES, len(played)))
    found: dict[str, Any] = {
        "episodes": len(played),
        "failed": len(episodes) - len(played),
        "too_long": sum(bool(episode.too_long) for episode in played),
        "states": int(states.sum()),
        "cap": cap,
    }
    for name, (values, over) in sums.items():
        below = numpy.ones(len(played)) if over is None else over
        drawn = values[draws].sum(axis=1) / below[draws].sum(axis=1)
        low, high = numpy.quantile(drawn, (0.025, 0.975))
        found |= {
            f"{name}_mean": float(values.sum() / below.sum()), f"{name}_low": float(low), f"{name}_high": float(high)
        }  # fmt: skip
    return found
