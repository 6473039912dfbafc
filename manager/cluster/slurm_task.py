"""What runs in every task of a Slurm job, around the worker: which job of the array this task is."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manager.atomic import read_json
from manager.errors import UserError
from manager.kinds import DISTRIBUTED
from manager.place import here
from manager.remedy import start_mark
from manager.store import RunDirectory, Store
from manager.worker import JobEnded, Work

# With --kill-on-bad-exit the first rank that leaves ends the others: it waits until rank 0 has written
# down how the attempt ended.
OTHER_RANK_WAIT_S = 30.0
FIRST_STEP_POLL_S = 2.0
RELEASE_POLL_S = 5.0


@dataclass(frozen=True)
class ArrayWork:
    """What submitit pickles, once for a whole array: two texts. The task's index says which job it is."""

    store: str
    token: str

    def __call__(self) -> str:
        for stream in (sys.stdout, sys.stderr):
            print(start_mark(here().execution), file=stream, flush=True)
        directory = Store(Path(self.store)).run(self.job_id(os.environ.get("SLURM_ARRAY_TASK_ID", "0")))
        canary = bool(self.intent().get("canary"))  # read now: the submission may be lost while the job runs
        if os.environ.get("SLURM_PROCID", "0") == "0" and canary:
            threading.Thread(target=self._tell_first_step, args=(directory,), daemon=True).start()
        trains = directory.job().kind.value in DISTRIBUTED and os.environ.get("SLURM_PROCID", "0") == "0"
        if trains:
            threading.Thread(target=self._keep_releasing, args=(directory,), daemon=True).start()
        try:
            result = Work(str(directory.path), self.token)()
            if canary:
                self._reach()
            return result
        except JobEnded:
            if os.environ.get("SLURM_PROCID", "0") != "0":
                _wait_for_end(directory)
            raise
        finally:
            if trains:
                self._ask_release(directory)

    @property
    def folder(self) -> Path:
        return Store(Path(self.store)).submission_dir(self.token)

    @property
    def reached(self) -> Path:
        """There once a job of this array has reached its first step: the batch script releases the others."""
        return self.folder / "first-step"

    def intent(self) -> dict[str, Any]:
        path = self.folder / "intent.json"
        value: dict[str, Any] | None = read_json(path)
        if value is None:
            raise UserError(f"{path}: missing, so nobody knows which job this is; was the store moved?")
        return value

    def job_id(self, index: str) -> str:
        job_id: str = self.intent()["tasks"][index]
        return job_id

    def _keep_releasing(self, directory: RunDirectory) -> None:
        while True:
            try:
                self._ask_release(directory)
            except OSError as error:  # the file server: nothing is lost, the jobs start after this one
                print(f"evaluations that wait for saved weights were not told: {error}", file=sys.stderr, flush=True)
            time.sleep(RELEASE_POLL_S)

    def _ask_release(self, directory: RunDirectory) -> None:
        """Ask the batch script to lift the dependency of jobs whose weights are saved now. It has Slurm's commands,
        which a container may not have."""
        saved = directory.saved_steps()
        wanted = [name for name, step in directory.waiting().items() if step in saved]
        for name in wanted:
            if not (self.folder / "lifted" / name).exists():
                self._release_folder.mkdir(exist_ok=True)
                (self._release_folder / name).touch()

    @property
    def _release_folder(self) -> Path:
        array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
        return self.folder / f"release-{f'{array}_{index}' if array else os.environ['SLURM_JOB_ID']}"

    def _tell_first_step(self, directory: RunDirectory) -> None:
        """Beside the job: say when it has made its first step."""
        while not self.reached.exists():
            last = directory.last_attempt()
            if last is not None and last.record.get("token") == self.token:
                step = (last.progress() or {}).get("step")
                if step is not None and step >= 1:
                    self._reach()
            time.sleep(FIRST_STEP_POLL_S)

    def _reach(self) -> None:
        try:
            self.reached.touch()
        except OSError as error:  # the others of the array stay held; this job is not to fail for that
            print(f"the array was not told of the first step: {error}", file=sys.stderr, flush=True)


def _wait_for_end(directory: RunDirectory) -> None:
    """On a rank other than 0: stay until rank 0 has written the end of this attempt, or for a while."""
    last = directory.last_attempt()
    if last is None:
        return
    deadline = time.monotonic() + OTHER_RANK_WAIT_S
    while time.monotonic() < deadline and not (last.path / "end.json").exists():
        time.sleep(0.2)
