"""Generated tokens per second: the evaluation job against a bare LLM.generate, in turns, in one process.

    python -m tests.bench.bench_engine_overhead [--rounds 6] [--max-tokens 192] [--samples 2]

Same loaded vLLM, same prompts, samplers and seeds. The job's time runs from its first request to its last
record on disk, prompts and scoring included; the bare time is that of LLM.generate alone. A tiny model makes
the engine quick and the job's own work heavy: with a real model its share is smaller. Beside the time on the
clock stands the processor time of the thread that drives vLLM, which other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
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


def job(root: Path, settings: dict[str, Any], kept: Kept) -> Timed:
    def use(name: str, options: EngineSettings) -> Engine:
        return kept

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
    began, cpu = time.perf_counter(), time.thread_time()
    outputs = llm.generate(prompts, params, use_tqdm=False)
    seconds, cpu = time.perf_counter() - began, time.thread_time() - cpu
    return Timed(sum(len(output.outputs[0].token_ids) for output in outputs), seconds, cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--max-tokens", type=int, default=192)
    parser.add_argument("--samples", type=int, default=2)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if importlib.util.find_spec("vllm") is None:
        print("vLLM is not installed: not measured")
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        model = make_model(root / "model", context=256)
        engine = load("vllm", EngineSettings(str(model)))
        kept = Kept(engine)
        pairs = []
        for number in range(options.rounds + 1):
            entries = [
                entry(name, limit=None, samples=options.samples, max_tokens=options.max_tokens)
                for name in ("mini_math", "mini_code", "mini_knowledge")
            ]
            settings = config(model, *entries, engine={"name": "vllm"}, seed=number)
            ours = job(root / "store", settings, kept)
            theirs = bare(engine._llm, kept.requests)  # type: ignore[attr-defined]
            assert ours.tokens == theirs.tokens, "both must have generated the same"
            if number:  # the first round warms up
                pairs.append((ours, theirs))
                print(f"round {number}: {len(kept.requests)} requests, {ours.tokens} tokens; {shown(ours, theirs)}")
        engine.close()
    total = [
        Timed(*(sum(column) for column in zip(*map(astuple, side), strict=True))) for side in zip(*pairs, strict=True)
    ]
    print(f"all rounds: {shown(*total)} (target at least 0.97)")


def shown(ours: Timed, theirs: Timed) -> str:
    return (
        f"job {ours.rate:,.0f}, LLM.generate {theirs.rate:,.0f} tokens/s, ratio {ours.rate / theirs.rate:.3f}; "
        f"driving thread {ours.cpu_seconds:.2f} and {theirs.cpu_seconds:.2f} s of processor, "
        f"ratio {theirs.cpu_seconds / ours.cpu_seconds:.3f}"
    )


if __name__ == "__main__":
    main()
