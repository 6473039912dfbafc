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
from manager.run import Failed
from trainers import adapters, checkpoints, distributed


def without_copies(weights: Mapping[str, Any], tied: Mapping[str, str]) -> dict[str, Any]:
    """The weights without those that are others by another name: DeepSpeed's copies share no memory any more."""
    for name, original in tied.items():
        if name in weights and original in weights and not (weights[name] == weights[original]).all():
            raise Failed(
                f"{name} was trained apart from {original}, which the model says are one; leave it out of peft's "
                "modules_to_save",
                cause="config",
            )
    return {name: one for name, one in weights.items() if name not in tied}


def export(trainer: Any, target: Path, source: Mapping[str, Any]) -> None:
    """Write the model of `trainer` to `target`. All ranks call it: sharded weights are gathered."""
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.args.process_index == 0:
        model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
        if hasattr(model, "peft_config"):
            weights = adapters.merged(model, weights)
            model = model.get_base_model()
        weights = without_copies(weights, model.all_tied_weights_keys)
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
