"""What identifies the files of a model: any training changes it, a place does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from manager.model_folder import WHOLE_BYTES, digest

TENSORS, TENSOR_BYTES = 64, 256 * 1024


def safetensors(path: Path, changed: int | None = None) -> Path:
    """Weights of many MiB; of the tensor `changed` every value is another."""
    names = [f"layers.{number:02}.weight" for number in range(TENSORS)]
    header = {
        name: {"dtype": "F32", "shape": [TENSOR_BYTES // 4], "data_offsets": [n * TENSOR_BYTES, (n + 1) * TENSOR_BYTES]}
        for n, name in enumerate(names)
    }
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    with open(path, "wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for number in range(TENSORS):
            stream.write(bytes([200 if number == changed else number]) * TENSOR_BYTES)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    place.mkdir()
    (place / "config.json").write_text("{}")
    return place


@pytest.mark.parametrize("changed", range(TENSORS))
def test_an_adapter_that_changed_one_tensor_somewhere_makes_another_model(folder: Path, changed: int) -> None:
    before = digest(safetensors(folder / "model.safetensors").parent)
    assert digest(safetensors(folder / "model.safetensors", changed).parent) != before
    assert digest(safetensors(folder / "model.safetensors").parent) == before


def test_large_files_of_another_form_are_sampled_all_over(folder: Path) -> None:
    size = 8 * WHOLE_BYTES
    weights = folder / "pytorch_model.bin"
    found = set()
    for start in (None, 0, size // 3, size - size // 50):
        content = bytearray(size)
        if start is not None:
            content[start : start + size // 50] = b"x" * (size // 50)
        weights.write_bytes(content)
        found.add(digest(folder))
    assert len(found) == 4


def test_a_model_is_the_same_wherever_it_is_and_whoever_made_it(folder: Path, tmp_path: Path) -> None:
    safetensors(folder / "model.safetensors")
    before = digest(folder)
    (folder / "COMPLETE.json").write_text('{"source": {"job": "a"}}')
    (folder / ".gitattributes").write_text("x")
    assert digest(folder) == before
    assert digest(shutil.copytree(folder, tmp_path / "copy")) == before
    (folder / "tokenizer_config.json").write_text("{}")
    assert digest(folder) != before
