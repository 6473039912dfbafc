"""The Slurm test cluster for tests: brings it up, breaks it on purpose, waits for events."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from manager.cluster.slurm import SlurmBackend
from manager.cluster.slurm_site import Site
from manager.job import Job, Kind, Resources, Sweep, SweepJob
from manager.store import RunDirectory, Store
from tests.manager.toy_kind import undisturbed_digest

DEVCLUSTER = Path(__file__).with_name("devcluster")
ROOT = Path(__file__).parents[2]
PROGRAMS = ("sbatch", "slurmctld", "slurmd", "munged")
ACCOUNTING_PROGRAMS = ("slurmdbd", "mariadbd")
# Generous: the machine may be busy with other tests.
DEADLINE_S = 400.0


def missing_programs() -> list[str]:
    """Programs that the cluster needs and this machine does not have."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin"
    return [name for name in (*PROGRAMS, *ACCOUNTING_PROGRAMS) if shutil.which(name, path=path) is None]


def wait_for(condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Poll until the condition holds; an assertion error with `what` after the deadline."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {deadline_s:.0f} s: {what}"
        time.sleep(0.1)


@dataclass
class Cluster:
    """A running test cluster in a state directory of its own."""

    folder: Path

    @property
    def conf(self) -> Path:
        return self.folder / "etc" / "slurm.conf"

    def devcluster(self, *arguments: str, check: bool = True, **environment: str) -> str:
        done = subprocess.run(
            [str(DEVCLUSTER), *arguments, str(self.folder)],
            capture_output=True, text=True, timeout=900, check=False, env={**os.environ, **environment},
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"devcluster {arguments}: {done.stderr[-3000:]}"
        return done.stdout

    def up(self, **environment: str) -> None:
        self.devcluster("up", **environment)
        os.environ["SLURM_CONF"] = str(self.conf)

    def down(self) -> None:
        self.devcluster("down", check=False)

    def fault(self, action: str, daemon: str) -> None:
        """`stop`, `start`, `kill` or `crash` of a daemon or node."""
        self.devcluster(action, daemon)

    @contextmanager
    def settings(self, **changes: str) -> Iterator[None]:
        """Other settings of slurm.conf for a while (an empty value leaves one out); restarts the controller."""
        before = self.conf.read_text()
        lines = [line for line in before.splitlines() if line.partition("=")[0] not in changes]
        added = [f"{key}={value}" for key, value in changes.items() if value]
        nodes = next(number for number, line in enumerate(lines) if line.startswith("NodeName="))
        self._restart_with("\n".join([*lines[:nodes], *added, *lines[nodes:]]) + "\n")
        try:
            yield
        finally:
            self._restart_with(before)

    def _restart_with(self, text: str) -> None:
        self.fault("stop", "slurmctld")
        self.conf.write_text(text)
        self.fault("start", "slurmctld")
        self.command("scontrol", "reconfigure")

    def command(self, *argv: str, check: bool = True) -> str:
        done = subprocess.run(list(argv), capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0 or not check, f"{argv}: {done.stderr}"
        return done.stdout

    def empty(self) -> None:
        """Between tests: no jobs, every daemon and node up."""
        if self.devcluster("status", check=False).count("DOWN"):
            self.up()
        self.command("scancel", "--me", check=False)
        wait_for(lambda: not self.command("squeue", "--me", "--noheader", check=False).strip(), "an empty queue")
        self.up()

    def queued(self) -> int:
        return len(self.command("squeue", "--me", "--noheader", "--array").splitlines())


# Sweeps of jobs that take no time: tests/manager/toy_kind.py takes the place of a kind.


def toy(number: int, *, needs: tuple[str, ...] = (), resources: Resources | None = None, **config: object) -> Job:
    return Job(Kind.RL, {"toy": {"number": number, **config}}, needs, resources or Resources())


def toy_sweep(name: str, *stages: tuple[str, list[Job]]) -> Sweep:
    entries = [
        SweepJob(stage, {"number": job.config["toy"]["number"]}, job) for stage, jobs in stages for job in jobs
    ]
    return Sweep(name, None, tuple(entries))


def backend(store: Store, sweep: str = "toys", **changes: object) -> SlurmBackend:
    # The time limit is far away: Slurm's signal before it (three minutes, up to one more) is a fault of its own test.
    values: dict[str, object] = {"settle_s": 2.0, "timeout_s": 30.0, "time_min": 60, "memory_gb": 0.5}
    return SlurmBackend(store, Site(**{**values, **changes}), sweep)  # type: ignore[arg-type]


def steps_done(run: RunDirectory) -> list[dict[str, int]]:
    path = run.path / "steps.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@dataclass(frozen=True)
class Gate:
    """Holds toy jobs at a step for as long as a test needs them to run, however fast the machine is."""

    path: Path

    def before(self, step: int) -> dict[str, object]:
        """For the config of a toy job."""
        return {"gate": str(self.path), "gate_step": step}

    def open(self) -> None:
        self.path.touch()


def assert_undisturbed(store: Store, sweep: Sweep, steps: int) -> None:
    """Whatever happened: every job has one terminal result, its steps were done in order and never by two attempts
    at the same time, and its digest is that of a run without any fault."""
    for entry in sweep.jobs:
        run = store.run(entry.job.id)
        done = steps_done(run)
        assert {each["step"] for each in done} == set(range(1, steps + 1))
        assert [each["attempt"] for each in done] == sorted(each["attempt"] for each in done)
        assert_result_undisturbed(run, steps)


def assert_ran_once(store: Store, sweep: Sweep) -> None:
    """Jobs of three steps that nothing has disturbed: not even a second attempt was needed."""
    assert_undisturbed(store, sweep, 3)
    for entry in sweep.jobs:
        assert [step["step"] for step in steps_done(store.run(entry.job.id))] == [1, 2, 3]
        assert len(store.run(entry.job.id).attempts()) == 1


def assert_result_undisturbed(run: RunDirectory, steps: int) -> None:
    result = run.result()
    assert result is not None
    assert (result["last_step"], result["digest"]) == (steps, undisturbed_digest(run.job().config["toy"], steps))
    assert [attempt.outcome for attempt in run.attempts()].count("done") == 1


def finished(run: RunDirectory) -> bool:
    """Whether the job has its result and its attempt has said so, which comes just after."""
    last = run.last_attempt()
    return run.is_done() and last is not None and last.end is not None


def done(store: Store, sweep: Sweep) -> bool:
    return all(finished(store.run(entry.job.id)) for entry in sweep.jobs)


def logs(store: Store) -> str:
    """The ends of all logs of tasks, for a failing test's message."""
    pieces = []
    for path in sorted(store.root.glob("submissions/*/*_log.*")):
        pieces.append(f"--- {path.name}\n{path.read_text(errors='replace')[-1500:]}")
    return "\n".join(pieces)[-12000:]


def assert_done(store: Store, sweep: Sweep, deadline_s: float = DEADLINE_S) -> None:
    try:
        wait_for(lambda: done(store, sweep), "every job has its result", deadline_s)
    except AssertionError as error:
        queue = subprocess.run(["squeue", "--me"], capture_output=True, text=True, check=False).stdout
        raise AssertionError(f"{error}\n{queue}\n{logs(store)}") from None


PYTHON = sys.executable
