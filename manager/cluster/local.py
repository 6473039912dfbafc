"""Jobs on this machine, by submitit's local executor: the same worker and run directories as on Slurm.

Starts, watches and ends processes. What to start and when is foreground.py's decision.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import submitit

from manager.atomic import write_json
from manager.cluster.backend import Phase, SchedulerView, Submission
from manager.errors import UserError
from manager.job import SweepJob
from manager.liveness import identify
from manager.store import Store
from manager.worker import Work

# submitit's local executor ends a job after two minutes unless told otherwise.
NO_LIMIT_MIN = 60 * 24 * 365
SIGNAL_BEFORE_LIMIT_S = 60


@dataclass
class _Running:
    submission: Submission
    job: submitit.Job[str]
    gpus: tuple[int, ...]
    slots: int


class LocalBackend:
    """A bounded number of job processes on this machine, each held in `_running` until it has ended."""

    name = "local"

    def __init__(self, store: Store, slots: int, gpus: int) -> None:
        self._store = store
        self.slots = slots
        self._free_gpus = list(range(gpus))
        self._gpus = gpus
        self._running: dict[str, _Running] = {}
        self._me = identify(os.getpid())
        # Jobs import this very code, whether it is installed or run from a checkout.
        root = str(Path(__file__).resolve().parents[2])
        places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        if root not in places:
            os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, places)])

    def check(self, entries: Iterable[SweepJob]) -> None:
        """Refuse before anything runs what this machine can never run."""
        for entry in entries:
            resources = entry.job.resources
            if resources.nodes > 1:
                raise UserError(
                    f"stage {entry.stage} asks for {resources.nodes} nodes and this is one machine; "
                    f"name a cluster (--cluster) or run with stages.{entry.stage}.resources.nodes=1"
                )
            if resources.gpus_per_node > self._gpus:
                raise UserError(
                    f"stage {entry.stage} asks for {resources.gpus_per_node} GPUs and this machine has "
                    f"{self._gpus}; name a cluster (--cluster) or run with "
                    f"stages.{entry.stage}.resources.gpus_per_node={self._gpus}"
                )

    def has_room(self, entry: SweepJob) -> bool:
        """Whether the job fits beside what runs now. A job wider than all slots runs alone."""
        used = sum(running.slots for running in self._running.values())
        return used + self._slots_of(entry) <= self.slots and entry.job.resources.gpus_per_node <= len(self._free_gpus)

    def _slots_of(self, entry: SweepJob) -> int:
        return min(self.slots, entry.job.resources.tasks)

    def submit(self, entries: Sequence[SweepJob], parents: Mapping[str, SchedulerView]) -> list[Submission]:
        """Start these jobs now. Parents must have ended: dependency order is the caller's."""
        return [self._start(entry) for entry in entries]

    def _start(self, entry: SweepJob) -> Submission:
        resources = entry.job.resources
        token = f"{entry.job.id}-{secrets.token_hex(4)}"
        folder = self._store.submission_dir(token)
        folder.mkdir(parents=True)
        write_json(
            folder / "intent.json",
            {"token": token, "jobs": [entry.job.id], "backend": self.name, "time": time.time()},
            durable=True,
        )
        gpus = tuple(self._free_gpus[: resources.gpus_per_node])
        executor = submitit.LocalExecutor(folder)
        executor.update_parameters(
            tasks_per_node=resources.tasks,
            gpus_per_node=len(gpus),
            visible_gpus=gpus,
            timeout_min=resources.time_min or NO_LIMIT_MIN,
            signal_delay_s=SIGNAL_BEFORE_LIMIT_S if resources.time_min else 0,
        )
        work = Work(str(self._store.run(entry.job.id).path), token, self._me, self._environment(entry))
        # Ctrl-C in a terminal goes to every process of the group. Blocked here, the signal is blocked in
        # the job for ever, and this process alone decides how jobs end.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            job = executor.submit(work)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        submission = Submission(token, str(job.job_id), (entry.job.id,))
        write_json(folder / "submitted.json", {"scheduler_id": job.job_id, "time": time.time()})
        del self._free_gpus[: len(gpus)]
        self._running[entry.job.id] = _Running(submission, job, gpus, self._slots_of(entry))
        return submission

    def _environment(self, entry: SweepJob) -> dict[str, str]:
        cores = len(os.sched_getaffinity(0))
        threads = entry.job.resources.cpus_per_task or max(1, cores // self.slots)
        return {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)}

    def running(self) -> list[str]:
        """The jobs whose processes have not ended; those that have are let go, with their GPUs."""
        for job_id, running in list(self._running.items()):
            if running.job.done():
                self._free_gpus.extend(running.gpus)
                self._free_gpus.sort()
                del self._running[job_id]
        return list(self._running)

    def observe_and_account(
        self, ids: Iterable[str], gpus: Mapping[str, int]
    ) -> tuple[Mapping[str, SchedulerView], Mapping[str, float]]:
        return self.observe(ids), {}  # nobody keeps accounts here: run directories tell

    def observe(self, ids: Iterable[str]) -> Mapping[str, SchedulerView]:
        alive = set(self.running())
        return {
            job_id: SchedulerView(
                Phase.RUNNING, self._running[job_id].submission.token, self._running[job_id].submission.scheduler_id
            )
            for job_id in ids
            if job_id in alive
        }

    def cancel(self, ids: Iterable[str]) -> list[str]:
        """Ask the jobs to save and stop. submitit's controller passes the signal on to every task."""
        told = []
        for job_id in ids:
            if job_id in self._running:
                self._signal(self._running[job_id], signal.SIGTERM)
                told.append(job_id)
        return told

    def kill(self) -> None:
        """End everything at once: each controller with all its descendants."""
        for running in self._running.values():
            try:
                controller = psutil.Process(int(running.job.job_id))
                family = [*controller.children(recursive=True), controller]
            except psutil.NoSuchProcess:
                continue
            for process in family:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue

    def _signal(self, running: _Running, number: signal.Signals) -> None:
        try:
            os.kill(int(running.job.job_id), number)
        except ProcessLookupError:
            return  # it ended by itself a moment ago

    def scripts(self, entries: Sequence[SweepJob]) -> list[str]:
        return [
            f"# {entry.title}\n{sys.executable} -m manager.worker {self._store.run(entry.job.id).path}\n"
            for entry in entries
        ]
