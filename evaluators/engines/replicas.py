"""Several replicas of an engine on one machine, each a process with its own devices; requests go where room is.

Data parallel without a word between the replicas: each has the whole model. If one dies, all are ended.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from evaluators.engine import LATER, REPLICAS, Completion, EngineDied, EngineError, EngineSettings, Prompt, Request
from evaluators.engine_process import first_message
from evaluators.engines.hf import load_tokenizer
from evaluators.pipe import child_environment, frame, read_message
from evaluators.prompts import chat_prompt, plain_prompt

ENDED = ("ended", None)
LATER_SECONDS = 0.005  # until the source is asked again that had no request
GRACE_SECONDS = 30.0  # for a clean shutdown of the device


def device_shares(replicas: int, each: int, visible: str | None) -> list[str]:
    """CUDA_VISIBLE_DEVICES of each replica: consecutive shares of what this process may use."""
    wanted = replicas * each
    devices = visible.split(",") if visible else [str(number) for number in range(wanted)]
    if len(devices) < wanted:
        raise EngineError(
            f"engine: {REPLICAS} {replicas} x {each} GPUs a replica = {wanted}, but {len(devices)} are visible",
            cause="engine_options",
        )
    return [",".join(devices[place * each : (place + 1) * each]) for place in range(replicas)]


def load(name: str, settings: EngineSettings) -> Replicas:
    """All replicas with their model loaded, side by side; the first that cannot is told."""
    tokenizer = load_tokenizer(settings.model, settings.revision)
    options = settings.options
    each = int(options.get("tensor_parallel_size", 1)) * int(options.get("pipeline_parallel_size", 1))
    shares = device_shares(options[REPLICAS], each, os.environ.get("CUDA_VISIBLE_DEVICES"))
    engine = Replicas([_start(name, settings, share) for share in shares], tokenizer, settings.model)
    try:
        engine.wait_until_ready()
    except BaseException:
        engine.close()
        raise
    return engine


def _start(name: str, settings: EngineSettings, devices: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "evaluators.engine_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=child_environment(CUDA_VISIBLE_DEVICES=devices),
    )
    assert process.stdin is not None
    process.stdin.write(first_message(name, settings))
    process.stdin.flush()
    return process


class Replicas:
    """The processes; a thread each that writes requests, one each that reads what comes back."""

    def __init__(self, processes: list[subprocess.Popen[bytes]], tokenizer: Any, name: str) -> None:
        self._processes, self._tokenizer, self._name = processes, tokenizer, name
        self._answers: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self.context_tokens: int | None = None
        self._complete = False
        for process in processes:
            threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def wait_until_ready(self) -> None:
        for _ in self._processes:
            kind, value = self._answers.get()
            if kind == "error":
                raise EngineError(value[0], cause=value[1])
            if kind != "ready":
                raise EngineDied("a replica ended while it loaded the model")
            self.context_tokens = value

    def chat(self, messages: Sequence[Mapping[str, str]], thinking: bool | None) -> Prompt:
        return chat_prompt(self._tokenizer, messages, thinking, self._name)

    def plain(self, text: str) -> Prompt:
        return plain_prompt(self._tokenizer, text)

    def generate(self, requests: Iterator[Request], stopping: Callable[[], bool]) -> Iterator[Completion]:
        for process in self._processes:
            threading.Thread(target=self._write, args=(process, requests), daemon=True).start()
        working = len(self._processes)
        while working:
            if stopping():
                return
            try:
                kind, value = self._answers.get(timeout=0.5)
            except queue.Empty:
                continue  # look whether to stop
            if kind == "completion":
                yield value
            elif kind == "done":
                working -= 1
            elif kind == "raised":
                raise value
            elif working and kind in ("died", "ended"):
                raise EngineDied(value or "a replica's process ended")
        self._complete = True

    def _write(self, process: subprocess.Popen[bytes], requests: Iterator[Request]) -> None:
        """Requests for one replica: the pipe is full when it has no room, and the next goes elsewhere."""
        assert process.stdin is not None
        try:
            while True:
                with self._lock:
                    request = next(requests, None)
                if request is LATER:
                    time.sleep(LATER_SECONDS)
                    continue
                process.stdin.write(frame(pickle.dumps(request)))
                process.stdin.flush()
                if request is None:
                    return
        except (BrokenPipeError, ValueError):
            return  # it ended, or was closed; the reader tells
        except Exception as error:  # noqa: BLE001  (from making the request: the job's thread raises it)
            self._answers.put(("raised", error))

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        finished = False
        while (body := read_message(process.stdout)) is not None:
            answer = pickle.loads(body)
            finished = finished or answer[0] in ("done", "error", "died")
            self._answers.put(answer)
        if not finished:
            self._answers.put(ENDED)

    def close(self) -> None:
        """Replicas that are done end by themselves; others are ended, with all that they started."""
        for process in self._processes:
            if self._complete:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=GRACE_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._processes = []
