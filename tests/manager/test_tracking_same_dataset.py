"""Two runs that name one new data set at the same moment: MLflow calls the slower a bad request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST

from manager.tracking.client import TrackingClient, TrackingError
from manager.tracking.projection import Dataset

BEATEN = "(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.experiment_id, datasets.name, datasets.digest"


@pytest.fixture
def client(tmp_path: Path) -> TrackingClient:
    return TrackingClient(f"sqlite:///{tmp_path / 'mlflow.db'}")


def beaten(client: TrackingClient, monkeypatch: pytest.MonkeyPatch, times: int) -> list[str]:
    """`log_inputs` that is too late so often; the race itself is a matter of microseconds."""
    calls: list[str] = []
    real = client.api.log_inputs

    def log_inputs(run_id: str, **inputs: Any) -> None:
        calls.append(run_id)
        if len(calls) <= times:
            raise MlflowException(BEATEN, BAD_REQUEST)
        real(run_id, **inputs)

    monkeypatch.setattr(client.api, "log_inputs", log_inputs)
    return calls


def run_id(client: TrackingClient) -> str:
    return client.api.create_run(client.create_experiment("one", None, {})).info.run_id


def test_it_is_sent_once_more_and_is_there(client: TrackingClient, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_id(client)
    calls = beaten(client, monkeypatch, 2)
    client.send_datasets(run, [Dataset("mini_math", "abc", "{}")], "evaluation")
    assert len(calls) == 3
    (found,) = client.api.get_run(run).inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest) == ("mini_math", "abc")


def test_always_beaten_is_worth_another_pass(client: TrackingClient, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_id(client)
    beaten(client, monkeypatch, 99)
    with pytest.raises(TrackingError) as told:
        client.send_datasets(run, [Dataset("mini_math", "abc", "{}")], "evaluation")
    assert told.value.temporary
