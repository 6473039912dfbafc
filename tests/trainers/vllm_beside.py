"""One rank of one job with vLLM beside the trainer, on a CPU: `tests.trainers.process`, with TRL's engine made to fit.

TRL asks for a vLLM of GPUs. Here it gets the real one of the CPU build, with three settings that it cannot be told
otherwise. That build cannot sleep: what sleep of level 2 does to an engine is done to it, so that a call in the wrong
order shows (weights that were not brought back give no likely token, a cache that sleeps cannot be used).
"""

from __future__ import annotations

import os
from typing import Any

os.environ |= {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
}


def fit_to_a_cpu() -> None:
    """Before a trainer is built."""
    import torch
    import vllm
    from trl.generation import vllm_generation
    from vllm import _custom_ops

    _custom_ops._supports_onednn = False  # weights that were packed for oneDNN cannot be replaced

    class Beside(vllm.LLM):
        """The LLM that TRL makes; `asleep` holds what cannot be used now."""

        def __init__(self, *args: Any, **options: Any) -> None:
            self.asleep: set[str] = set()
            self.can_sleep = options.pop("enable_sleep_mode")
            super().__init__(*args, **options, enforce_eager=True, dtype="float32")

        def sleep(self, level: int = 1, mode: str = "abort") -> None:
            assert self.can_sleep
            assert level == 2
            self.asleep = {"weights", "kv_cache"}
            with torch.no_grad():
                for one in self.weights():
                    one.zero_()

        def wake_up(self, tags: list[str] | None = None) -> None:
            assert self.can_sleep
            self.asleep -= set(tags or self.asleep)

        def weights(self) -> list[torch.Tensor]:
            return list(self.llm_engine.model_executor.driver_worker.model_runner.model.parameters())

        def generate(self, *args: Any, **options: Any) -> Any:
            assert not self.asleep, f"asked while {self.asleep} sleep"
            assert all(bool(one.any()) for one in self.weights()), "asked without weights"
            return super().generate(*args, **options)

    vllm_generation.LLM = Beside


def patch() -> None:
    """TRL may only be imported when the processes have been joined: its engine is replaced there."""
    from trainers import libraries

    prepare = libraries.prepare

    def prepare_and_fit(*, use_vllm: bool) -> None:
        prepare(use_vllm=use_vllm)
        fit_to_a_cpu()

    libraries.prepare = prepare_and_fit


if __name__ == "__main__":
    patch()
    from tests.trainers import process  # noqa: F401  (it runs when it is imported)
