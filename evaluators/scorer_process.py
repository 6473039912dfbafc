"""The process that runs scorers: reads tasks on stdin, answers on a private pipe, has a memory limit.

Started by evaluators/scorer_pool.py, which bounds its time and replaces it when it hangs or dies. Nothing a
scorer prints can reach the answers: standard output is turned to standard error before any is imported.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import sys
import traceback
from typing import Any

from evaluators import benchmarks
from evaluators.benchmark import Outcome, Score
from evaluators.pipe import die_with_parent, frame, private_output, read_message
from evaluators.sandbox import judgement


def bound_memory(benchmark: str, limit: int) -> None:
    """Address space for the scorer itself. Where it runs programs, the sandbox bounds these, and better:

    the limit would pass to them, and a program with a thousand threads maps more than it uses.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard if benchmarks.get(benchmark).domain == "code" else limit, hard))


def judge(benchmark: str, item: Any, completion: str, truncated: bool) -> dict[str, Any]:
    """The score as JSON values; a scorer that raises is a grader that failed, not a wrong answer."""
    try:
        score = benchmarks.get(benchmark).score(item, completion, truncated=truncated)
    except Exception as error:  # noqa: BLE001  (any failure of a scorer is a result of its own, with its cause kept)
        last = traceback.extract_tb(error.__traceback__)[-1]
        why = f"{type(error).__name__}: {error} ({os.path.basename(last.filename)}:{last.lineno})"
        score = Score(None, Outcome.GRADER_FAILED, None, why[:2000])
    return {"value": score.value, "outcome": score.outcome, "extracted": score.extracted, "why": score.why}


def main(memory_gb: float, code_s: float, names: list[str]) -> None:
    die_with_parent()
    limit = int(memory_gb * 2**30)
    answers = private_output()
    for name in names:  # while the engine loads, so that the first answers do not wait for imports
        benchmarks.get(name)
    while (body := read_message(sys.stdin.buffer)) is not None:
        task = pickle.loads(body)
        bound_memory(task[0], limit)
        with judgement.within(code_s):
            answer = judge(*task)
        answers.write(frame(json.dumps(answer).encode()))
        answers.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
