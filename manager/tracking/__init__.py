"""MLflow as a picture of the run directories: send what is new, rebuild it, show it.

The run directories are the truth; everything in the tracking store follows from them and can be deleted.
Nothing here is called by a job: a tracking store that is away, slow or full never touches one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from manager import ports
from manager.atomic import read_json, write_json
from manager.errors import UserError
from manager.job import State, Sweep
from manager.store import Store
from manager.tracking.send import Sent
from manager.tracking.sweep import SweepTracking, default_uri, tracking_settings

RECORD = "tracking.json"  # what the last sync did: for people; nothing depends on it
LOCK = "tracking.lock"
LOCK_WAIT_S = 60.0
SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https")


@dataclass(frozen=True)
class SyncResult:
    """What a sync did. `error`: why not everything could be sent; calling again later sends the rest."""

    sweep: str
    uri: str
    experiment_id: str | None = None
    points: int = 0
    artifacts: int = 0
    runs_created: int = 0
    runs_replaced: int = 0
    seconds: float = 0.0
    error: str | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def complete(self) -> bool:
        return self.error is None


def sync(
    store: Store,
    sweep_name: str,
    *,
    tracking_uri: str | None = None,
    active: bool = False,
    states: Mapping[str, State] | None = None,
    lock_wait_s: float = LOCK_WAIT_S,
) -> SyncResult:
    """Bring the sweep's tracking store up to date. Sent twice is stored once.

    A store that is away is told in the result, not raised. `states` are what the scheduler says, where the
    caller has asked it; `active`: somebody is working on the sweep.
    """
    return _sync(store, sweep_name, tracking_uri, active, states or {}, lock_wait_s, compare=False)


def rebuild(store: Store, sweep_name: str, *, tracking_uri: str | None = None) -> SyncResult:
    """Make the tracking store hold what the run directories say, whatever it holds now.

    Missing runs are made, every value is compared, artifacts are sent again. A default store that cannot
    be read is set aside.
    """
    path = _sqlite_path(tracking_uri_of(store, store.read_sweep(sweep_name), tracking_uri))
    if path is not None and path.exists() and not _is_database(path):
        path.rename(path.with_name(f"{path.name}.unreadable-{time.strftime('%Y%m%d-%H%M%S')}"))
    return _sync(store, sweep_name, tracking_uri, False, {}, LOCK_WAIT_S, compare=True)


def _sync(
    store: Store,
    sweep_name: str,
    tracking_uri: str | None,
    active: bool,
    states: Mapping[str, State],
    lock_wait_s: float,
    *,
    compare: bool,
) -> SyncResult:
    sweep = store.read_sweep(sweep_name)
    uri = tracking_uri_of(store, sweep, tracking_uri)
    with locked(store.sweep_dir(sweep_name) / LOCK, lock_wait_s) as mine:
        if not mine:
            return SyncResult(sweep_name, masked(uri), error="another process is sending this sweep")
        tracking = connect(store, sweep, uri, compare=compare)
        if isinstance(tracking, SyncResult):
            result = tracking
        else:
            result = send_once(tracking, sweep_name, uri, active=active, states=states)
        write_record(store, result)
        return result


def connect(
    store: Store, sweep: Sweep, uri: str, *, only: frozenset[str] | None = None, compare: bool = False
) -> SweepTracking | SyncResult:
    """The sweep's tracking store, or why it cannot be used now. Loads mlflow."""
    from manager.tracking.client import TrackingClient, TrackingError

    try:
        return SweepTracking(store, sweep, TrackingClient(uri), only=only, compare=compare)
    except TrackingError as error:
        return SyncResult(sweep.name, masked(uri), error=str(error))


