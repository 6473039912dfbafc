"""Starts lighteval 0.13 on a vLLM newer than the one it was written for. Run by lighteval's own Python.

lighteval asks for vllm below 0.10.2: a moved function, arguments that are gone, and ray, which it imports and does
not use on one device. One of the task files that it imports fetches a file from the network; it is left out. What
lighteval does with vLLM is left as it is. Engine options come from BENCH_ENGINE_OPTIONS.
"""

from __future__ import annotations

import json
import os
import sys
import types
from typing import Any


def _adapt() -> None:
    import vllm
    import vllm.tokenizers
    from lighteval.utils import imports

    known = imports.is_package_available
    imports.is_package_available = lambda package: getattr(package, "name", package) == "vllm" or known(package)
    sys.modules["ray"] = types.ModuleType("ray")
    sys.modules["ray"].shutdown = lambda: None  # type: ignore[attr-defined]
    moved = types.ModuleType("vllm.transformers_utils.tokenizer")
    moved.get_tokenizer = vllm.tokenizers.get_tokenizer  # type: ignore[attr-defined]
    sys.modules[moved.__name__] = moved
    fetching = types.ModuleType("lighteval.tasks.tasks.tiny_benchmarks")
    fetching.TASKS_TABLE = []  # type: ignore[attr-defined]
    sys.modules[fetching.__name__] = fetching
    options = json.loads(os.environ["BENCH_ENGINE_OPTIONS"])

    class Adapted(vllm.LLM):  # type: ignore[misc]
        def __init__(self, **asked: Any) -> None:
            asked.pop("swap_space")
            super().__init__(**{**asked, **options})

        def generate(self, *, prompt_token_ids: list[list[int]], **others: Any) -> Any:
            return super().generate([{"prompt_token_ids": tokens} for tokens in prompt_token_ids], **others)

    vllm.LLM = Adapted


if __name__ == "__main__":
    _adapt()
    from lighteval.__main__ import app

    app()
