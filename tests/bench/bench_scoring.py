"""How fast answers are judged and training sets compared. Run: python -m tests.bench.bench_scoring

Prints, side by side: judging by `score_math`, by math-verify in this process (unbounded) and in a fresh
process per answer (the other way to bound it); choices and labels in long answers; and the contamination
check of 40,000 prompts.
"""

from __future__ import annotations

import json
import multiprocessing
import time

from evaluators.benchmarks import get
from evaluators.contamination import BenchmarkIndex, benchmark_texts
from tests.data import DATA

KNOWN = ("gsm8k", "math500", "aime24", "amc23", "pubmedqa", "medqa", "tabfact", "legalbench", "finbench")
PROMPTS = 40_000


def _verify(gold: str, answer: str) -> None:
    from math_verify import parse, verify

    verify(parse(f"${gold}$"), parse(answer))


def _fresh_process(gold: str, answer: str) -> None:
    process = multiprocessing.get_context("fork").Process(target=_verify, args=(gold, answer))
    process.start()
    process.join(10)


def judging() -> None:
    """Answers a second on GSM8K (plain numbers) and on perturbed MATH-500 answers (sympy)."""
    import math_verify  # noqa: F401  (loaded before the forks, so that both sides start warm)

    for name in ("gsm8k", "math500"):
        benchmark = get(name)
        items = list(benchmark.items("test", DATA))
        pairs = [(item, text) for item in items for text in (benchmark.gold(item), benchmark.wrong(item, 0))]
        benchmark.score(get("math500").items("test", DATA).__next__(), "\\boxed{x}")
        start = time.perf_counter()
        for item, text in pairs:
            benchmark.score(item, text)
        ours = len(pairs) / (time.perf_counter() - start)
        sample = pairs[:: max(1, len(pairs) // 100)]
        start = time.perf_counter()
        for item, text in sample:
            _fresh_process(str(item.answer), text)
        fresh = len(sample) / (time.perf_counter() - start)
        start = time.perf_counter()
        for item, text in sample:
            _verify(str(item.answer), text)
        bare = len(sample) / (time.perf_counter() - start)
        print(f"{name}: answers judged a second: ours {ours:.0f}")
        print(f"  math-verify in this process, unbounded {bare:.0f} (ratio {ours / bare:.1f})")
        print(f"  math-verify in a process an answer {fresh:.0f} (ratio {ours / fresh:.1f})")


def choices() -> None:
    """Answers of 6 kB that are judged a second of processor time, where the answer is a letter or a label."""
    reasoning = (
        "The patient presents with fever. Option A is less likely, although it may seem plausible. "
        "If it were viral, we would see a rash. We compute 3 + 4 = 7. "
    ) * 40
    for name in ("medqa", "pubmedqa", "tabfact"):
        benchmark = get(name)
        items = list(benchmark.items("test", DATA))
        pairs = [(item, text) for item in items for text in (benchmark.gold(item), benchmark.wrong(item, 0))]
        start = time.process_time()
        for item, text in pairs:
            benchmark.score(item, f"{reasoning}\n{text}")
        print(f"{name}: answers of 6 kB judged a CPU second: {len(pairs) / (time.process_time() - start):.0f}")


def contamination() -> None:
    """Seconds to index the benchmarks and to compare 40,000 prompts, exact search beside it."""
    assert DATA is not None
    start = time.perf_counter()
    texts = list(benchmark_texts(KNOWN, DATA))
    read = time.perf_counter() - start
    start = time.perf_counter()
    index = BenchmarkIndex(texts)
    indexed = time.perf_counter() - start
    rows = [
        json.loads(line)
        for name in ("gsm8k", "math", "deepscaler", "medqa")
        for line in (DATA / name / "train.jsonl").open(encoding="utf-8")
    ]
    bare = [row.get("question") or row["problem"] for row in rows]
    prompts = [bare[number % len(bare)] for number in range(PROMPTS)]
    start = time.perf_counter()
    report = index.compare(prompts)
    compared = time.perf_counter() - start
    start = time.perf_counter()
    joined = "\n".join(text.text.lower() for text in texts)
    for prompt in prompts[:200]:
        _ = prompt.lower() in joined
    naive = (time.perf_counter() - start) / 200 * PROMPTS
    print(
        f"contamination: {len(texts)} items read {read:.1f} s, indexed {indexed:.1f} s; {PROMPTS} prompts in"
    )
    print(f"  {compared:.1f} s ({len(report.contaminated)} hit)")
    print(f"  substring search, exact only, extrapolated {naive:.1f} s (ratio {naive / compared:.1f})")


if __name__ == "__main__":
    if DATA is None:
        raise SystemExit("benchmark data not found; set MANAGER_TEST_DATA")
    judging()
    choices()
    contamination()
