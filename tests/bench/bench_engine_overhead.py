"""Generated tokens per second: the evaluation job against a bare LLM.generate, in turns, in one process.

    python -m tests.bench.bench_engine_overhead [--rounds 8] [--max-tokens 192] [--samples 2]

Same loaded vLLM, same prompts, samplers and seeds; each side goes first in every other round. The job's time runs
from its first request to its last record on disk, prompts and scoring included; the bare time is that of LLM.generate
alone, which is given the prompts as tokens. A tiny model makes the engine quick and the job's own work heavy: what it
costs beside the engine is a fixed time a request, which is told too, and its share falls with longer answers and
larger models. The thread that drives vLLM has a core of its own, scorers and the rest have the others. Beside the
time on the clock stands that thread's processor time, which other programs on the machine disturb less; of both the
median of the rounds' ratios counts.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluators.engine import Completion, Engine, EngineSettings, Request, load
from evaluators.run import Evaluation
from tests.evaluators.tiny import config, entry, make_model, make_run


@dataclass(frozen=True)
class Timed:
    """What one way took for the same tokens."""

    tokens: int
    seconds: float  # on the clock
    cpu_seconds: float  # of the thread that drives vLLM

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


class Kept:
    """A loaded engine that several jobs use one after the other, and which sees their requests."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.context_tokens = engine.context_tokens
        self.chat, self.plain = engine.chat, engine.plain
        self.requests: list[Request] = []
        self.tokens = 0
        self.began = (0.0, 0.0)

    def generate(self, requests: Iterator[Request], stopping: Callable[[], bool]) -> Iterator[Completion]:
        use_core(DRIVER)  # the scorers have begun elsewhere
        self.requests, self.tokens, self.began = [], 0, (time.perf_counter(), time.thread_time())
        for completion in self._engine.generate(self._noted(requests), stopping):
            self.tokens += completion.completion_tokens
            yield completion

    def _noted(self, requests: Iterator[Request]) -> Iterator[Request]:
        for request in requests:
            self.requests.append(request)
            yield request

    def close(self) -> None:
        pass


CORES = sorted(os.sched_getaffinity(0))
DRIVER, OTHERS = set(CORES[:1]), set(CORES[1:]) or set(CORES)


def use_core(cores: set[int]) -> None:
    """Of this thread, and of the threads and processes that it starts from now on."""
    os.sched_setaffinity(0, cores)


def job(root: Path, settings: dict[str, Any], kept: Kept) -> Timed:
    def use(name: str, options: EngineSettings) -> Engine:
        return kept

    use_core(OTHERS)
    Evaluation(make_run(root, settings), use).run()
    began, cpu = kept.began
    return Timed(kept.tokens, time.perf_counter() - began, time.thread_time() - cpu)


def bare(llm: Any, requests: list[Request]) -> Timed:
    """LLM.generate over these requests, all at once."""
    import vllm

    prompts = [{"prompt_token_ids": request.prompt.tokens.tolist()} for request in requests if request.prompt.tokens]
    params = [
        vllm.SamplingParams(
            temperature=request.temperature, top_p=request.top_p, max_tokens=request.max_tokens, seed=request.seed
        )
        for request in requests
    ]
    use_core(DRIVER)
    began, cpu = time.perf_counter(), time.thread_time()
    outputs = llm.generate(prompts, params, use_tqdm=False)
    seconds, cpu = time.perf_counter() - began, time.thread_time() - cpu
    return Timed(sum(len(output.outputs[0].token_ids) for output in outputs), seconds, cpu)


def measure(root: Path, settings: dict[str, Any], kept: Kept, llm: Any, rounds: int) -> list[tuple[Timed, Timed]]:
    """Both sides of each round; every round asks the same, in a store of its own."""
    job(root / "warm", settings, kept)
    requests = list(kept.requests)
    bare(llm, requests)
    pairs = []
    for number in range(1, rounds + 1):
        theirs = bare(llm, requests) if number % 2 else None
        ours = job(root / f"store-{number}", settings, kept)
        theirs = theirs or bare(llm, requests)
        assert ours.tokens == theirs.tokens, "both must have generated the same"
        pairs.append((ours, theirs))
        print(f"round {number}: {shown(ours, theirs)}", flush=True)
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=192)
    parser.add_argument("--samples", type=int, default=2)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if importlib.util.find_spec("vllm") is None:
        print("vLLM is not installed: not measured")
        return
    entries = [
        entry(name, limit=None, samples=options.samples, max_tokens=options.max_tokens)
        for name in ("mini_math", "mini_code", "mini_knowledge")
    ]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        model = make_model(root / "model", context=256)
        engine = load("vllm", EngineSettings(str(model)))
        kept = Kept(engine)
        settings = config(model, *entries, engine={"name": "vllm"}, seed=1)
        pairs = measure(root, settings, kept, engine._llm, options.rounds)  # type: ignore[attr-defined]
        engine.close()
    report(pairs, len(kept.requests))


def report(pairs: list[tuple[Timed, Timed]], requests: int) -> None:
    clock = sorted(ours.rate / theirs.rate for ours, theirs in pairs)
    cpu = sorted(theirs.cpu_seconds / ours.cpu_seconds for ours, theirs in pairs)
    more = statistics.median(ours.cpu_seconds - theirs.cpu_seconds for ours, theirs in pairs) / requests
    print(
        f"{len(pairs)} rounds of {requests} requests, {pairs[0][0].tokens} tokens; "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n"
        f"tokens a second, median of ratios: {statistics.median(clock):.3f} ({clock[0]:.3f} to {clock[-1]:.3f})\n"
        f"processor time of the driving thread, median of ratios: {statistics.median(cpu):.3f} "
        f"({cpu[0]:.3f} to {cpu[-1]:.3f}); {1000 * more:.2f} ms more a request\n"
        "target of both: at least 0.97"
    )


def shown(ours: Timed, theirs: Timed) -> str:
    return (
        f"job {ours.rate:,.0f}, LLM.generate {theirs.rate:,.0f} tokens/s, ratio {ours.rate / theirs.rate:.3f}; "
        f"driving thread {ours.cpu_seconds:.2f} and {theirs.cpu_seconds:.2f} s of processor, "
        f"ratio {theirs.cpu_seconds / ours.cpu_seconds:.3f}"
    )


if __name__ == "__main__":
    main()
