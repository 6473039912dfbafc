"""Steps a second and memory of each environment: one alone, and 64 side by side in one process.

Run: python -m tests.bench.environments [NAME ...]. Random admissible actions; an environment whose package is not
installed is named and left out. ScienceWorld runs 8 side by side: each holds a simulated house in the JVM.
"""

from __future__ import annotations

import random
import sys
import time

import psutil

from evaluators.environment import Environment
from evaluators.environments import make, names
from manager.errors import UserError

SECONDS = 3.0
SIDE_BY_SIDE = {"scienceworld": 8, "alfworld": 8}


def _memory_mb() -> float:
    """This process and its children (a JVM)."""
    process = psutil.Process()
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / 2**20


def _play(environments: list[Environment], rng: random.Random) -> tuple[float, float, int]:
    """(steps a second, resets a second, characters of a state), over all of them in turn."""
    steps = resets = characters = 0
    stepping = resetting = 0.0
    deadline = time.perf_counter() + SECONDS
    for environment in environments:
        environment.close()
    while time.perf_counter() < deadline or not steps:
        for environment in environments:
            start = time.perf_counter()
            if environment.done:
                characters += len(environment.reset(rng.randrange(20), "train"))
                resets += 1
                resetting += time.perf_counter() - start
                continue
            action = rng.choice(environment.admissible() or ["none"]).replace("<words>", "red")
            environment.step(action.replace("<answer>", "1"))
            steps += 1
            stepping += time.perf_counter() - start
    return steps / stepping, resets / resetting, characters // resets


def main(chosen: list[str]) -> None:
    heads = f"{'steps/s: one':>12} {'64 in turn':>11} {'ratio':>6} {'resets/s':>9} {'chars':>6} {'MB each':>8}"
    print(f"{'environment':14} {heads}")
    for name in chosen or names():
        try:
            one = make(name)
        except UserError as e:
            print(f"{name:14} left out: {e}")
            continue
        rng = random.Random(0)
        alone, resets, characters = _play([one], rng)
        before = _memory_mb()
        many = [make(name) for _ in range(SIDE_BY_SIDE.get(name, 64))]
        together, _, _ = _play(many, rng)
        each = (_memory_mb() - before) / len(many)
        print(
            f"{name:14} {alone:12.0f} {together:11.0f} {together / alone:6.2f} {resets:9.1f} {characters:6} {each:8.2f}"
            f"{'' if len(many) == 64 else f'   ({len(many)} in turn)'}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
