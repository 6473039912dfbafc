"""What our trainer costs beside a plain TRL script with the same settings: step times side by side.

    python -m tests.bench.bench_trainer_overhead [--steps 30] [--rounds 3]

Both train the same random tiny model on the same prompts in one process, in turns, each first in every other round.
Every completion has the same number of tokens, so that chance in their lengths does not make one step longer than
another. States are not saved in either. CPU seconds are of this process alone; wall seconds hold what else the
machine does.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from itertools import chain
from pathlib import Path
from typing import Any

from manager.run import Run
from tests.trainers import running

TOKENS = 24  # of every completion


class Clock:
    """Per step, from one step's end to the next one's: wall and CPU seconds."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self._last: tuple[float, float] | None = None

    def tick(self) -> None:
        now = (time.perf_counter(), time.process_time())
        if self._last is not None:
            self.wall.append(now[0] - self._last[0])
            self.cpu.append(now[1] - self._last[1])
        self._last = now


def clock_callback(clock: Clock) -> Any:
    from transformers import TrainerCallback

    class Tick(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.tick()

    return Tick()


def config(model: Path, steps: int) -> dict[str, Any]:
    return running.rl_config(
        {"path": str(model), "digest": "bench"},
        batch={"prompts": 16, "samples": 8},
        grpo={
            "max_steps": steps,
            "learning_rate": 1e-4,
            "max_completion_length": TOKENS,
            "save_steps": 10**6,
            "generation_kwargs": {"min_new_tokens": TOKENS},
        },
        export_steps=None,
        data={"name": "math", "domain": "math", "seed": 0, "sources": [{"benchmark": "mini_math", "split": "train"}]},
    )


def ours(model: Path, steps: int, folder: Path) -> Clock:
    """`trainers.grpo.main` as a job runs it, with a clock among its callbacks."""
    from trainers import grpo, training

    clock = Clock()
    train = training.train

    def train_with_clock(trainer: Any, *args: Any) -> Any:
        trainer.add_callback(clock_callback(clock))
        return train(trainer, *args)

    training.train = train_with_clock
    try:
        directory = running.add(folder, "rl", config(model, steps))
        attempt = directory.path / "attempts" / "0001"
        attempt.mkdir(parents=True)
        run = Run(directory, directory.job(), attempt)
        grpo.main(run)
        run.close()
    finally:
        training.train = train
    return clock


def plain(model: Path, steps: int, folder: Path) -> Clock:
    """What somebody would write with TRL alone."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    from evaluators import benchmarks

    benchmark = benchmarks.get("mini_math")
    items = list(benchmark.items("train", None))
    by_question = {item.fields["question"]: item for item in items}
    rows = [{"prompt": benchmark.messages(item)} for item in items]

    def correct(prompts: list[Any], completions: list[Any], **_: Any) -> list[float]:
        pairs = zip(prompts, completions, strict=True)
        scored = (benchmark.score(by_question[p[-1]["content"]], c[-1]["content"]) for p, c in pairs)
        return [one.value or 0.0 for one in scored]

    clock = Clock()
    args = GRPOConfig(
        output_dir=str(folder), max_steps=steps, learning_rate=1e-4, lr_scheduler_type="constant", use_cpu=True,
        bf16=False, gradient_checkpointing=False, per_device_train_batch_size=128, num_generations=8,
        max_completion_length=TOKENS, generation_kwargs={"min_new_tokens": TOKENS}, beta=0.0,
        logging_steps=1, report_to="none", save_strategy="no", disable_tqdm=True,
        dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=str(model),
        reward_funcs=correct,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(model, padding_side="left"),
        callbacks=[clock_callback(clock)],
    )
    trainer.train()
    return clock


def make_model(folder: Path) -> Path:
    from trainers import scratch

    model, tokenizer = scratch.make({"hidden_size": 128, "intermediate_size": 256, "layers": 2, "heads": 4}, 0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    from trainers import libraries

    libraries.prepare(use_vllm=False)
    times: dict[str, dict[str, list[list[float]]]] = {name: {"wall": [], "cpu": []} for name in ("plain TRL", "ours")}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        model = make_model(root / "model")
        for number in range(options.rounds):
            pair = [("plain TRL", plain), ("ours", ours)]
            for label, run in pair if number % 2 == 0 else reversed(pair):
                clock = run(model, options.steps, root / f"{label[:4].strip()}-{number}")
                times[label]["wall"].append(clock.wall[2:])  # the first steps warm up
                times[label]["cpu"].append(clock.cpu[2:])
    print(f"{'ms a step (median)':<22}{'plain TRL':>12}{'ours':>12}{'ratio':>9}   ratio of each round")
    for kind in ("wall", "cpu"):
        rounds = {label: [statistics.median(steps) for steps in times[label][kind]] for label in times}
        theirs, mine = (
            1000 * statistics.median(chain.from_iterable(times[label][kind])) for label in ("plain TRL", "ours")
        )
        each = (own / plain for own, plain in zip(rounds["ours"], rounds["plain TRL"], strict=True))
        print(f"{kind:<22}{theirs:>12.1f}{mine:>12.1f}{mine / theirs:>9.3f}   {' '.join(f'{one:.3f}' for one in each)}")


if __name__ == "__main__":
    main()
