"""What it brings to step the episodes of a training together, and what a step of it costs beside its parts.

    python -m tests.bench.bench_agent_training [--episodes 32] [--steps 3]

A small random model on the processor plays Sokoban through TRL's own generation: the same tasks one episode after
another and all together, in one process. Then a training of a few steps: the share of a step that is neither
generation, nor environments, nor the forward and backward passes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from evaluators.agent import AgentSettings
from evaluators.environments import facts
from evaluators.player import Work
from manager.run import Run
from tests.trainers import playing, running
from trainers import agents, scratch
from trainers.rollouts import Kind, Rollouts, Speaker

ASKED = AgentSettings(history=0, thinking=False, rules=False)


def save_model(folder: Path) -> Path:
    model, tokenizer = scratch.make({**playing.MODEL, "hidden_size": 64, "layers": 2, "context": 256}, 0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def measured(call: Any) -> tuple[float, float]:
    """(seconds, seconds of the processor) of a call."""
    began, used = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - began, time.process_time() - used


def rollouts(model: Path, folder: Path, count: int) -> None:
    from tests.trainers.test_step_rows import trainer

    one = trainer(model, folder)
    kind = Kind("sokoban", "sokoban", {**facts("sokoban").options, **playing.SMALL})
    speaker = Speaker(one._tokenizer, "tiny", frozenset(one.eos_token_ids), 200)
    player = Rollouts([kind], ASKED, speaker)
    works = [Work("sokoban", task, 0, task, "train") for task in range(count)]
    player.play(works[:2], one._ask)
    alone = measured(lambda: [player.play([work], one._ask) for work in works])
    together = measured(lambda: player.play(works, one._ask))
    player.close()
    print(f"{count} episodes of {playing.SMALL['cap']} steps at most, 12 tokens an answer")
    print(f"{'':<12}{'one at a time':>16}{'together':>12}{'ratio':>9}")
    for name, first, second in (("wall s", alone[0], together[0]), ("processor s", alone[1], together[1])):
        print(f"{name:<12}{first:>16.2f}{second:>12.2f}{first / second:>9.2f}")


def overhead(root: Path, model: Path, steps: int) -> None:
    grpo = {"max_steps": steps + 1, "learning_rate": 1e-4, "max_completion_length": 12, "save_steps": steps + 1}
    config = playing.rl_config({"path": str(model), "digest": "x"}, grpo=grpo, export_steps=steps + 1)
    directory = running.add(root, "rl", config, micro_batch=32)
    attempt = directory.path / "attempts" / "0001"
    attempt.mkdir(parents=True)
    run = Run(directory, directory.job(), attempt)
    agents.main(run)
    run.close()
    logged = running.Attempt(directory, "0001", []).metrics()
    parts = ("generation", "environment", "training")
    names = [f"time/{part}_s" for part in parts]
    kept = [values for step, values in sorted(logged.items()) if step > 1 and "time/step_s" in values]
    means = {name: statistics.fmean(values[name] for values in kept) for name in [*names, "time/step_s"]}
    rest = means["time/step_s"] - sum(means[name] for name in names)
    print(f"a training step of {means['time/step_s']:.2f} s: " + ", ".join(
        f"{part} {means[name] / means['time/step_s']:.0%}" for part, name in zip(parts, names, strict=True)
    ) + f", the rest {rest / means['time/step_s']:.1%}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        model = save_model(root / "model")
        rollouts(model, root / "trainer", options.episodes)
        overhead(root / "store", model, options.steps)


if __name__ == "__main__":
    main()
