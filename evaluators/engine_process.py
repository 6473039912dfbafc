"""The process that holds one replica of an engine: settings in, then requests in and completions out.

Started by evaluators/engines/replicas.py, which gives it its devices. It ends with its parent.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from evaluators.engine import REPLICAS, EngineDied, EngineError, EngineSettings, Request, engine_module
from evaluators.pipe import die_with_parent, frame, private_output, read_message


def requests(stream: BinaryIO) -> Iterator[Request]:
    """What the parent sends, until it says that there is no more."""
    while (body := read_message(stream)) is not None:
        request = pickle.loads(body)
        if request is None:
            return
        yield request


def serve(answers: BinaryIO) -> None:
    def tell(kind: str, value: Any) -> None:
        answers.write(frame(pickle.dumps((kind, value))))
        answers.flush()

    name, settings = pickle.loads(read_message(sys.stdin.buffer) or b"")
    options = {key: value for key, value in settings.options.items() if key != REPLICAS}
    try:
        engine = engine_module(name).load(replace(settings, options=options))
    except EngineError as error:
        tell("error", (str(error), error.cause))
        return
    tell("ready", engine.context_tokens)
    try:
        for completion in engine.generate(requests(sys.stdin.buffer), lambda: False):
            tell("completion", completion)
        tell("done", None)
    except EngineDied as error:
        tell("died", str(error))
    finally:
        engine.close()


def first_message(name: str, settings: EngineSettings) -> bytes:
    return frame(pickle.dumps((name, settings)))


if __name__ == "__main__":
    die_with_parent()
    serve(private_output())
