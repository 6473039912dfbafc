"""TRL's policy trainers with clocks in them: how long generation, rewards and the rest of a step take."""

from __future__ import annotations

import time
from collections import defaultdict
from functools import partial
from typing import Any

from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from trainers.adapters import weights_for_engine
from trainers.completions import CompletionTable
from trainers.sampling import DynamicSampling, with_signal
from trainers.training import RunTrainer


class Times:
    """Seconds by what they were spent on, since they were last taken."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)

    def add(self, name: str, since: float) -> None:
        self._seconds[name] += time.perf_counter() - since

    def take(self) -> dict[str, float]:
        taken = dict(self._seconds)
        self._seconds.clear()
        return taken


class Timed(RunTrainer):
    """Mixin: `preparing` holds `generation`, `reward` and the scoring of log-probabilities."""

    times: Times
    table: CompletionTable | None = None
    state: Any
    model: Any
    num_generations: int
    reward_func_names: list[str]
    reward_weights: Any
    _logs: dict[str, Any]
    _metrics: dict[str, Any]

    def _timed(self, name: str, call: Any, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            self.times.add(name, started)

    def _generate_and_score_completions(self, *args: Any, **kwargs: Any) -> Any:
        prepared = self._timed("preparing", super()._generate_and_score_completions, *args, **kwargs)  # type: ignore[misc]
        if self.model.training:
            signal = self.groups_with_signal()
            self._metrics["train"]["groups_without_signal"].append(signal.count(False) / len(signal))
            if self.table is not None:
                self.table.add(self.state.global_step + 1, self._logs)
        return prepared

    def groups_with_signal(self) -> list[bool]:
        """For each group of the batch that was last judged, over all processes, whether its rewards differ."""
        rewards = [list(self._logs["rewards"][name]) for name in self.reward_func_names]
        return with_signal(rewards, self.reward_weights.tolist(), self.num_generations)

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        return self._timed("generation", super()._generate, *args, **kwargs)  # type: ignore[misc]

    def prepare_engine(self) -> None:
        """Where completions come from vLLM: new weights leave the model as it is, and their time is counted."""
        engine = getattr(self, "vllm_generation", None)
        if engine is not None:
            engine.sync_weights = partial(self._timed, "weight_sync", engine.sync_weights)
            if hasattr(engine.model, "peft_config"):
                engine._iter_named_params = partial(weights_for_engine, engine.model, engine._dist.gather_params)

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Any:
        return self._timed("reward", super()._calculate_rewards, *args, **kwargs)  # type: ignore[misc]


class Grpo(Timed, GRPOTrainer):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.times = Times()
        super().__init__(*args, **kwargs)
        self.prepare_engine()

    def answer_once(self, prompt_ids: list[list[int]]) -> list[list[int]]:
        """One sampled answer for each of these prompts."""
        answers, _ = self._generate_single_turn(prompt_ids, None, {}, 1)
        return [list(answer) for answer in answers]


class Rloo(Timed, RLOOTrainer):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.times = Times()
        super().__init__(*args, **kwargs)
        self.prepare_engine()

    def answer_once(self, prompt_ids: list[list[int]]) -> list[list[int]]:
        """One sampled answer for each of these prompts."""
        samples = self.num_generations, self.num_generations_eval
        self.num_generations = self.num_generations_eval = 1  # it tells vLLM how often each prompt is repeated
        try:
            answers = self._generate_single_turn(prompt_ids, None, {})
        finally:
            self.num_generations, self.num_generations_eval = samples
        return [list(answer) for answer in answers]


class DynamicGrpo(DynamicSampling, Grpo):
    """GRPO that replaces groups without signal."""


CONFIGS = {"grpo": GRPOConfig, "rloo": RLOOConfig}


def trainer_class(kind: str, *, dynamic_sampling: bool = False) -> Any:
    if kind == "rloo":
        return Rloo
    return DynamicGrpo if dynamic_sampling else Grpo


def config_class(kind: str) -> Any:
    return CONFIGS[kind]
