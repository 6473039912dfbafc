"""Steps a second and memory of each environment: one alone, and 64 side by side in one process.

Run: python -m tests.bench.bench_environments [NAME ...]. Random admissible actions; an environment whose package is not
installed is named and left out. `pool` is the same number of environments in an EnvironmentPool, one process a core,
stepped together.
"""

from __future__ import annotations

import random
import sys
import time

import psutil

from evaluators.environment import Environment
from evaluators.environment_pool import EnvironmentPool
from evaluators.environments import make, names
from manager.errors import UserError

SECONDS = 3.0
SIDE_BY_SIDE = 64


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
            start = time.perf_counter()
            environment.step(action.replace("<answer>", "1"))
            steps += 1
            stepping += time.perf_counter() - start
    return steps / stepping, resets / resetting, characters // resets


def _pooled(name: str, count: int, rng: random.Random) -> float:
    """Steps a second of a pool, resets and the listing of actions left out of the time."""
    pool = EnvironmentPool(name, count=count)
    shown = pool.reset({index: (rng.randrange(20), "train") for index in range(count)})
    steps, stepping = 0, 0.0
    deadline = time.perf_counter() + SECONDS
    while time.perf_counter() < deadline or not steps:
        over = [index for index in range(count) if shown[index].done]
        if over:
            shown.update(pool.reset({index: (rng.randrange(20), "train") for index in over}))
        actions = {index: rng.choice(found or ["none"]) for index, found in pool.admissible(range(count)).items()}
        start = time.perf_counter()
        shown.update(pool.step({i: a.replace("<words>", "red").replace("<answer>", "1") for i, a in actions.items()}))
        stepping += time.perf_counter() - start
        steps += count
    pool.close()
    return steps / stepping


def main(chosen: list[str]) -> None:
    columns = (("steps/s: one", 12), ("64 in turn", 11), ("64 pool", 8), ("ratio", 6), ("resets/s", 9), ("chars", 6))
    heads = " ".join(f"{head:>{width}}" for head, width in (*columns, ("MB each", 8)))
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
        many = [make(name) for _ in range(SIDE_BY_SIDE)]
        together, _, _ = _play(many, rng)
        pooled = _pooled(name, len(many), rng)
        each = (_memory_mb() - before) / len(many)
        figures = f"{alone:12.0f} {together:11.0f} {pooled:8.0f} {pooled / together:6.2f} {resets:9.1f} {characters:6}"
        print(f"{name:14} {figures} {each:8.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
