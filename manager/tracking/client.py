"""The only importer of mlflow: a tracking store as runs with points, params, tags and artifacts.

Imported inside functions only, since mlflow takes seconds. It knows nothing of jobs. Every failure leaves
it as a TrackingError that says whether waiting can help.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

# Before the import: MLflow reports its usage to its makers unless told not to, which a node without a
# network must not wait for.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import requests
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import (
    DatasetInput,
    Experiment,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from manager.tracking.models import StoredModel
from manager.tracking.projection import Dataset, Point, RunStatus

METRICS_PER_BATCH = 1000
PARAMS_PER_BATCH = 100
TAGS_PER_BATCH = 100
RUNS_PER_PAGE = 1000
DATASET_TRIES = 5  # the jobs of a sweep name the same data sets, and are sent side by side
# MLflow's own patience is minutes for each call; a drain would rather try again later.
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# What the server says of a request that will be refused again however often it is sent.
REFUSED = frozenset(
    {
        "INVALID_PARAMETER_VALUE",
        "BAD_REQUEST",
        "RESOURCE_DOES_NOT_EXIST",
        "INVALID_STATE",
        "PERMISSION_DENIED",
    }
)

# The database files that this process has opened, and which file it was.
_opened: dict[Path, int | None] = {}
_spellings: dict[Path, int] = {}

P = ParamSpec("P")
T = TypeVar("T")


class TrackingError(Exception):
    """What the tracking store answered. `temporary`: the same request may be taken later."""

    def __init__(self, message: str, *, temporary: bool) -> None:
        super().__init__(message)
        self.temporary = temporary


def _translated(function: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except MlflowException as error:
            temporary = error.error_code not in REFUSED or _was_beaten(error)
            raise TrackingError(_one_line(error), temporary=temporary) from error
        except (requests.RequestException, SQLAlchemyError, OSError) as error:
            raise TrackingError(_one_line(error), temporary=True) from error
        except ImportError as error:  # an artifact store's or a database's driver
            raise TrackingError(_one_line(error), temporary=False) from error

    return call


def _was_beaten(error: MlflowException) -> bool:
    """Whether another call made the same row meanwhile; the same call once more finds it.

    MLflow looks first and inserts then, and calls the slower of two a bad request.
    """
    return "IntegrityError" in str(error)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300]


@dataclass(frozen=True)
class StoredRun:
    """A run as the tracking store has it."""

    id: str
    name: str
    status: str
    start_ms: int
    end_ms: int | None
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    datasets: frozenset[tuple[str, str]] = frozenset()  # (name, digest)


def database_file(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _fresh_spelling(uri: str, path: Path | None) -> str:
    """The URI under which MLflow opens the file that is there now.

    MLflow keeps its connections to a URI until the process ends, also when the file was deleted and made
    anew; under another spelling of the path it opens the new one.
    """
    if path is None:
        return uri
    if path in _opened and _opened[path] != _inode(path):
        del _opened[path]
        _spellings[path] = _spellings.get(path, 0) + 1
    return f"sqlite:///{path.parent}/{'./' * _spellings.get(path, 0)}{path.name}"


def _make_database(path: Path) -> None:
    """A new SQLite store, whole or not at all.

    MLflow makes its tables by some dozens of migrations that take seconds. A kill or a full disk in between leaves
    a file that no later start can open or mend; so it is made beside its place and moved there when it is whole.
    """
    for left in path.parent.glob(f".{path.name}.new-*"):
        left.unlink(missing_ok=True)
    draft = path.with_name(f".{path.name}.new-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        MlflowClient(tracking_uri=f"sqlite:///{draft}")
        if not path.exists():
            os.rename(draft, path)
    finally:
        for left in path.parent.glob(f"{draft.name}*"):
            left.unlink(missing_ok=True)


class TrackingClient:
    """One tracking store."""

    @_translated
    def __init__(self, uri: str) -> None:
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        # Its first words on a new SQLite file are about tables; nobody asked.
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self.uri = uri
        self._file = database_file(uri)
        if self._file is not None and not self._file.exists():
            _make_database(self._file)
        spelled = _fresh_spelling(uri, self._file)
        if self._file is not None:
            _opened[self._file] = _inode(self._file)  # also where opening it fails
        self._client = MlflowClient(tracking_uri=spelled)
        if self._file is not None:
            self._inode = _opened[self._file] = _inode(self._file)

    @property
    def api(self) -> MlflowClient:
        """MLflow's own client of this store."""
        return self._client

    @_translated
    def check_file(self) -> None:
        """Fail if the database file is another one by now: what is written would go nowhere."""
        if self._file is not None and _inode(self._file) != self._inode:
            raise TrackingError(f"{self._file} was deleted or replaced", temporary=True)

    @property
    def is_server(self) -> bool:
        return self.uri.startswith(("http://", "https://"))

    # Experiments

    @_translated
    def find_experiment(self, name: str) -> Experiment | None:
        found = self._client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
            found = self._client.get_experiment_by_name(name)
        return found

    @_translated
    def create_experiment(self, name: str, artifacts: str | None, tags: Mapping[str, str]) -> str:
        return str(self._client.create_experiment(name, artifact_location=artifacts, tags=dict(tags)))

    @_translated
    def tag_experiment(self, experiment_id: str, tags: Mapping[str, str]) -> None:
        for name, value in tags.items():
            self._client.set_experiment_tag(experiment_id, name, value)

    # Runs

    @_translated
    def runs(self, experiment_id: str, tags: Mapping[str, str]) -> list[StoredRun]:
        """All active runs of the experiment with these tags."""
        condition = " and ".join(f"tags.`{name}` = '{_quoted(value)}'" for name, value in tags.items())
        result: list[StoredRun] = []
        token: str | None = None
        while True:
            page: PagedList[Any] = self._client.search_runs(
                [experiment_id], condition, ViewType.ACTIVE_ONLY, RUNS_PER_PAGE, page_token=token
            )
            result += [_stored(run) for run in page]
            token = page.token
            if not token:
                return result

    @_translated
    def create_run(self, experiment_id: str, name: str, start_ms: int, tags: Mapping[str, str]) -> StoredRun:
        run = self._client.create_run(experiment_id, start_time=start_ms, tags=dict(tags), run_name=name)
        return _stored(run)

    @_translated
    def delete_run(self, run_id: str) -> None:
        self._client.delete_run(run_id)

    @_translated
    def set_status(self, run_id: str, status: RunStatus, end_ms: int | None, name: str | None) -> None:
        if end_ms is not None:
            self._client.set_terminated(run_id, status=status.value, end_time=end_ms)
        if end_ms is None or name is not None:
            self._client.update_run(run_id, status=status.value, name=name)

    @_translated
    def history(self, run: StoredRun) -> dict[tuple[str, int], list[float]]:
        """Every stored value of every metric of the run."""
        result: dict[tuple[str, int], list[float]] = {}
        for key in run.metrics:
            for metric in self._client.get_metric_history(run.id, key):
                result.setdefault((key, metric.step), []).append(metric.value)
        return result

    @_translated
    def send_points(self, run_id: str, points: Sequence[Point], model_id: str | None = None) -> int:
        """Points in batches. The store keeps one of two equal ones, so a batch may be sent again."""
        for batch in _batches(points, METRICS_PER_BATCH):
            metrics = [Metric(p.key, p.value, p.time_ms, p.step, model_id=model_id) for p in batch]
            self._client.log_batch(run_id, metrics=metrics)
        return len(points)

    @_translated
    def send_params(self, run_id: str, params: Mapping[str, str]) -> None:
        for batch in _batches(list(params.items()), PARAMS_PER_BATCH):
            self._client.log_batch(run_id, params=[Param(key, value) for key, value in batch])

    @_translated
    def send_tags(self, run_id: str, tags: Mapping[str, str], remove: Iterable[str] = ()) -> None:
        for name in remove:
            self._client.delete_tag(run_id, name)
        for batch in _batches(list(tags.items()), TAGS_PER_BATCH):
            self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in batch])

    @_translated
    def send_datasets(self, run_id: str, datasets: Iterable[Dataset], context: str) -> None:
        tags = [InputTag("mlflow.data.context", context)]
        entities = (MlflowDataset(d.name, d.digest, "manager", d.source) for d in datasets)
        inputs = [DatasetInput(entity, tags) for entity in entities]
        for tries_left in reversed(range(DATASET_TRIES)):
            try:
                self._client.log_inputs(run_id, datasets=inputs)
                return
            except MlflowException as error:
                if not (tries_left and _was_beaten(error)):
                    raise

    # Logged models

    @_translated
    def models(self, experiment_id: str, key_tag: str) -> list[StoredModel]:
        result: list[StoredModel] = []
        token: str | None = None
        while True:
            page = self._client.search_logged_models([experiment_id], page_token=token)
            for model in page:
                if key_tag in model.tags:
                    result.append(StoredModel(model.model_id, model.tags[key_tag], model.source_run_id))
            token = page.token
            if not token:
                return result

    @_translated
    def create_model(
        self, experiment_id: str, name: str, source_run_id: str, kind: str, tags: Mapping[str, str]
    ) -> str:
        model = self._client.create_logged_model(
            experiment_id, name=name, source_run_id=source_run_id, tags=dict(tags), model_type=kind
        )
        self._client.finalize_logged_model(model.model_id, "READY")
        return str(model.model_id)

    @_translated
    def delete_model(self, model_id: str) -> None:
        self._client.delete_logged_model(model_id)

    @_translated
    def link_models(self, run_id: str, used: Sequence[str], made: Sequence[tuple[str, int]]) -> None:
        """Say which models a run used and made. What is linked already is left out: MLflow refuses it."""
        run = self._client.get_run(run_id)
        known_inputs = {model.model_id for model in run.inputs.model_inputs or ()}
        outputs = run.outputs.model_outputs if run.outputs else ()
        known_outputs = {model.model_id for model in outputs or ()}
        inputs = [LoggedModelInput(model_id) for model_id in used if model_id not in known_inputs]
        if inputs:
            self._client.log_inputs(run_id, models=inputs)
        new = [LoggedModelOutput(model_id, step) for model_id, step in made if model_id not in known_outputs]
        if new:
            self._client.log_outputs(run_id, new)

    # Artifacts

    @_translated
    def send_file(self, run_id: str, source: Path, folder: str) -> None:
        if source.is_dir():
            self._client.log_artifacts(run_id, str(source), folder or None)
        else:
            self._client.log_artifact(run_id, str(source), folder or None)

    @_translated
    def send_text(self, run_id: str, path: str, text: str) -> None:
        self._client.log_text(run_id, text, path)


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _batches(values: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _stored(run: Any) -> StoredRun:
    return StoredRun(
        id=run.info.run_id,
        name=run.info.run_name,
        status=run.info.status,
        start_ms=run.info.start_time or 0,
        end_ms=run.info.end_time,
        tags=dict(run.data.tags),
        params=dict(run.data.params),
        metrics=tuple(run.data.metrics),
        datasets=frozenset((i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs),
    )
