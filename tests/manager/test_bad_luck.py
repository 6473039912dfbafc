"""Bad luck told in one clear line: full and read-only disks, Ctrl-C in a terminal, an old Python."""

from __future__ import annotations

import ast
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import manager.cli
import manager.cli.app
from manager.claim import RESERVE
from manager.store import Store
from tests.manager.test_cli import ROOT, SWEEP, TOY

DEADLINE_S = 120


def environment(store: Path, **extra: str) -> dict[str, str]:
    return {**os.environ, **TOY, "MANAGER_STORE": str(store), "COLUMNS": "80", "OMP_NUM_THREADS": "1", **extra}


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_takes_nothing_is_one_line(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app() -> None:
        raise OSError(number, os.strerror(number), "/store/sweeps/x/lock")

    monkeypatch.setattr(manager.cli.app, "app", app)
    with pytest.raises(SystemExit) as stopped:
        manager.cli.main()
    told = capsys.readouterr().err
    assert stopped.value.code == 1
    assert told.count("\n") == 1
    assert told.startswith(f"error: /store/sweeps/x/lock: {os.strerror(number)}; ")


def test_other_errors_of_the_system_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def app() -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(manager.cli.app, "app", app)
    with pytest.raises(OSError, match="broken"):
        manager.cli.main()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("no mount on PATH")
    answer = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        pytest.skip(f"may not mount a small disk: {answer.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def manager_on(store: Path, *arguments: str | Path, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "manager", *map(str, arguments)],
        cwd=ROOT, env=environment(store, **extra), capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip


def test_a_disk_that_fills_up_while_a_job_runs_is_told_and_the_job_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(SWEEP, encoding="utf-8")
    store = small_disk / "store"
    first = manager_on(store, "sweep", file, TOY_MEGABYTES="3")
    assert first.returncode == 1, first.stdout + first.stderr
    assert "Traceback" not in first.stdout + first.stderr
    told = " ".join(first.stdout.split())
    assert "its disk is full (OSError: [Errno 28] No space left on device) (make room" in told
    still = manager_on(store, "sweep", file)
    assert still.returncode == 1, "nothing is tried while there is no room"
    assert "nothing was started" in still.stdout
    for large in small_disk.glob("store/jobs/*/large-*"):
        large.unlink()
    assert "3 to submit" in manager_on(store, "plan", file).stdout
    again = manager_on(store, "sweep", file)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "a job that a full disk stopped: there is room now, going on from what is saved" in again.stdout
    base = next(run for run in map(Store.open(store).run, Store.open(store).job_ids()) if run.job().kind.value == "sft")
    assert [attempt.outcome for attempt in base.attempts()] == ["failed", "done"]
    steps = [json.loads(line)["step"] for line in (base.path / "steps.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == [1, 2, 3]  # what was kept before the disk was full was not done again
    assert steps.count(1) == 1
    assert not list(store.glob(f"jobs/*/attempts/*/{RESERVE}"))


def test_a_heartbeat_goes_on_where_its_log_takes_nothing(tmp_path: Path) -> None:
    """A thread that ended of that would make the job look dead, and a second attempt would start beside it."""
    program = """
import sys, threading, time
from pathlib import Path
from manager import heartbeat
from manager.job import Job, Kind
from manager.run import Run
from manager.store import Store
heartbeat.INTERVAL_S = 0.01
job = Job(Kind.SFT, {})
directory = Store.open(Path(sys.argv[1]), create=True).add_job(job)
run = Run(directory, job, directory.path / "attempts" / "0001")
run.attempt_dir.mkdir(parents=True)
with heartbeat.Heartbeat(run, None):
    run.attempt_dir.rename(run.attempt_dir.with_name("away"))
    for beat in range(50):
        time.sleep(0.01)
    print(any(thread.name == "heartbeat" for thread in threading.enumerate()))
"""
    with open("/dev/full", "w", encoding="utf-8") as full:
        command = [sys.executable, "-c", program, str(tmp_path / "store")]
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=full, text=True, timeout=DEADLINE_S, check=False
        )
    assert done.stdout == "True\n"


def test_ctrl_c_in_a_terminal_is_answered_at_once_and_says_how_to_go_on(tmp_path: Path) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(SWEEP, encoding="utf-8")
    store = tmp_path / "store"
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "manager", "sweep", str(file)],
        cwd=ROOT, env=environment(store, TOY_STEP_S="0.2", TOY_STEPS="1000", TERM="xterm"),
        stdin=slave, stdout=slave, stderr=slave, preexec_fn=lambda: os.login_tty(0),
    )  # fmt: skip
    os.close(slave)
    seen = read_until(master, "/1000 step")
    assert "reward 0.00" in seen
    os.write(master, b"\x03")
    seen = read_until(master, "to go on")
    assert "stopping: one job saves" in seen
    assert "nothing is lost: run the same command again" in seen
    assert process.wait(DEADLINE_S) == 130
    os.close(master)
    deadline = time.monotonic() + DEADLINE_S
    while any(str(store) in " ".join(each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"])):
        assert time.monotonic() < deadline, "a process was left behind"
        time.sleep(0.05)


def read_until(descriptor: int, text: str) -> str:
    """What a terminal got, until this is in it."""
    seen = b""
    deadline = time.monotonic() + DEADLINE_S
    while text.encode() not in seen:
        assert time.monotonic() < deadline, seen.decode(errors="replace")
        seen += os.read(descriptor, 4096)
    return seen.decode(errors="replace")


def test_old_pythons_understand_the_file_that_tells_them_what_is_needed() -> None:
    source = Path(manager.cli.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 6))
    assert not [node for node in tree.body if isinstance(node, ast.ImportFrom)]  # __future__.annotations is 3.7's


def old_pythons() -> list[str]:
    found = [shutil.which(f"python3.{minor}") for minor in range(6, 11)]
    # A name on PATH may only say what to install.
    works = (path and subprocess.run([path, "-V"], capture_output=True, check=False).returncode == 0 for path in found)
    return [path for path, good in zip(found, works, strict=True) if path and good]


def test_an_old_python_is_told_in_one_line() -> None:
    pythons = old_pythons()
    if not pythons:
        pytest.skip("no python3.6 to python3.10 on PATH")
    for python in pythons:
        answer = subprocess.run(
            [python, "-m", "manager", "plan"], cwd=ROOT, capture_output=True, text=True, check=False,
            env={key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
        )  # fmt: skip
        assert answer.returncode == 1
        assert answer.stderr.startswith("manager needs Python 3.11 or newer; this is 3.")
        assert answer.stderr.count("\n") == 1
