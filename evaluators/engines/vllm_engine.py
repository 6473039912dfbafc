"""The vLLM engine: one LLM, fed as it has room, completions out as they finish. The only importer of vllm here.

Options of a sweep's `engine:` go to vLLM unchanged. On a CPU build it runs in this process; on GPUs vLLM
starts processes of its own, and a guard ends them should this one be killed.
"""

from __future__ import annotations

import importlib.metadata
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from evaluators.engine import (
    LATER,
    Completion,
    Ended,
    EngineDied,
    EngineError,
    EngineSettings,
    Prompt,
    Request,
    check_model_path,
    first_line,
)
from evaluators.guard import Guard
from evaluators.memory import check_fits
from evaluators.prompts import chat_prompt, plain_prompt

# How many requests vLLM holds at a time, for each it can run at once: never idle, and little is held by one
# replica at the end while another has nothing to do.
WINDOW = 2
WATCH_SECONDS = 1.0
CPU_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process: nothing can outlive it
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; unset it takes nearly all memory
    "TORCHDYNAMO_DISABLE": "1",  # no compiler is needed
}
CPU_OPTIONS = {
    "distributed_executor_backend": "uni",
    "enforce_eager": True,
    "dtype": "float32",
    # With seeds, a prompt that is prefilled in parts ends the engine: CPU generators cannot be set back.
    "enable_chunked_prefill": False,
}
GPU_ENVIRONMENT = {
    # Children that are started afresh carry the guard's mark in their environment; forked ones would not.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}
QUIET = {"VLLM_LOGGING_LEVEL": "WARNING", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


def is_cpu_build() -> bool:
    """Whether the vLLM that is installed is the one for CPUs; told without importing it."""
    try:
        importlib.metadata.distribution("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def load(settings: EngineSettings) -> VllmEngine:
    """An LLM with the model loaded; whatever vLLM has against it is told in one line."""
    check_model_path(settings.model)
    cpu = is_cpu_build()
    for name, value in {**QUIET, **(CPU_ENVIRONMENT if cpu else GPU_ENVIRONMENT)}.items():
        os.environ.setdefault(name, value)
    try:
        import vllm
    except ImportError as error:
        message = f"engine vllm: {first_line(error)}; install the vllm extra, or use `engine: transformers`"
        raise EngineError(message, cause="engine_missing") from error
    options = {"seed": settings.seed % 2**31, **(_cpu_options(settings.options) if cpu else {}), **settings.options}
    if not cpu:
        memory = vllm.platforms.current_platform.get_device_total_memory()
        check_fits(settings.model, memory, options, settings.revision)
    guard = Guard()
    try:
        llm = vllm.LLM(model=settings.model, revision=settings.revision, **options)
    except Exception as error:  # (from config to CUDA anything can fail; all of it is told)
        guard.close()
        raise EngineError(f"{settings.model}: vLLM cannot load it: {first_line(error)}", cause="model") from error
    return VllmEngine(llm, vllm, settings.model, guard)


def _cpu_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a CPU build needs; a model in parts is held by a process for each, with cores of its own."""
    parts = int(options.get("tensor_parallel_size", 1)) * int(options.get("pipeline_parallel_size", 1))
    if parts == 1:
        return CPU_OPTIONS
    cores = sorted(os.sched_getaffinity(0))
    shares = [cores[part::parts] or cores for part in range(parts)]
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "|".join(",".join(map(str, share)) for share in shares))
    return {**CPU_OPTIONS, "distributed_executor_backend": "mp"}


class VllmEngine:
    """One LLM. Requests are kept in vLLM's own order: first come, first served."""

    def __init__(self, llm: Any, vllm: Any, name: str, guard: Guard) -> None:
        self._llm, self._vllm, self._name, self._guard = llm, vllm, name, guard
        self._tokenizer = llm.get_tokenizer()
        self.context_tokens: int | None = llm.model_config.max_model_len
        self._window = WINDOW * llm.llm_engine.vllm_config.scheduler_config.max_num_seqs
        self._count = 0
        self._closed = threading.Event()
        if hasattr(llm.llm_engine.engine_core, "outputs_queue"):
            threading.Thread(target=self._watch_core, args=(llm.llm_engine.engine_core,), daemon=True).start()

    def _watch_core(self, core: Any) -> None:
        """vLLM notices that its engine process was killed, but leaves whoever waits for output waiting."""
        while not self._closed.wait(WATCH_SECONDS):
            if core.resources.engine_dead:
                core.outputs_queue.put_nowait(RuntimeError("its engine process ended"))
                return

    def chat(self, messages: Sequence[Mapping[str, str]], thinking: bool | None) -> Prompt:
        return chat_prompt(self._tokenizer, messages, thinking, self._name)

    def plain(self, text: str) -> Prompt:
        return plain_prompt(self._tokenizer, text)

    def generate(self, requests: Iterator[Request], stopping: Callable[[], bool]) -> Iterator[Completion]:
        running: dict[str, Request] = {}
        more = True
        engine = self._llm.llm_engine
        while True:
            while more and len(running) < self._window:
                request = next(requests, None)
                if request is LATER:
                    break
                if request is None:
                    more = False
                else:
                    running[self._add(request)] = request
            if not running:
                return
            if stopping():
                engine.abort_request(list(running), internal=True)
                return
            for output in self._step():
                if output.finished:
                    yield _completion(running.pop(output.request_id), output)

    def _add(self, request: Request) -> str:
        assert request.prompt.tokens is not None
        self._count += 1
        params = self._vllm.SamplingParams(
            temperature=request.temperature,
            top_p=request.top_p,
            max_tokens=request.max_tokens,
            seed=request.seed,
            stop=list(request.stop),
            output_kind=self._vllm.sampling_params.RequestOutputKind.FINAL_ONLY,
        )
        name = str(self._count)
        prompt = {"prompt_token_ids": request.prompt.tokens.tolist()}
        try:
            self._llm.llm_engine.add_request(name, prompt, params)
        except Exception as error:  # (a dead engine shows here too, as whatever it left behind)
            raise EngineDied(f"vLLM refused a request: {first_line(error)}") from error
        return name

    def _step(self) -> list[Any]:
        try:
            outputs: list[Any] = self._llm.llm_engine.step()
        except Exception as error:  # (in one process its bugs are any exception)
            raise EngineDied(f"vLLM: {type(error).__name__}: {first_line(error)}") from error
        return outputs

    def close(self) -> None:
        """Shut vLLM down and give back the device; then nothing is left for the guard."""
        llm, self._llm = self._llm, None
        if llm is None:
            return
        self._closed.set()
        llm.llm_engine.engine_core.shutdown()
        del llm
        self._vllm.distributed.cleanup_dist_env_and_memory()
        self._guard.close()


def _completion(request: Request, output: Any) -> Completion:
    answer = output.outputs[0]
    prompt_tokens = len(output.prompt_token_ids or ())
    if answer.finish_reason not in ("stop", "length"):
        why = f"vLLM ended it with {answer.finish_reason!r}"
        return Completion(request.key, "", Ended.EMPTY, prompt_tokens, len(answer.token_ids), failed=why, again=True)
    ended = Ended.LENGTH if answer.finish_reason == "length" else Ended.STOP if answer.text else Ended.EMPTY
    return Completion(request.key, answer.text, ended, prompt_tokens, len(answer.token_ids))
