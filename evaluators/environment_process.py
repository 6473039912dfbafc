"""The process that holds environments for `evaluators.environment_pool`: requests on stdin, answers on a private pipe.

An environment that raises has failed for this episode; the others of the process go on.
"""

from __future__ import annotations

import json
import pickle
import random
import sys
import traceback
from typing import Any

from evaluators.environment import Environment, Observation
from evaluators.environments import make
from evaluators.pipe import die_with_parent, frame, private_output, read_message
from manager.errors import UserError


class Holder:
    """The environments of this process, made when they are first used."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self._name = name
        self._options = options
        self._made: dict[int, Environment] = {}

    def answer(self, index: int, call: str, arguments: list[Any]) -> Any:
        """One request to one environment, as JSON values."""
        try:
            if index not in self._made:
                self._made[index] = make(self._name, **self._options)
            return _answer(self._made[index], call, arguments)
        except UserError as e:
            return {"user_error": str(e)}
        except Exception as error:  # noqa: BLE001  (an episode's failure, kept with its cause)
            last = traceback.extract_tb(error.__traceback__)[-1]
            self._made.pop(index, None)  # its world may be half changed
            return {"failure": f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"[:2000]}


def _answer(environment: Environment, call: str, arguments: list[Any]) -> Any:
    if call == "reset":
        text = environment.reset(*arguments)
        return _shown(environment, Observation(text, environment.done, True))
    if call == "step":
        return _shown(environment, environment.step(*arguments))
    if call == "augment":
        state, epsilon, seed = arguments
        return environment.augment(state, epsilon, random.Random(seed))
    if call == "facts":
        return {
            "instruction": environment.instruction(),
            "cap": environment.cap,
            "version": environment.version,
            "tasks": {split: environment.task_count(split) for split in ("train", "test")},
        }
    if call in ("admissible", "oracle"):
        return getattr(environment, call)()
    raise ValueError(f"no call {call!r}")


def _shown(environment: Environment, observation: Observation) -> dict[str, Any]:
    return {
        "text": observation.text,
        "done": observation.done,
        "valid": observation.valid,
        "score": environment.score,
        "success": environment.success,
        "steps": environment.steps,
        "invalid": environment.invalid,
    }


def main() -> None:
    die_with_parent()
    answers = private_output()
    name, options = pickle.loads(read_message(sys.stdin.buffer) or b"")
    holder = Holder(name, options)
    while (body := read_message(sys.stdin.buffer)) is not None:
        replies = [holder.answer(index, call, arguments) for index, call, arguments in pickle.loads(body)]
        answers.write(frame(json.dumps(replies).encode()))
        answers.flush()


if __name__ == "__main__":
    main()
