"""The SQLite store is made whole or not at all: a kill while MLflow makes its tables must not spoil it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from manager.tracking.client import TrackingClient

OPEN = "import sys; from manager.tracking.client import TrackingClient; TrackingClient(sys.argv[1])"
DEADLINE_S = 600


def test_killed_while_the_tables_are_made_the_next_start_makes_them_anew(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    process = subprocess.Popen([sys.executable, "-c", OPEN, uri], cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + DEADLINE_S
    while not begun(tmp_path):
        assert process.poll() is None, "made before it was killed"
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "mlflow.db").exists()
    assert list(tmp_path.iterdir()), "nothing was left of the killed one: the test shows nothing"
    client = TrackingClient(uri)
    assert client.api.get_experiment("0").name == "Default"
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def begun(folder: Path) -> bool:
    """Whether the first tables are on the disk. A journal may vanish while it is looked at."""
    for path in folder.glob(".mlflow.db.new-*"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size and not path.name.endswith("-journal"):
                return True
    return False


def test_a_store_that_is_there_is_opened_as_it_is(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    made = TrackingClient(uri).api.create_experiment("kept")
    assert TrackingClient(uri).api.get_experiment(made).name == "kept"
