"""How long 10,000 jobs take to expand, validate and get their ids. `python -m tests.bench.bench_expand`

Side by side with the plain way: one OmegaConf object resolved for each job (measured on a part, scaled).
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

from omegaconf import OmegaConf

from manager.sweep import load_sweep
from tests.manager.sweep_catalog import catalog

SWEEP = """
name: large
study: interventional
matrix:
  base: [deepseek-r1-distill-qwen-1.5b, llama-3.2-3b-instruct]
  domain: [math, code, knowledge, mixed]
  algorithm: [grpo, dapo]
  seed: [{seeds}]
stages:
  baseline: {{kind: evaluate, model: "${{base}}", suite: all16}}
  train:
    kind: rl
    model: ${{base}}
    data: ${{domain}}
    seed: ${{seed}}
    algorithm: ${{algorithm}}
    grpo: {{max_steps: 400, learning_rate: 1e-6}}
    deepspeed: zero2
    resources: {{nodes: 1, gpus_per_node: 8, time_min: 1440}}
  evaluate: {{kind: evaluate, needs: train, checkpoints: all, suite: all16, resources: {{gpus_per_node: 1}}}}
  report: {{kind: report, needs: [baseline, evaluate]}}
"""
SEEDS = 125
PLAIN_JOBS = 100


def ours(path: Path) -> tuple[int, float]:
    start = time.perf_counter()
    sweep = load_sweep(path, catalog=catalog(), environ={})
    count = len({entry.job.id for entry in sweep.jobs})
    assert count == len(sweep.jobs) == 2 + 16 * SEEDS * 5 + 1
    return count, time.perf_counter() - start


def plain(path: Path) -> float:
    """Seconds a job, if every job resolves the whole file anew."""
    stages = OmegaConf.to_container(OmegaConf.load(path).stages, resolve=False)
    start = time.perf_counter()
    for seed in range(PLAIN_JOBS):
        row = {"base": "llama-3.2-3b-instruct", "domain": "math", "algorithm": "grpo", "seed": seed}
        OmegaConf.to_container(OmegaConf.create({**row, "stages": stages}), resolve=True)
    return (time.perf_counter() - start) / PLAIN_JOBS


def main() -> None:
    catalog()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.yaml"
        path.write_text(SWEEP.format(seeds=", ".join(map(str, range(SEEDS)))))
        runs = sorted(ours(path) for _ in range(3))
        count, seconds = runs[1]
        other = plain(path) * count
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"jobs: {count}   expand + validate + ids: {seconds:.2f} s ({seconds / count * 1e6:.0f} µs a job)")
    print(f"one OmegaConf object a job, without validation and ids: {other:.1f} s   ratio {other / seconds:.0f}")
    print(f"peak memory of the process: {memory:.0f} MiB")


if __name__ == "__main__":
    main()
