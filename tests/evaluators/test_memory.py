"""The estimate of what a model needs, and what is said when a device is too small."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from evaluators.engine import EngineError, EngineSettings, load
from evaluators.memory import GIB, OVERHEAD, cache_bytes_a_token, check_fits, needed_bytes

# The shape of a 7B model with grouped key and value heads.
SHAPE = {"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "hidden_size": 3584,
         "max_position_embeddings": 131072}  # fmt: skip


def big_model(folder: Path, weights_gib: float) -> Path:
    """A model's folder with files of these sizes and nothing in them."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(SHAPE))
    for number in (1, 2):
        with open(folder / f"model-{number}.safetensors", "wb") as stream:
            stream.truncate(int(weights_gib * GIB / 2))
    return folder


def test_the_estimate_is_weights_and_the_cache_of_one_sequence(tmp_path: Path) -> None:
    assert cache_bytes_a_token(SHAPE) == 2 * 28 * 4 * 128 * 2
    model = big_model(tmp_path / "m", 14.0)
    assert needed_bytes(model, 16384, 1) == 14 * GIB + 16384 * 57344 + OVERHEAD
    assert needed_bytes(model, 16384, 2) == (14 * GIB + 16384 * 57344) / 2 + OVERHEAD


def test_a_device_that_is_too_small_is_told_with_what_to_change(tmp_path: Path) -> None:
    model = str(big_model(tmp_path / "m", 14.0))
    check_fits(model, 24 * GIB, {"max_model_len": 32768})
    with pytest.raises(EngineError, match="tensor_parallel_size") as caught:
        check_fits(model, 16 * GIB, {"max_model_len": 32768})
    assert caught.value.cause == "gpu_too_small"
    assert "17.2 GiB" in str(caught.value)
    check_fits(model, 16 * GIB, {"max_model_len": 32768, "tensor_parallel_size": 2})
    with pytest.raises(EngineError):
        check_fits(model, 24 * GIB, {})  # its full context of 131072 does not fit


def test_a_hub_model_in_the_cache_is_estimated_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "models--org--big"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("c" * 40)
    (place / "snapshots").mkdir()
    big_model(place / "snapshots" / ("c" * 40), 14.0)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for revision in (None, "c" * 40):
        with pytest.raises(EngineError, match="org/big: weights and the cache"):
            check_fits("org/big", 16 * GIB, {}, revision)
    check_fits("org/big", 16 * GIB, {}, "d" * 40)  # not on this disk: the engine tells


def test_the_transformers_engine_says_so_before_it_loads(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "m")
    with open(folder / "model-00002.safetensors", "wb") as stream:
        stream.truncate(8_000 * GIB)  # of holes: it takes no room
    with pytest.raises(EngineError, match=r"its weights are 8000\.0 GiB, this machine has") as caught:
        load("transformers", EngineSettings(str(folder), options={"device": "cpu"}))
    assert caught.value.cause == "gpu_too_small"


def test_what_cannot_be_estimated_is_left_to_the_engine(tmp_path: Path) -> None:
    check_fits("some/hub-id", 1, {})
    check_fits("no id/ at/all", 1, {})
    folder = tmp_path / "empty"
    folder.mkdir()
    check_fits(str(folder), 1, {})
    check_fits(str(big_model(tmp_path / "m", 14.0)), GIB, {"quantization": "fp8"})
