"""What it brings to play episodes side by side: one engine, one model, 1 and 64 episodes at once.

    python -m tests.bench.bench_episodes [--episodes 64]

A small random model on the processor plays Sokoban; both play the same episodes, which is checked.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from evaluators import episodes as module
from evaluators.agent import Episode
from tests.evaluators.test_episodes import SMALL, config, entry, make_run
from tests.evaluators.tiny import make_model


def play(root: Path, model: Path, count: int, at_once: int) -> tuple[float, dict[tuple[int, int], Episode]]:
    """Seconds of an evaluation job, engine load and all, and what it played."""
    module.AT_ONCE = at_once
    settings = config(model, entry(**SMALL, episodes=count))
    run = make_run(root / f"at-once-{at_once}", settings)
    began = time.perf_counter()
    module.EpisodeEvaluation(run, 0).run()
    seconds = time.perf_counter() - began
    found = module.EpisodeFiles(run.path / "episodes").read("sokoban")
    return seconds, {(one.task, one.sample): one for one in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        model = make_model(root / "model", context=2048)
        play(root / "warm", model, 2, 1)
        results = {at_once: play(root, model, options.episodes // 2, at_once) for at_once in (1, 64)}
    (alone, first), (together, second) = results[1], results[64]
    same = sum(first[key] == second[key] for key in first)
    print(f"{'episodes a second':<22}{'one at a time':>16}{'64 at once':>14}{'ratio':>9}")
    print(f"{'':<22}{len(first) / alone:>16.2f}{len(second) / together:>14.2f}{alone / together:>9.2f}")
    print(f"{same} of {len(first)} episodes are the same to the token")


if __name__ == "__main__":
    main()