def send_once(
    tracking: SweepTracking,
    sweep_name: str,
    uri: str,
    *,
    active: bool,
    states: Mapping[str, State],
    skip: Callable[[str], bool] = lambda job_id: False,
) -> SyncResult:
    """One pass over the sweep, with a failure of the store as part of the answer."""
    from manager.tracking.client import TrackingError

    started = time.monotonic()
    error: str | None = None
    sent = Sent()
    try:
        sent = tracking.send(active=active, states=states, skip=skip)
    except TrackingError as failure:
        error = str(failure)
    if error is None and sent.waiting:
        error = sent.waiting[0] + (f" (and {len(sent.waiting) - 1} more)" if len(sent.waiting) > 1 else "")
    return SyncResult(
        sweep=sweep_name,
        uri=masked(uri),
        experiment_id=tracking.experiment_id,
        points=sent.points,
        artifacts=sent.artifacts,
        runs_created=sent.created,
        runs_replaced=sent.replaced,
        seconds=time.monotonic() - started,
        error=error,
        notes=sent.notes,
    )


def write_record(store: Store, result: SyncResult) -> None:
    """Say in the sweep's directory how the last sync went."""
    path = store.sweep_dir(result.sweep) / RECORD
    try:
        write_json(path, {"time": time.time(), **asdict(result)})
    except OSError as error:
        # A full disk, or a store that only others may write to. The result itself says what happened.
        print(f"tracking: {path}: {error.strerror}", file=sys.stderr)


def last_sync(store: Store, sweep_name: str) -> dict[str, object] | None:
    """What the last sync did and when, for `manager status`; None if there was none."""
    value: dict[str, object] | None = read_json(store.sweep_dir(sweep_name) / RECORD)
    return value


# Where the tracking store is


def tracking_uri_of(store: Store, sweep: Sweep, given: str | None = None) -> str:
    """The argument, the sweep's `tracking.uri`, $MLFLOW_TRACKING_URI, or SQLite in the sweep's directory."""
    named = tracking_settings(sweep).get("uri")
    uri = given or (str(named) if named else None) or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return default_uri(store, sweep.name)
    scheme = uri.partition(":")[0].partition("+")[0]
    if "://" not in uri or scheme not in SCHEMES:
        raise UserError(
            f"tracking store {masked(uri)!r} (tracking.uri of sweep {sweep.name}, or MLFLOW_TRACKING_URI): "
            "use http://HOST:PORT, sqlite:////PATH or postgresql://…, or leave it out for the default"
        )
    return uri


def masked(uri: str) -> str:
    """The URI without a password."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", uri)


def _sqlite_path(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def _is_database(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        # A busy database is one.
        return "locked" in str(error) or "busy" in str(error)
    return True


@contextmanager
def locked(path: Path, wait_s: float) -> Iterator[bool]:
    """Whether this process now holds the lock; released at the end, and by the system when it dies.

    Where there can be no lock (a file system without them, a store that only others may write to, a full
    disk) it counts as held: two senders at once are safe, only wasteful.
    """
    try:
        stream = open(path, "a")  # noqa: SIM115  (closed below)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT):
            raise
        yield True
        return
    with stream:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    yield False
                    return
                time.sleep(0.1)
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
                break
        yield True


# Showing it

SERVER_VARIABLES = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def ui_command(store: Store, sweep_name: str, *, port: int | None = None) -> list[str]:
    """The command that serves MLflow's UI for the sweep's own store, on this machine only."""
    sweep = store.read_sweep(sweep_name)
    uri = tracking_uri_of(store, sweep)
    if uri.startswith("http"):
        raise UserError(f"sweep {sweep_name} is tracked by {masked(uri)}: open that in a browser")
    path = _sqlite_path(uri)
    if path is not None and not path.exists():
        raise UserError(f"{path}: nothing was tracked yet; run `manager sync {sweep_name}` first")
    return [
        shutil.which("env") or "/usr/bin/env",
        *(f"{name}={value}" for name, value in SERVER_VARIABLES.items()),
        sys.executable, "-m", "mlflow", "server",
        "--backend-store-uri", uri,
        "--default-artifact-root", (store.sweep_dir(sweep_name) / "artifacts").as_uri(),
        "--host", "127.0.0.1",
        "--port", str(port or ports.free("127.0.0.1")),
        "--workers", "1",
    ]  # fmt: skip
