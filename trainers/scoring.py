"""Judging a batch of completions with the benchmarks' own scorers, in processes with limits.

The pool is the evaluator's (evaluators/scorer_pool.py): a scorer that hangs is killed and its completion is
"grader failed", so a step waits for its scorers' limits and never longer. All programs that judge one completion share
a limit of time: a program that sleeps a little less than each of its tests allows has not passed those that were not
reached.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from evaluators import benchmarks, scorer_pool, scorer_process
from evaluators.benchmark import Item, Outcome, Score

MOST_WORKERS = 16
CODE_SECONDS = 120.0  # all programs that judge one completion, and again all that find its share of tests
Task = tuple[str, Item, str, bool]  # benchmark, item, completion, truncated


def workers(cpus_per_task: int | None) -> int:
    """Scorer processes of one rank: its CPUs less one for the trainer."""
    cpus = cpus_per_task or len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(MOST_WORKERS, cpus - 1))


def is_procedural(name: str) -> bool:
    """Whether the items are computed: such scorers are small bounded code of ours, judged where they are asked."""
    source = benchmarks.get(name).source
    return source.hub is None and source.folder is None


def _directly(task: Task) -> Score:
    answer = scorer_process.judge(*task)
    return Score(answer["value"], Outcome(answer["outcome"]), answer["extracted"], answer["why"])


class PooledScorer:
    """Scores batches; call `close` at the end. Its processes start when they are first needed."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool: scorer_pool.ScorerPool | None = None

    def __call__(self, tasks: Sequence[Task]) -> list[Score]:
        """The scores in the order of the tasks; procedural ones are judged while the others run."""
        scores: list[Score | None] = [None] * len(tasks)
        left = threading.Semaphore(0)
        pooled = [place for place, task in enumerate(tasks) if not is_procedural(task[0])]
        if pooled and self._pool is None:
            self._pool = scorer_pool.ScorerPool(self._count, code_s=CODE_SECONDS)
        for place in pooled:

            def done(score: Score, place: int = place) -> None:
                scores[place] = score
                left.release()

            assert self._pool is not None
            self._pool.submit(scorer_pool.Task(*tasks[place], done))
        for place, task in enumerate(tasks):
            if is_procedural(task[0]):
                scores[place] = _directly(task)
        for _ in pooled:
            while not left.acquire(timeout=1.0):
                assert self._pool is not None
                self._pool.check()
        return [score for score in scores if score is not None]

    def close(self) -> None:
        if self._pool is not None:
            self._pool.abandon()


def share_of_tests(
    name: str, item: Item, text: str, truncated: bool, score: Score, seconds: float = CODE_SECONDS
) -> float | None:
    """Partial credit: the share of a program's tests that pass within `seconds`; elsewhere the score itself."""
    from evaluators.sandbox import judgement

    with judgement.within(seconds):
        return _share_of_tests(name, item, text, truncated, score)


def _share_of_tests(name: str, item: Item, text: str, truncated: bool, score: Score) -> float | None:
    benchmark = benchmarks.get(name)
    if score.value is None or score.value == 1.0:
        return score.value
    if hasattr(benchmark, "share"):  # a benchmark may say it itself
        share: float | None = benchmark.share(item, text)
        return share
    if not hasattr(benchmark, "programs"):
        return score.value
    from evaluators.benchmarks._code import share_passed
    from evaluators.scoring import code

    solution = code.python_code(text, truncated=truncated)
    if solution is None:
        return score.value
    sandbox = benchmark.sandbox()
    return share_passed([sandbox.run(program) for program in benchmark.programs(item, solution)])
