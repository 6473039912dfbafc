"""An empty tracking database made once: MLflow needs seconds for its tables."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.manager.tracked_sweep import Study


@pytest.fixture(scope="session")
def empty_tracking_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from manager.tracking.client import TrackingClient

    path = tmp_path_factory.mktemp("tracking") / "mlflow.db"
    TrackingClient(f"sqlite:///{path}").find_experiment("none")
    return path


@pytest.fixture
def with_database(empty_tracking_database: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Study], Study]:
    """Give a study the empty database that its first sync would make."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def give(study: Study) -> Study:
        shutil.copy(empty_tracking_database, study.store.sweep_dir(study.sweep.name) / "mlflow.db")
        return study

    return give
