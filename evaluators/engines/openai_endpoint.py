"""The endpoint engine: an OpenAI-compatible server does the generating.

The only module that speaks HTTP to one. Bounded concurrency, retries with growing pauses, nothing kept in the
server. Prompts are not tokenized here: token counts are the server's.
"""

from __future__ import annotations

import os
import queue
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from evaluators.engine import (
    LATER,
    Completion,
    Ended,
    EngineDied,
    EngineError,
    EngineSettings,
    Prompt,
    Request,
    first_line,
)

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
TOO_LONG = ("context length", "context_length", "maximum context", "too many tokens", "longer than the maximum")
LONGEST_PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class Options:
    """What a sweep's `engine:` may say for an endpoint. The key itself is never in a config."""

    base_url: str  # up to and with /v1
    model: str | None = None  # the name at the server; default: the model of the job
    api_key_env: str = "OPENAI_API_KEY"  # the environment variable that holds the key
    concurrency: int = 64
    retries: int = 6
    timeout_s: float = 600.0
    pause_s: float = 1.0  # before the first retry; doubles with each
    context_tokens: int | None = None
    extra_body: Mapping[str, Any] | None = None  # sent with every request, unchanged


def load(settings: EngineSettings) -> EndpointEngine:
    """Ask the server whether it is there and has the model."""
    known = Options.__dataclass_fields__
    unknown = sorted(set(settings.options) - set(known))
    if unknown:
        message = f"engine: unknown {', '.join(unknown)}; openai takes: {', '.join(known)}"
        raise EngineError(message, cause="engine_options")
    if "base_url" not in settings.options:
        raise EngineError("engine.base_url is missing: the server's address up to /v1", cause="engine_options")
    engine = EndpointEngine(Options(**settings.options), settings.model)
    engine.check()
    return engine


