"""A server on a real PostgreSQL, as docs/tracking.md sets one up; and the database without a server."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from manager.tracking import sync
from tests.manager.tracked_sweep import begin, end, finish_study, make_study, train, vanish
from tests.manager.tracking_readback import ReadBack, expected
from tests.manager.tracking_server import free_port, running_server

pytestmark = pytest.mark.slow
pytest.importorskip("psycopg2", reason="the postgres extra is not installed: pip install '.[postgres]'")


def programs() -> Path:
    """Where initdb and postgres are; Debian keeps them off PATH."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    return folders[-1]


@dataclass(frozen=True)
class Cluster:
    uri: str


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A private PostgreSQL on the loopback, owned by an unprivileged user: it refuses to run as root."""
    folder = Path(tempfile.mkdtemp(prefix="tracking-postgres-"))
    user: str | None = None
    if os.geteuid() == 0:
        user = next(u.pw_name for u in pwd.getpwall() if u.pw_name in ("postgres", "nobody"))
        shutil.chown(folder, user)
    bin_dir, data, port = programs(), folder / "data", free_port()
    process: subprocess.Popen[bytes] | None = None
    try:
        password = folder / "password"
        password.write_text("secret")
        password.chmod(0o644)
        command = [str(bin_dir / "initdb"), "-D", str(data), "-U", "lab", "--auth=scram-sha-256"]
        command += [f"--pwfile={password}", "--no-sync", "-E", "UTF8", "--locale=C"]
        subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)
        settings = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": folder,
            "fsync": "off",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with open(folder / "log", "wb") as log:
            command = [str(bin_dir / "postgres"), "-D", str(data), *options]
            process = subprocess.Popen(command, user=user, cwd=folder, stdout=log, stderr=log)
        yield Cluster(f"postgresql+psycopg2://lab:secret@127.0.0.1:{port}/{_database(port)}")
    finally:
        if process is not None:
            process.send_signal(signal.SIGQUIT)
            process.wait(timeout=60)
        shutil.rmtree(folder)


def _database(port: int) -> str:
    """Make the database as soon as the server takes connections."""
    import psycopg2

    deadline = time.monotonic() + 120
    while True:
        try:
            connection = psycopg2.connect(host="127.0.0.1", port=port, user="lab", password="secret", dbname="postgres")
            break
        except psycopg2.OperationalError:
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.1)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE mlflow")
    connection.close()
    return "mlflow"


def test_a_server_on_postgresql_holds_every_point_once(cluster: Cluster, tmp_path: Path) -> None:
    study = make_study(tmp_path / "runs")
    with running_server(tmp_path / "server", cluster.uri) as server:
        directory = study.run_dir("train", domain="math")
        run = begin(directory)
        run.log({"loss": float("nan")}, 1)
        train(run, 1, 60)
        vanish(run)
        assert sync(study.store, "study", tracking_uri=server.uri).error is None
        run = begin(directory)
        train(run, 51, 90, offset=0.5)
        end(run, last_step=90)
        result = sync(study.store, "study", tracking_uri=server.uri)
        assert (result.error, result.runs_replaced) == (None, 1)
        back = ReadBack.of(result, server.uri)
        trained = back.run(stage="train", domain="math")
        assert back.points(trained, "train/") == expected(1, 50) + expected(51, 90, offset=0.5)
        again = sync(study.store, "study", tracking_uri=server.uri)
        assert (again.points, again.runs_created) == (0, 0)


def test_postgresql_without_a_server(cluster: Cluster, tmp_path: Path) -> None:
    study = make_study(tmp_path / "runs", name="direct")
    finish_study(study)
    result = sync(study.store, "direct", tracking_uri=cluster.uri)
    assert result.error is None
    assert "secret" not in result.uri
    back = ReadBack.of(result, cluster.uri)
    trained = back.run(stage="train", domain="math")
    assert back.points(trained, "train/") == expected(1, 100)
    assert "report/report.html" in back.artifacts(back.run(kind="sweep"))
