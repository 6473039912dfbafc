"""What an engine is: something that holds one model and turns prompts into completions as they finish.

Import-light: the engines themselves are modules of evaluators/engines/, imported by name only when one is
loaded. No engine knows of benchmarks, records or the run directory.
"""

from __future__ import annotations

import hashlib
import importlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

# The name in a sweep -> the module. Modules are not named like the libraries they use.
ENGINES = {"transformers": "hf", "vllm": "vllm_engine", "openai": "openai_endpoint"}
# An iterator of requests that has none now gives this: the engine goes on with what it holds and asks again after the
# next completion. Never given while the engine holds nothing.
LATER: Any = object()
# The option that makes so many engines, each with its own devices, share the requests.
REPLICAS = "data_parallel_size"


class Ended(StrEnum):
    """How a completion ended."""

    STOP = "stop"
    LENGTH = "length"
    EMPTY = "empty"  # it stopped at once, without text


class EngineError(Exception):
    """The engine cannot serve this model or these settings: one line for the user, and its cause."""

    def __init__(self, message: str, *, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


class EngineDied(Exception):
    """The engine stopped working mid-way; what was in flight has no completion. A fresh one may go on."""


@dataclass(frozen=True)
class Prompt:
    """One prompt as the model gets it. `tokens` is None where only the server can count them."""

    text: str
    tokens: array[int] | None
    messages: tuple[Mapping[str, str], ...] = ()
    thinking: bool | None = None  # for a server that applies the template itself


@dataclass(frozen=True)
class Request:
    """One sample to draw. It depends on nothing but what is in here."""

    key: tuple[str, str, int]  # benchmark, item, sample
    prompt: Prompt
    seed: int
    max_tokens: int
    temperature: float
    top_p: float = 1.0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Completion:
    """What came back for a request. `failed` says why nothing did, `again` that asking again may help."""

    key: tuple[str, str, int]
    text: str
    ended: Ended
    prompt_tokens: int | None
    completion_tokens: int
    failed: str = ""
    in_thinking: bool = False  # the prompt ends with an open `<think>`; said by the evaluation, not by an engine
    again: bool = False
    too_long: bool = False  # it failed because the prompt does not fit the context


@dataclass(frozen=True)
class EngineSettings:
    """Which model, and the options that go unchanged to the library that owns them."""

    model: str
    revision: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0


class Engine(Protocol):
    """One loaded model. `close` leaves no process behind and may be called twice."""

    context_tokens: int | None  # prompt and completion together; None where the server does not tell

    def chat(self, messages: Sequence[Mapping[str, str]], thinking: bool | None) -> Prompt:
        """The conversation through the model's chat template; EngineError if it has none."""

    def plain(self, text: str) -> Prompt:
        """Text as it is, for models without a chat template."""

    def generate(self, requests: Iterator[Request], stopping: Callable[[], bool]) -> Iterator[Completion]:
        """Completions as they finish, in any order. Draws requests as it has room; `stopping` ends it."""

    def close(self) -> None:
        """Give back memory, devices and processes."""


def load(name: str, settings: EngineSettings) -> Engine:
    """The engine of that name with its model loaded; EngineError tells why not."""
    if name not in ENGINES:
        raise EngineError(f"engine.name: no engine {name!r}; there are: {', '.join(ENGINES)}", cause="engine_unknown")
    replicas = settings.options.get(REPLICAS, 1)
    if name == "openai" or replicas == 1:
        options = {key: value for key, value in settings.options.items() if key != REPLICAS}
        engine: Engine = engine_module(name).load(replace(settings, options=options))
        return engine
    if not isinstance(replicas, int) or replicas < 1:
        message = f"engine.{REPLICAS}: {replicas!r} is not a whole number of at least 1"
        raise EngineError(message, cause="engine_options")
    found: Engine = importlib.import_module("evaluators.engines.replicas").load(name, settings)
    return found


def over_all_gpus(name: str, options: Mapping[str, Any], gpus: int) -> dict[str, Any]:
    """The options with as many replicas as the job's GPUs have room for, unless they say how many.

    Not part of a job's identity: replicas change when an answer comes, not which.
    """
    each = int(options.get("tensor_parallel_size", 1)) * int(options.get("pipeline_parallel_size", 1))
    if name == "openai" or REPLICAS in options or gpus // each <= 1:
        return dict(options)
    return {**options, REPLICAS: gpus // each}


def engine_module(name: str) -> Any:
    return importlib.import_module(f"evaluators.engines.{ENGINES[name]}")


def check_model_path(model: str) -> None:
    """A local path has to be a model's folder: told before a library takes it for the id of a hub."""
    if model.startswith(("/", "./", "../")) and not (Path(model) / "config.json").is_file():
        raise EngineError(f"{model}: no model here (config.json is missing)", cause="model_missing")


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for messages of one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def sample_seed(seed: int, benchmark: str, item: str, sample: int) -> int:
    """The seed of one sample, a pure function of what it is: 31 bits, which every engine takes."""
    text = f"{seed}\0{benchmark}\0{item}\0{sample}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
