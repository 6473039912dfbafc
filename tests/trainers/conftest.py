"""A tiny base model and a tiny agent, each trained once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.store import RunDirectory
from tests.trainers import playing, running


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    directory = running.add(tmp_path_factory.mktemp("base"), "sft", running.sft_config())
    assert running.start(directory).wait()["outcome"] == "done"
    return directory


@pytest.fixture
def model(base: RunDirectory) -> dict[str, str]:
    """The base model as a job's config names it."""
    return {"path": str(base.model_dir("last")), "digest": "of this session"}


@pytest.fixture(scope="session")
def agent(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A tiny model that has seen plans of the small Sokoban."""
    root = tmp_path_factory.mktemp("agent")
    return playing.warmup(root, playing.collected(root, **playing.SMALL))


@pytest.fixture
def policy(agent: RunDirectory) -> dict[str, str]:
    """The agent as a job's config names it."""
    return {"path": str(agent.model_dir("last")), "digest": "of this session"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"
