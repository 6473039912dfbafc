"""What happens around the steps of a training: logging, stopping, states, exports. Shared by all trainers.

Everything a callback does must be the same decision on every rank, or ranks wait for each other forever.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from manager.run import Failed, Run, Stopped
from trainers import checkpoints, distributed
from trainers.export import export

WITHOUT_SIGNAL = 10
ALIKE = 0.75  # of all answers: that outcome is why their rewards are equal


def likely_cause(values: Mapping[str, float]) -> str:
    """Why all rewards are equal, read from the shares of outcomes."""
    outcomes = {name.removeprefix("outcome/"): value for name, value in values.items() if name.startswith("outcome/")}
    if not outcomes:
        return "see the table of completions in artifacts/completions"
    name = max(outcomes, key=outcomes.__getitem__)
    if outcomes[name] < ALIKE:  # groups of one sort and groups of another: no outcome is the cause
        shares = sorted(((share, one) for one, share in outcomes.items() if share > 0), reverse=True)
        told = ", ".join(f"{share:.0%} {one}" for share, one in shares)
        return f"{told}: the answers to a prompt are alike: raise grpo.temperature or batch.samples, or see `reward`"
    causes = {
        "right": "every answer is right: the prompts are too easy for this model",
        "wrong": "every answer is wrong: the prompts are too hard for this model, or temperature is too low",
        "no_answer": "no answer could be extracted: the model does not use the format that the scorer reads",
        "truncated": "completions are cut off: raise grpo.max_completion_length",
        "too_long": "the prompts do not fit the context: a smaller agent.history, shorter states, or more context",
        "grader_failed": "the grader fails: see the column `why` of artifacts/completions",
    }
    return f"{outcomes[name]:.0%} {name}: {causes.get(name, 'see artifacts/completions')}"


class AlreadyTrained(Exception):
    """Raised when a restart finds that the last step was done before the end."""


class RunCallback(TrainerCallback):  # type: ignore[misc]
    """Connects a transformers Trainer to a Run."""

    def __init__(self, run: Run, folder: Path, boundary: int, seen: tuple[str, int]) -> None:
        """`boundary`: optimiser steps of one batch; `seen`: what a batch is made of ("prompts") and how many."""
        self.run = run
        self.folder = folder
        self.boundary = boundary
        self.seen = seen
        self.trainer: Any = None
        self.drift: Any = None  # trainers.drift.Drift, where there is a base to compare with
        self.stopping = False
        self.last: dict[str, float] = {}
        self._without_signal = 0
        self._utilisation_unknown = False
        self._exports: tuple[int, ...] = ()
        self._step_started = 0.0
        self._tokens_before = 0.0
        self._tokens_of_batch = 0.0

    def due(self, step: int, total: int) -> bool:
        """Whether weights are exported after this step."""
        return step == total or step in self._exports

    def set_exports(self, steps: tuple[int, ...]) -> None:
        self._exports = steps

    # Steps

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._tokens_before = float(state.num_input_tokens_seen or 0)
        self.run.progress(state.global_step, state.max_steps)
        if distributed.any_rank(self.run.stop_requested, args.device):
            raise Stopped(f"{self.run.stop_reason or 'asked to stop'} before step {state.global_step + 1}")
        if self.drift is not None:
            self.drift.begin(self.trainer)
            if (times := getattr(self.trainer, "times", None)) is not None:
                times.take()  # the base's answers are no part of the first step
        if state.global_step and self.due(state.global_step, state.max_steps):
            self._export(state)  # a kill between the state and its export may have left this to do
        if state.global_step >= state.max_steps:
            raise AlreadyTrained

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._step_started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self.boundary == 0:
            # Only between generated batches: a state saved in the middle of one could not be resumed exactly.
            self.stopping = distributed.any_rank(self.run.stop_requested, args.device)
        if self.due(state.global_step, state.max_steps):
            control.should_save = True  # an exported model always has its state: it is never trained again
        if self.stopping:
            control.should_save = True
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if not logs or "train_runtime" in logs:
            return
        elapsed = time.perf_counter() - self._step_started
        values = {key: float(value) for key, value in logs.items() if isinstance(value, int | float)}
        values |= self._timing(values, elapsed)
        # Counted from the step, so that it goes on after a restart; dynamic sampling's rounds are logged beside it.
        values[f"{self.seen[0]}_seen"] = math.ceil(state.global_step / self.boundary) * self.seen[1]
        state.log_history.clear()  # the journal has it; in the state it would grow with every step
        self._stop_if_undefined(state.global_step, values)
        self._warn_without_signal(state.global_step, values)
        self.last = values
        self.run.log(values, state.global_step)
        shown: dict[str, Any] = {name: values[name] for name in ("reward", "loss", "tokens_per_s") if name in values}
        if self._without_signal >= WITHOUT_SIGNAL:
            shown["warning"] = f"all rewards equal for {self._without_signal} batches"
        self.run.progress(state.global_step, state.max_steps, "step", tokens=values.get("num_tokens", 0.0), **shown)

    def _timing(self, values: dict[str, float], elapsed: float) -> dict[str, float]:
        found = {"time/step_s": elapsed}
        if "num_tokens" in values:
            self._tokens_of_batch = values["num_tokens"] - self._tokens_before
            self._tokens_before = values["num_tokens"]
        if self._tokens_of_batch:
            # A generated batch is worked on for `boundary` steps: each has its share, or the first would have them all.
            found["tokens_per_s"] = self._tokens_of_batch / self.boundary / elapsed
        times = getattr(self.trainer, "times", None)
        if times is not None:
            found |= {f"time/{name}_s": seconds for name, seconds in times.take().items()}
            found["time/training_s"] = elapsed - found.get("time/preparing_s", 0.0)
        device = self.trainer.args.device
        if device.type == "cuda":
            import torch

            found["gpu/memory_peak_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
            torch.cuda.reset_peak_memory_stats(device)
            found |= self._utilisation(device)
        return found

    def _utilisation(self, device: Any) -> dict[str, float]:
        """The share of the last moments in which this GPU was busy, by NVIDIA's library, where it can be asked."""
        import torch

        if self._utilisation_unknown:
            return {}
        try:
            return {"gpu/utilisation": torch.cuda.utilization(device) / 100}
        except (ModuleNotFoundError, RuntimeError) as error:  # no pynvml, or a driver that does not tell
            self._utilisation_unknown = True
            self.run.event("gpu_utilisation_unknown", f"{type(error).__name__}: {error}")
            return {}

    def _stop_if_undefined(self, step: int, values: dict[str, float]) -> None:
        """The values are the same on every rank, so all of them raise."""
        for name in ("loss", "grad_norm"):
            if name in values and not math.isfinite(values[name]):
                self.run.log(values, step)
                good = checkpoints.newest_complete(self.folder)
                where = f"the last good state is {good}" if good else "no state was saved before"
                raise Failed(
                    f"{name} is {values[name]} at step {step}; {where}; "
                    "try a lower learning_rate, a smaller max_grad_norm or bf16 instead of fp16",
                    cause="undefined_loss",
                )

    def _warn_without_signal(self, step: int, values: dict[str, float]) -> None:
        """Tell once when for many generated batches no group had two different rewards."""
        if "groups_without_signal" not in values:
            return
        self._without_signal = self._without_signal + 1 if values["groups_without_signal"] >= 1.0 else 0
        if self._without_signal == WITHOUT_SIGNAL:
            message = f"all rewards of a group were equal for {WITHOUT_SIGNAL} batches; {likely_cause(values)}"
            self.run.event("no_learning_signal", message, step=step)
            if self.run.rank == 0:
                print(f"warning: step {step}: {message}", flush=True)  # `manager logs` shows it

    # States and exports

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder = self.folder / f"checkpoint-{state.global_step}"
        if (table := getattr(self.trainer, "table", None)) is not None:
            table.flush(state.global_step)
        if args.local_process_index == 0:
            checkpoints.sync_files(folder)
        distributed.barrier()
        if args.process_index == 0:
            checkpoints.mark_complete(folder, step=state.global_step, world_size=args.world_size)
            checkpoints.prune(self.folder)
        distributed.barrier()
        if self.due(state.global_step, state.max_steps):
            self._export(state)

    def _export(self, state: Any) -> None:
        step = state.global_step
        target = self.run.directory.model_dir(step)
        if distributed.from_first(checkpoints.is_complete(target)):
            return  # never replaced: evaluations may have been made of it
        if self.drift is not None:
            self.run.log(self.drift.measure(self.trainer), step)
        export(self.trainer, target, {"job": self.run.directory.id, "step": step})
        self.run.event("exported", f"weights after step {step}", step=step)
