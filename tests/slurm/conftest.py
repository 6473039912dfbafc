"""The cluster as a fixture: up once a session, emptied before each test, down and removed at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from manager.store import Store
from tests.slurm.cluster import ROOT, Cluster, Gate, missing_programs


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    missing = missing_programs()
    can_install = os.geteuid() == 0 and shutil.which("apt-get") and not os.environ.get("DEVCLUSTER_NO_INSTALL")
    if missing and not can_install:
        pytest.skip(f"the Slurm test cluster needs these programs: {', '.join(missing)}")
    # Not under tmp_path: the sockets of Slurm need a short path.
    parent = Path(tempfile.mkdtemp(prefix="mslurm-", dir="/tmp"))
    cluster = Cluster(parent / "c")
    before = os.environ.get("SLURM_CONF")
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()
        shutil.rmtree(parent, ignore_errors=True)
        if before is None:
            os.environ.pop("SLURM_CONF", None)
        else:
            os.environ["SLURM_CONF"] = before


@pytest.fixture
def cluster(running_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """An empty, healthy cluster whose jobs import this checkout and the toy kind."""
    monkeypatch.setenv("SLURM_CONF", str(running_cluster.conf))
    monkeypatch.setenv("MANAGER_KINDS", "rl=tests.slurm.fault_kind")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    running_cluster.empty()
    return running_cluster


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """`fake("sacct", "exit 1")`: another program of this name comes first on PATH; `$real` is the true one there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(name: str, text: str) -> None:
        real = shutil.which(name, path=os.environ["PATH"].removeprefix(f"{folder}:"))
        (folder / name).write_text(f"#!/bin/sh\nexport real={real}\n{text}\n")
        (folder / name).chmod(0o755)

    return make


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store", create=True)
