"""What is recorded of the machine that an attempt ran on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manager.environment import describe

# What nvidia-smi prints, shortened.
SMI = """#!/bin/sh
if [ "$1" = --query-gpu=name,uuid,driver_version ]; then
    echo "NVIDIA H200, GPU-4f1c, 570.86.15"
else
    echo "| NVIDIA-SMI 570.86.15      Driver Version: 570.86.15      CUDA Version: 12.8     |"
fi
"""


def test_packages_host_gpu_driver_and_cuda_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").write_text(SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    told = describe()
    assert (told["gpus"], told["cuda"]) == (["NVIDIA H200, GPU-4f1c, 570.86.15"], "12.8")
    assert told["packages"]["submitit"] == "1.5.4"
    assert told["host"]
    assert told["python"]


def test_a_machine_without_a_gpu_has_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    told = describe()
    assert (told["gpus"], told["cuda"]) == ([], None)
