"""Trained weights in the form that engines load: safetensors, tokenizer, chat template, generation config.

A folder is made beside and renamed; COMPLETE.json inside is written last.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manager.atomic import sync_directory
from trainers import adapters, checkpoints, distributed


def export(trainer: Any, target: Path, source: Mapping[str, Any]) -> None:
    """Write the model of `trainer` to `target`. All ranks call it: sharded weights are gathered."""
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.args.process_index == 0:
        model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
        if hasattr(model, "peft_config"):
            weights = adapters.merged(model, weights)
            model = model.get_base_model()
        temporary = target.with_name(f".{target.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)  # no mark inside: a kill left it
        temporary.mkdir(parents=True)
        model.save_pretrained(temporary, state_dict=weights)
        trainer.processing_class.save_pretrained(temporary)
        checkpoints.sync_files(temporary)
        os.rename(temporary, target)
        sync_directory(target.parent)
        checkpoints.mark_complete(target, source=dict(source))
    distributed.barrier()
