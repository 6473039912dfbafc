"""Setting up the training libraries before they are imported: quiet, and without what a run does not use."""

from __future__ import annotations

import importlib


def prepare(*, use_vllm: bool) -> None:
    """Call before importing a trainer of TRL."""
    import datasets
    from transformers.utils import logging

    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    if not use_vllm:
        # TRL imports vLLM wherever it is installed: 3.4 s and 160 MB in every process that never uses it.
        importlib.import_module("trl.import_utils").is_vllm_available = lambda min_version=None: False
