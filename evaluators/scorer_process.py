"""The process that runs scorers: reads tasks on stdin, answers on a private pipe, has a memory limit.

Started by evaluators/scorer_pool.py, which bounds its time and replaces it when it hangs or dies. Nothing a
scorer prints can reach the answers: standard output is turned to standard error before any is imported.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import resource
import signal
import struct
import sys
import traceback
from typing import Any, BinaryIO

from evaluators import benchmarks
from evaluators.benchmark import Outcome, Score

PR_SET_PDEATHSIG = 1


def read_message(stream: BinaryIO) -> bytes | None:
    """One length-prefixed message; None at the end of the stream."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    (length,) = struct.unpack("<Q", head)
    return stream.read(length)


def frame(body: bytes) -> bytes:
    return struct.pack("<Q", len(body)) + body


def judge(benchmark: str, item: Any, completion: str, truncated: bool) -> dict[str, Any]:
    """The score as JSON values; a scorer that raises is a grader that failed, not a wrong answer."""
    try:
        score = benchmarks.get(benchmark).score(item, completion, truncated=truncated)
    except Exception as error:  # noqa: BLE001  (any failure of a scorer is a result of its own, with its cause kept)
        last = traceback.extract_tb(error.__traceback__)[-1]
        why = f"{type(error).__name__}: {error} ({os.path.basename(last.filename)}:{last.lineno})"
        score = Score(None, Outcome.GRADER_FAILED, None, why[:2000])
    return {"value": score.value, "outcome": score.outcome, "extracted": score.extracted, "why": score.why}


def main(memory_gb: float) -> None:
    # Ends with its parent even while a scorer hangs.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    limit = int(memory_gb * 2**30)
    # The soft limit only: a sandbox started from here sets limits of its own.
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while (body := read_message(sys.stdin.buffer)) is not None:
        answer = judge(*pickle.loads(body))
        answers.write(frame(json.dumps(answer).encode()))
        answers.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]))
