"""A real server that is killed, frozen, overloaded, broken, slow, locked or full loses nothing.

In every case the job goes on writing its journal. When the server is back and everything was sent again,
every point is there exactly once: counted.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from manager.drain_process import drain_command
from manager.run import Run
from manager.tracking import last_sync, sync
from tests.manager.tracked_sweep import Study, begin, end, finish_study, make_study, train
from tests.manager.tracking_readback import ReadBack, expected
from tests.manager.tracking_server import Mode, Proxy, Server, running_server

DEADLINE_S = 180.0
METRICS = 10


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen server is given up after seconds, so that the test need not wait long."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "4")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@contextmanager
def drained(study: Study, uri: str) -> Iterator[subprocess.Popen[bytes]]:
    """The sweep's drain process on that server."""
    command = [*drain_command(study.store, "study"), "--interval", "0.2", "--tracking-uri", uri]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.getcwd()})
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)


def last_error(study: Study) -> str | None:
    record = last_sync(study.store, study.sweep.name)
    return str(record["error"]) if record and record["error"] else None


def wait_for_trouble(study: Study) -> None:
    wait_for(lambda: last_error(study) is not None, "the drain to notice")


def go_through(study: Study, uri: str, fault: Callable[[Run], None]) -> tuple[ReadBack, int]:
    """Write 300 steps: a third before the fault, a third during it, a third after it; then send the rest."""
    run = begin(study.run_dir("train"))
    train(run, 1, 100, metrics=METRICS)
    with drained(study, uri) as process:
        wait_for(lambda: last_sync(study.store, "study") is not None, "the first pass")
        fault(run)
        train(run, 201, 300, metrics=METRICS)
        end(run, last_step=300)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=DEADLINE_S)
    result = sync(study.store, "study", tracking_uri=uri)
    assert result.error is None
    back = ReadBack.of(result, uri)
    points = back.points(back.run(stage="train", domain="math"), "train/")
    assert points == expected(1, 300, metrics=METRICS)
    return back, sum(points.values())


@pytest.fixture
def study(tmp_path: Path, impatient: None) -> Study:
    # All studies of this module are on one server: each has an experiment of its own.
    return make_study(tmp_path / "runs", domains=("math",))


def test_everything_about_a_study_reaches_a_server(study: Study, server: Server) -> None:
    finish_study(study)
    result = sync(study.store, "study", tracking_uri=server.uri)
    assert result.error is None
    back = ReadBack.of(result, server.uri)
    assert len(back.runs) == len(study.sweep.jobs) + 5
    trained = back.run(stage="train", domain="math")
    assert back.points(trained, "train/") == expected(1, 100)
    assert back.line(trained, "mini_math/pass_at_1") == [(0, 0.2), (100, 0.6)]
    assert "report/report.html" in back.artifacts(back.run(kind="sweep"))
    again = sync(study.store, "study", tracking_uri=server.uri)
    assert (again.points, again.artifacts, again.runs_created) == (0, 0, 0)


def test_a_server_that_is_not_there_is_told_and_not_raised(study: Study) -> None:
    finish_study(study, steps=2)
    result = sync(study.store, "study", tracking_uri="http://127.0.0.1:9")
    assert result.error is not None
    assert "Connection" in result.error


@pytest.mark.parametrize("mode", [Mode.TOO_MANY, Mode.BROKEN, Mode.ANSWER_LOST])
def test_refusing_for_a_while(study: Study, server: Server, mode: Mode) -> None:
    with Proxy(server.uri) as proxy:

        def fault(run: Run) -> None:
            proxy.mode = mode
            train(run, 101, 200, metrics=METRICS)
            wait_for_trouble(study)
            proxy.mode = Mode.PASS

        go_through(study, proxy.uri, fault)
        assert proxy.spoiled > 0


def test_every_third_answer_is_lost(study: Study, server: Server) -> None:
    finish_study(study, steps=30)
    with Proxy(server.uri) as proxy:
        proxy.mode, proxy.every = Mode.ANSWER_LOST, 3
        errors = [sync(study.store, "study", tracking_uri=proxy.uri).error for _ in range(20)]
        assert any(errors)
        proxy.mode = Mode.PASS
        result = sync(study.store, "study", tracking_uri=proxy.uri)
        assert result.error is None
        back = ReadBack.of(result, proxy.uri)
        assert len(back.runs) == len(study.sweep.jobs) + 5
        assert back.points(back.run(stage="train", domain="math"), "train/") == expected(1, 30)


@pytest.mark.slow
def test_slow_by_five_seconds(study: Study, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    with Proxy(server.uri, delay_s=5.0) as proxy:

        def fault(run: Run) -> None:
            proxy.mode = Mode.SLOW
            train(run, 101, 200, metrics=METRICS)
            wait_for(lambda: proxy.spoiled >= 2, "points and tags sent slowly")
            proxy.mode = Mode.PASS

        go_through(study, proxy.uri, fault)


@pytest.mark.slow
def test_killed_and_started_again(study: Study, server: Server) -> None:
    def fault(run: Run) -> None:
        server.kill()
        train(run, 101, 200, metrics=METRICS)
        wait_for_trouble(study)
        server.start()

    go_through(study, server.uri, fault)


@pytest.mark.slow
def test_frozen_and_thawed(study: Study, server: Server) -> None:
    def fault(run: Run) -> None:
        server.signal(signal.SIGSTOP)
        try:
            train(run, 101, 200, metrics=METRICS)
            wait_for_trouble(study)
        finally:
            server.signal(signal.SIGCONT)

    go_through(study, server.uri, fault)


@pytest.mark.slow
def test_the_servers_database_is_locked(study: Study, server: Server) -> None:
    def fault(run: Run) -> None:
        holder = sqlite3.connect(server.database, isolation_level=None, timeout=60)
        holder.execute("BEGIN EXCLUSIVE")
        try:
            train(run, 101, 200, metrics=METRICS)
            wait_for_trouble(study)
        finally:
            holder.execute("ROLLBACK")
            holder.close()

    go_through(study, server.uri, fault)


def fill(path: Path) -> None:
    """Write until nothing more fits on the disk."""
    with open(path, "wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"x" * 4096)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


@contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator[Path]:
    """A file system of its own, where this process may mount one."""
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={size_mb}m".encode()
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options) != 0:
        pytest.skip(f"cannot mount a small file system: {errno.errorcode[ctypes.get_errno()]}")
    try:
        yield folder
    finally:
        libc.umount2(os.fsencode(folder), 2)  # MNT_DETACH: also if a process still holds a file


@pytest.mark.slow
def test_the_servers_disk_is_full(study: Study, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 48) as disk, running_server(disk / "server") as server:
        ballast = disk / "ballast"

        def fault(run: Run) -> None:
            fill(ballast)
            train(run, 101, 200, metrics=METRICS)
            wait_for_trouble(study)
            ballast.unlink()

        go_through(study, server.uri, fault)


@pytest.mark.slow
def test_our_own_disk_is_full(tmp_path: Path, impatient: None) -> None:
    """The default store on a full disk: told, and sent when there is room again."""
    with small_disk(tmp_path / "disk", 48) as disk:
        study = make_study(disk / "runs", domains=("math",))
        finish_study(study, steps=100)
        ballast = disk / "ballast"
        fill(ballast)
        result = sync(study.store, "study")
        assert result.error is not None
        ballast.unlink()
        result = sync(study.store, "study")
        assert result.error is None
        back = ReadBack.of(result)
        assert back.points(back.run(stage="train", domain="math"), "train/") == expected(1, 100)