class EndpointEngine:
    """Threads that each hold one request at the server."""

    def __init__(self, options: Options, model: str) -> None:
        self.context_tokens = options.context_tokens
        self._options, self._model = options, options.model or model
        key = os.environ.get(options.api_key_env)
        limits = httpx.Limits(max_connections=options.concurrency)
        self._client = httpx.Client(
            base_url=options.base_url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(options.timeout_s, connect=30.0),
            limits=limits,
        )

    def check(self) -> None:
        """The list of models: a wrong address, key or name is told before anything is generated."""
        try:
            answer = self._client.get("models")
        except httpx.HTTPError as error:
            raise EngineError(
                f"engine.base_url: no answer from {self._options.base_url}: {first_line(error)}",
                cause="endpoint",
            ) from error
        if answer.status_code in (401, 403):
            raise EngineError(
                f"engine: the server refuses the key (HTTP {answer.status_code}); set {self._options.api_key_env}",
                cause="endpoint_key",
            )
        if answer.status_code == 200:
            names = [entry.get("id") for entry in answer.json().get("data", [])]
            if names and self._model not in names:
                raise EngineError(
                    f"engine.model: the server has no {self._model!r}; it has: {', '.join(map(str, names[:10]))}",
                    cause="endpoint_model",
                )

    def chat(self, messages: Sequence[Mapping[str, str]], thinking: bool | None) -> Prompt:
        text = "\n".join(f"{message['role']}: {message['content']}" for message in messages)
        return Prompt(text, None, tuple(messages), thinking)

    def plain(self, text: str) -> Prompt:
        return Prompt(text, None)

    def close(self) -> None:
        self._client.close()

    def generate(self, requests: Iterator[Request], stopping: Callable[[], bool]) -> Iterator[Completion]:
        """As many requests at the server as `concurrency` allows; the main thread alone draws requests."""
        todo: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        done: queue.SimpleQueue[Completion | Exception] = queue.SimpleQueue()
        halt = threading.Event()
        threads = [
            threading.Thread(target=self._serve, args=(todo, done, halt), daemon=True)
            for _ in range(self._options.concurrency)
        ]
        for thread in threads:
            thread.start()
        try:
            yield from self._exchange(requests, todo, done, stopping)
        finally:
            halt.set()
            for _ in threads:
                todo.put(None)
            if not stopping():
                for thread in threads:
                    thread.join()

    def _exchange(
        self,
        requests: Iterator[Request],
        todo: queue.SimpleQueue[Request | None],
        done: queue.SimpleQueue[Completion | Exception],
        stopping: Callable[[], bool],
    ) -> Iterator[Completion]:
        out, more = 0, True
        while not stopping():
            while more and out < self._options.concurrency:
                request = next(requests, None)
                if request is LATER:
                    break
                if request is None:
                    more = False
                else:
                    todo.put(request)
                    out += 1
            if not out:
                return
            try:
                answer = done.get(timeout=0.5)
            except queue.Empty:
                continue  # look whether to stop
            if isinstance(answer, Exception):
                raise answer
            out -= 1
            yield answer

    def _serve(
        self,
        todo: queue.SimpleQueue[Request | None],
        done: queue.SimpleQueue[Completion | Exception],
        halt: threading.Event,
    ) -> None:
        while (request := todo.get()) is not None and not halt.is_set():
            try:
                done.put(self._ask(request, halt))
            except Exception as error:  # noqa: BLE001  (whatever it is, the job's thread raises it)
                done.put(error)

    def _body(self, request: Request) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {
            "model": self._model,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
        }
        if request.stop:
            body["stop"] = list(request.stop)
        body |= self._options.extra_body or {}
        if not request.prompt.messages:
            return "completions", body | {"prompt": request.prompt.text}
        if request.prompt.thinking is not None:
            body["chat_template_kwargs"] = {"enable_thinking": request.prompt.thinking}
        return "chat/completions", body | {"messages": list(request.prompt.messages)}

    def _ask(self, request: Request, halt: threading.Event) -> Completion:
        """One request with its retries. A server that cannot be reached at all has died."""
        path, body = self._body(request)
        why, unreachable = "", False
        for attempt in range(self._options.retries + 1):
            if attempt and halt.wait(self._pause(attempt)):
                break
            try:
                answer = self._client.post(path, json=body)
            except httpx.HTTPError as error:
                why = f"{type(error).__name__}: {first_line(error)}"
                unreachable = isinstance(error, httpx.ConnectError)
                continue
            unreachable = False
            if answer.status_code == 200:
                return _completion(request, answer)
            why = f"HTTP {answer.status_code}: {answer.text[:300]}"
            if answer.status_code in RETRIED:
                continue
            if answer.status_code in (401, 403, 404):
                raise EngineError(f"engine: {first_line(ValueError(why))}", cause="endpoint")
            return _failed(request, why, too_long=any(mark in why.lower() for mark in TOO_LONG))
        if unreachable:
            raise EngineDied(f"the server cannot be reached: {why}")
        return _failed(request, why, again=True)

    def _pause(self, attempt: int) -> float:
        """Doubling with some chance in it, so that refused requests do not come back all at once."""
        longest = min(LONGEST_PAUSE_SECONDS, self._options.pause_s * 2 ** (attempt - 1))
        return longest * random.uniform(0.5, 1.0)


def _failed(request: Request, why: str, *, too_long: bool = False, again: bool = False) -> Completion:
    return Completion(request.key, "", Ended.EMPTY, None, 0, failed=why or "stopped", again=again, too_long=too_long)


def _completion(request: Request, answer: httpx.Response) -> Completion:
    """What the server said; an answer of another shape is a failure with its beginning."""
    try:
        value = answer.json()
        choice = value["choices"][0]
        message = choice.get("message")
        text = (message.get("content") if message is not None else choice["text"]) or ""
        # Servers with a reasoning parser split it off; scorers expect the whole answer.
        reasoning = (message or {}).get("reasoning_content") or (message or {}).get("reasoning")
        usage = value.get("usage") or {}
    except (ValueError, KeyError, IndexError, AttributeError) as error:
        return _failed(request, f"not an answer: {type(error).__name__}: {answer.text[:200]}")
    if reasoning:
        text = f"<think>{reasoning}</think>{text}"
    cut = choice.get("finish_reason") == "length"
    ended = Ended.LENGTH if cut else Ended.STOP if text else Ended.EMPTY
    return Completion(request.key, text, ended, usage.get("prompt_tokens"), int(usage.get("completion_tokens") or 0))
