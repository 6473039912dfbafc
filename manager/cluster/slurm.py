"""Jobs on a Slurm cluster: submits, observes and cancels them.

Every call of sbatch has its intent on disk before it and is found again by its token after any
interruption. What to submit is plan.py's decision; what to believe is slurm_view.py's.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from manager.cluster.backend import HELD_BACK, Phase, SchedulerView, Submission
from manager.cluster.slurm_arrays import (
    Chunk,
    ParentTask,
    Source,
    compact_ids,
    dependency_text,
    fit_queue,
    plan_arrays,
)
from manager.cluster.slurm_command import SchedulerSilent, ask, call
from manager.cluster.slurm_limits import Limits, read_limits
from manager.cluster.slurm_query import STUCK, Rows, ask_sacct, ask_squeue
from manager.cluster.slurm_record import (
    Record,
    intent_of,
    new_token,
    read_records,
    write_intent,
    write_submitted,
)
from manager.cluster.slurm_recover import recover_queued
from manager.cluster.slurm_sbatch import hand_over, one_at_a_time
from manager.cluster.slurm_script import SCRIPT, ScriptRequest, job_name, sbatch_variables, script, write_work
from manager.cluster.slurm_site import Site
from manager.cluster.slurm_view import Evidence, accounted, parents_in_queue, unlisted, views
from manager.errors import UserError
from manager.job import SweepJob
from manager.kinds import DISTRIBUTED
from manager.observe import file_server_time
from manager.remedy import bad_nodes
from manager.snapshot import commit_of, take_snapshot
from manager.store import Store

# Above this number of jobs the steps are left out of sacct's answer, and with them a step's OUT_OF_MEMORY.
MAX_JOBS_WITH_STEPS = 500
# Above this number of jobs the first of each array has to make its first step before the others start.
CANARY_ABOVE = 20


class SlurmBackend:
    """One cluster, as one user sees it, for the sweeps of one store."""

    name = "slurm"

    def __init__(self, store: Store, site: Site, sweep: str = "sweep", canary: bool | None = None) -> None:
        self._store = store
        self._site = site
        self._sweep = sweep
        self._canary = canary  # None: by the number of jobs
        self.left_out: tuple[SweepJob, ...] = ()  # of the last submit: the queue had no room for them
        self.limits: Limits | None = None
        self._silent_since: float | None = None  # since when squeue has not answered

    # Observing

    def observe(self, ids: Iterable[str]) -> Mapping[str, SchedulerView]:
        """One squeue and at most one sacct; jobs never submitted are left out."""
        wanted = set(ids)
        records = read_records(self._store, wanted)
        return self._observe(records, wanted)

    def observe_and_account(
        self, ids: Iterable[str], gpus: Mapping[str, int]
    ) -> tuple[Mapping[str, SchedulerView], Mapping[str, float]]:
        """`observe`, and the GPU-seconds so far of the jobs in `gpus`: the same sacct answers both."""
        wanted = set(ids)
        records = read_records(self._store, wanted)
        if not records:
            return {}, {}
        about = {record.token for record in records if not gpus.keys().isdisjoint(record.tasks.values())}
        evidence = self._evidence(records, wanted, about)
        used: Mapping[str, float] = {}
        if not isinstance(evidence.queue, str) and not isinstance(evidence.accounting, str):
            used = accounted(records, gpus, evidence.queue, evidence.accounting)
        return views(records, wanted, evidence), used

    def _observe(self, records: Sequence[Record], ids: Collection[str]) -> dict[str, SchedulerView]:
        return views(records, ids, self._evidence(records, ids)) if records else {}

    def _evidence(self, records: Sequence[Record], ids: Collection[str], about: Collection[str] = ()) -> Evidence:
        """What squeue says, and sacct of what squeue does not list any more and of the tokens `about`."""
        queue = self._queue(records)
        accounting: Rows | str = "not asked"
        if not isinstance(queue, str):
            gone = {record.token for record in unlisted(records, ids, queue, self._is_done)}
            asked = [record for record in records if record.token in gone or record.token in about]
            accounting = self._accounting(asked) if asked else {}
        now = self._now()
        self._silent_since = (self._silent_since or now) if isinstance(queue, str) else None
        return Evidence(now, queue, accounting, self._site.settle_s, self._silent_since)

    def _is_done(self, job_id: str) -> bool:
        return self._store.run(job_id).is_done()

    def _queue(self, records: Sequence[Record]) -> Rows | str:
        tokens = {record.token for record in records}
        try:
            return ask_squeue(tokens, {record.user for record in records}, timeout_s=self._site.timeout_s)
        except SchedulerSilent as silent:
            return str(silent)

    def _accounting(self, records: Sequence[Record]) -> Rows | str:
        tokens = {record.token for record in records}
        number = sum(len(record.tasks) for record in records)
        try:
            return ask_sacct(
                (record.name for record in records),
                tokens,
                {record.user for record in records},
                min(record.created for record in records),
                steps=number <= MAX_JOBS_WITH_STEPS,
                timeout_s=self._site.timeout_s,
            )
        except SchedulerSilent as silent:
            return str(silent)

    def _now(self) -> float:
        """The file server's time where it can be had: intents of other hosts are compared with it."""
        try:
            return file_server_time(self._store.root / "submissions")
        except OSError:  # a store that may only be read
            return time.time()

    # Submitting

    def submit(
        self, entries: Sequence[SweepJob], parents: Mapping[str, SchedulerView]
    ) -> list[Submission]:
        """Hand the jobs over in as few arrays as possible; what others submitted meanwhile is left out.

        `parents` need not be complete: every parent is looked up again here.
        """
        with one_at_a_time(self._store):
            self._recover()
            ids = {entry.job.id for entry in entries} | {need for entry in entries for need in entry.job.needs}
            records = read_records(self._store, ids)
            seen = self._observe(records, ids)
            self._adopt(records, seen)
            todo = self._not_in_queue(entries, seen)
            if not todo:
                return []
            self._drop_stuck(entries, seen)
            limits = self._read_limits()
            live = {each: ParentTask(Source(None, array), index)
                    for each, (array, index) in parents_in_queue(seen).items()}  # fmt: skip
            fitting = fit_queue(todo, self._room(limits), set(live))
            chosen = {entry.job.id for entry in fitting}
            self.left_out = tuple(entry for entry in todo if entry.job.id not in chosen)
            free = [entry.job.id for entry in fitting if self._has_saved(entry)]
            chunks = plan_arrays(fitting, live, limits.max_array, self._site.max_parallel, free)
            canary = len(fitting) > CANARY_ABOVE if self._canary is None else self._canary
            return self._submit_chunks(chunks, arrays=limits.max_array > 0, canary=canary)

    def _recover(self) -> None:
        """Jobs in the queue whose submission was lost from the store are adopted, not submitted again."""
        try:
            recover_queued(self._store, self._site.timeout_s)
        except SchedulerSilent as silent:
            raise _nothing_submitted(silent) from silent

    def _submit_chunks(self, chunks: Sequence[Chunk], *, arrays: bool, canary: bool) -> list[Submission]:
        code = take_snapshot(self._store.root)
        array_ids: dict[int, str] = {}
        result = []
        for chunk in chunks:
            if array_ids:
                time.sleep(self._site.sbatch_interval_s)
            dependency = dependency_text(chunk.dependencies, array_ids, arrays=arrays)
            first = canary and arrays and len(chunk.tasks) > 1
            submission = self._submit_chunk(chunk, code, dependency, arrays=arrays, canary=first)
            array_ids[chunk.number] = submission.scheduler_id
            result.append(submission)
        return result

    def _submit_chunk(
        self, chunk: Chunk, code: Path, dependency: str | None, *, arrays: bool, canary: bool
    ) -> Submission:
        token = new_token()
        folder = self._store.submission_dir(token)
        folder.mkdir(parents=True)
        request = self._request(token, folder, chunk, code, dependency, arrays=arrays, canary=canary)
        (folder / SCRIPT).write_text(script(request, self._site), encoding="utf-8")
        write_work(folder, self._store.root, token)
        write_intent(self._store, request.intent)
        without = sbatch_variables(request, self._site)
        array_id = hand_over(self._store, self._site, token, chunk.stage, len(chunk.tasks), without)
        write_submitted(self._store, token, array_id)
        self._tell_parents(chunk, array_id, arrays=arrays)
        return Submission(token, array_id, tuple(entry.job.id for entry in chunk.tasks.values()))

    def _has_saved(self, entry: SweepJob) -> bool:
        """Whether the weights that the job waits for are there: it need not wait for its first need."""
        step, needs = entry.job.resources.starts_with, entry.job.needs
        return step is not None and bool(needs) and step in self._store.run(needs[0]).saved_steps()

    def _tell_parents(self, chunk: Chunk, array_id: str, *, arrays: bool) -> None:
        """Leave word with each training which of these jobs start on weights that it saves on its way: its
        batch script lifts their dependency then. A word that is lost costs time alone: they start after it."""
        steps: dict[str, dict[str, int]] = {}
        for index, entry in chunk.tasks.items():
            step = entry.job.resources.starts_with
            if step is not None and entry.job.needs and chunk.dependencies:
                name = f"{array_id}_{index}" if arrays else array_id
                steps.setdefault(entry.job.needs[0], {})[name] = step
        for parent, waiting in steps.items():
            self._store.run(parent).add_waiting(array_id, waiting)

    def _request(
        self,
        token: str,
        folder: Path,
        chunk: Chunk,
        code: Path,
        dependency: str | None,
        *,
        arrays: bool,
        canary: bool,
    ) -> ScriptRequest:
        array = chunk.one_first if canary else chunk.array
        frozen = {"code": code.name, "commit": commit_of(code)}
        return ScriptRequest(
            token=token,
            sweep=self._sweep,
            stage=chunk.stage,
            resources=chunk.resources,
            folder=folder,
            code=code,
            array=array if arrays else None,
            release=(chunk.throttle or 0) if canary else None,
            dependency=dependency,
            exclude=tuple(bad_nodes(self._store.root)),
            saves_weights=any(entry.job.kind.value in DISTRIBUTED for entry in chunk.tasks.values()),
            intent=intent_of(
                token,
                name=job_name(self._sweep, chunk.stage, token),
                site=self._site.name,
                stage=chunk.stage,
                tasks={index: entry.job.id for index, entry in chunk.tasks.items()},
                extra={"sweep": self._sweep, **frozen, "dependency": dependency, "canary": canary},
            ),
        )

    def _not_in_queue(
        self, entries: Sequence[SweepJob], seen: Mapping[str, SchedulerView]
    ) -> list[SweepJob]:
        """Without jobs that have a result, are in the queue, or of which nobody can tell; and without
        children of jobs that cannot be named as a dependency yet."""
        taken = (Phase.QUEUED, Phase.RUNNING, Phase.UNKNOWN)
        in_doubt = {each for each, view in seen.items() if view.phase in taken and not view.scheduler_id}
        in_doubt |= {each for each, view in seen.items() if view.phase is Phase.UNKNOWN}
        result = []
        for entry in entries:
            job = entry.job
            if self._store.run(job.id).is_done() or (job.id in seen and seen[job.id].phase in taken):
                continue
            if any(need in in_doubt for need in job.needs):
                in_doubt.add(job.id)
                continue
            result.append(entry)
        return result

    def _adopt(self, records: Sequence[Record], seen: Mapping[str, SchedulerView]) -> None:
        """Write down the ids of calls whose answer was lost, so that they outlive Slurm's memory."""
        found = {view.token: view.scheduler_id.partition("_")[0] for view in seen.values() if view.scheduler_id}
        for record in records:
            if record.array_id is None and record.token in found:
                write_submitted(self._store, record.token, found[record.token], adopted=True)

    def _drop_stuck(self, entries: Sequence[SweepJob], seen: Mapping[str, SchedulerView]) -> None:
        """Take jobs out of the queue that would wait there for ever: a parent, or the first of them, failed."""
        stuck = [
            seen[entry.job.id].scheduler_id
            for entry in entries
            if entry.job.id in seen and seen[entry.job.id].reason in (*STUCK, HELD_BACK)
        ]
        if stuck:
            call(["scancel", *compact_ids(stuck)], timeout_s=self._site.timeout_s)

    def _read_limits(self) -> Limits:
        try:
            self.limits = read_limits(self._site)
        except SchedulerSilent as silent:
            raise _nothing_submitted(silent) from silent
        return self.limits

    def _room(self, limits: Limits) -> int | None:
        """How many more jobs of this user the queue takes."""
        if limits.max_queued is None:
            return None
        argv = ["squeue", "--noheader", "--array", "--me", "--format=%i"]
        try:
            text = ask(argv, timeout_s=self._site.timeout_s)
        except SchedulerSilent as silent:
            raise _nothing_submitted(silent) from silent
        return max(0, limits.max_queued - len(text.split()))

    # Cancelling

    def cancel(self, ids: Iterable[str]) -> list[str]:
        """End what is queued or runs of these. First without requeue: on some sites jobs requeue themselves."""
        seen = self.observe(ids)
        told = {each: view for each, view in seen.items()
                if view.phase in (Phase.QUEUED, Phase.RUNNING) and view.scheduler_id}  # fmt: skip
        if not told:
            return []
        names = compact_ids(view.scheduler_id for view in told.values())
        for name in names:
            # Fails for what has just ended; scancel below says whatever matters.
            call(["scontrol", "update", f"jobid={name}", "requeue=0"], timeout_s=self._site.timeout_s)
        answer = call(["scancel", *names], timeout_s=self._site.timeout_s)
        if answer.code != 0:
            raise UserError(f"scancel: {answer.complaint}; run the same `manager cancel` again")
        return list(told)

    # Showing

    def scripts(self, entries: Sequence[SweepJob]) -> list[str]:
        """The scripts that `submit` would hand over, with placeholders for tokens and ids of Slurm."""
        seen = self.observe({need for entry in entries for need in entry.job.needs})
        live = {each: ParentTask(Source(None, array), index)
                for each, (array, index) in parents_in_queue(seen).items()}  # fmt: skip
        limits = self._read_limits()
        free = [entry.job.id for entry in entries if self._has_saved(entry)]
        chunks = plan_arrays(entries, live, limits.max_array, self._site.max_parallel, free)
        names = {chunk.number: f"ID{chunk.number + 1}" for chunk in chunks}
        arrays = limits.max_array > 0
        canary = len(entries) > CANARY_ABOVE if self._canary is None else self._canary
        code = self._store.root / "code" / "SNAPSHOT"
        result = []
        for chunk in chunks:
            token = f"TOKEN{chunk.number + 1}"
            dependency = dependency_text(chunk.dependencies, names, arrays=arrays)
            first = canary and arrays and len(chunk.tasks) > 1
            folder = self._store.submission_dir(token)
            request = self._request(token, folder, chunk, code, dependency, arrays=arrays, canary=first)
            result.append(script(request, self._site))
        return result


def _nothing_submitted(silent: SchedulerSilent) -> UserError:
    return UserError(
        f"Slurm does not answer ({silent}); nothing was submitted, run the same command again later, "
        "or with --cluster local on this machine"
    )
