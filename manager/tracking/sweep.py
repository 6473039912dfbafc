"""One sweep's runs in the tracking store: the experiment, the sweep's and stages' runs, and every job's.

Sends what changed since it last looked. What it remembers is only to save work: after any failure it asks
the store again what is there.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manager.errors import UserError
from manager.job import Kind, State, Sweep, SweepJob
from manager.shards import evaluation_result
from manager.store import Store
from manager.tracking.journal import read_tail
from manager.tracking.lineage import mirrors
from manager.tracking.models import LINKS_TAG, ModelRegistry, plan_models
from manager.tracking.observe import Observed, observe
from manager.tracking.parents import send_stage, send_sweep
from manager.tracking.projection import Points, RunStatus, evaluation_points, mirrored, run_names, status_of
from manager.tracking.send import (
    ARTIFACTS_TAG,
    DRAFT,
    KEY_TAG,
    SYNCED_TAG,
    Context,
    Memory,
    Sent,
    send_job,
    wanted,
)
from manager.tracking.system import Watched

if TYPE_CHECKING:
    from manager.tracking.client import StoredRun, TrackingClient

OWNER_TAG = "manager.store"  # which store an experiment shows: two stores may have a sweep of one name
SERVER_THREADS = 4  # a server spends most of a request's time waiting
NO_STATES: Mapping[str, State] = {}


class SweepTracking:
    """The connection of one sweep to its tracking store."""

    def __init__(
        self,
        store: Store,
        sweep: Sweep,
        client: TrackingClient,
        *,
        only: frozenset[str] | None = None,
        compare: bool = False,
    ) -> None:
        """`only`: these jobs, and not the sweep's and stages' runs. `compare`: believe no mark of an
        earlier sync; ask for every value that the store has."""
        self._store = store
        self._client = client
        self._only = only
        self._compare = compare
        self.follow(sweep)
        self._elsewhere: set[str] = set()  # jobs that another process sends, or sent
        self._added: dict[str, Points] = {}  # what this process added to their runs
        self._experiment_id: str | None = None
        self._models: ModelRegistry | None = None
        self._parents: dict[str, StoredRun] = {}  # key -> the run of the sweep or of a stage
        self._memory: dict[str, Memory] = {}
        self._observed: dict[str, Observed] = {}
        self._evaluations: dict[str, tuple[object, Points]] = {}
        self._joined: set[str] = set()  # first shards of evaluations whose shards are all done and were joined

    @property
    def experiment_id(self) -> str | None:
        return self._experiment_id

    def follow(self, sweep: Sweep) -> None:
        """Take the sweep as it is now; it may have been extended."""
        self._sweep = sweep
        self._mirrors = mirrors(sweep)
        self._jobs = {entry.job.id: entry.job for entry in sweep.jobs}
        self._names = run_names(sweep.jobs) if self._only is None else {}

    def running(self) -> list[Watched]:
        """The attempts that were alive at the last look."""
        result = []
        for job_id, observed in self._observed.items():
            if observed.facts.state is State.RUNNING and (self._only is None or job_id in self._only):
                first, last = observed.facts.attempts[0], observed.facts.attempts[-1]
                began = float(first.get("started", 0.0))
                result.append(Watched(job_id, observed.sources.system[-1], last, began))
        return result

    def forget(self) -> None:
        """Ask the store again what it has."""
        self._experiment_id = None
        self._models = None
        self._parents.clear()
        self._memory.clear()
        self._added.clear()

    def send(
        self,
        *,
        active: bool = False,
        states: Mapping[str, State] = NO_STATES,
        skip: Callable[[str], bool] = lambda job_id: False,
    ) -> Sent:
        """Send everything that is new. Raises TrackingError where the store cannot be reached.

        `active`: somebody is working on the sweep, so what is not done yet is under way.
        `skip`: jobs that another process sends.
        """
        try:
            return self._send(active, states, skip)
        except BaseException:
            self.forget()
            raise

    def _send(self, active: bool, states: Mapping[str, State], skip: Callable[[str], bool]) -> Sent:
        self._client.check_file()
        self._observe(states)
        sent = Sent()
        if self._experiment_id is None:
            self._connect()
        stages = list(dict.fromkeys(entry.stage for entry in self._entries()))
        if self._only is None:
            sent += self._create_parents(stages)
        sent += self._send_jobs(self._todo(skip))
        if self._only is None:
            sent += self._send_models()
            sent += self._update_parents(stages, active, states)
        if sent.waiting:
            self.forget()  # what this process believes of those runs may be wrong
        return sent

    def _todo(self, skip: Callable[[str], bool]) -> list[Observed]:
        result = []
        watched = {entry.job.id for entry in self._entries()}
        for job_id, observed in self._observed.items():
            if job_id not in watched or self._settled(job_id):
                continue
            if skip(job_id):
                self._elsewhere.add(job_id)
                self._memory.pop(job_id, None)
                self._send_evaluations(job_id)
            else:
                result.append(observed)
        return result

    def _send_evaluations(self, job_id: str) -> None:
        """Add evaluations to the run of a job that another process sends: adding disturbs nobody."""
        points = self._mirrored(job_id)
        if points and self._added.get(job_id) != points:
            memory = self._look_up(job_id)
            if memory is not None:
                self._client.send_points(memory.run.id, list(points.values()))
                self._added[job_id] = points

    def _entries(self) -> Iterable[SweepJob]:
        return (e for e in self._sweep.jobs if self._only is None or e.job.id in self._only)

    # What the run directories say

    def _observe(self, states: Mapping[str, State]) -> None:
        watched = {e.job.id for e in self._entries()}
        watched |= {m.evaluation for job_id in watched for m in self._mirrors.get(job_id, ())}
        for entry in self._sweep.jobs:
            job_id = entry.job.id
            known = self._observed.get(job_id)
            if job_id not in watched or (known is not None and known.facts.state is State.DONE):
                continue
            observed = observe(self._store, entry, states)
            if observed is None:
                continue
            self._observed[job_id] = observed
            if entry.job.kind is Kind.EVALUATE and "shard" not in entry.job.config:
                self._read_evaluation(job_id, observed)
        for entry in self._sweep.jobs:
            if entry.job.id in watched and entry.job.config.get("shard", {"index": -1})["index"] == 0:
                self._join(entry)

    def _join(self, first: SweepJob) -> None:
        """The scores of a sharded evaluation, once all its shards are done: on the run of the first of them.

        The score of some of the items would look like the benchmark's, and is nobody's.
        """
        if first.job.id in self._joined or first.job.id not in self._observed:
            return
        result = evaluation_result(self._store, first.job)
        if result is not None:
            facts = replace(self._observed[first.job.id].facts, result=result)
            self._evaluations[first.job.id] = ("joined", evaluation_points(facts, ()))
            self._joined.add(first.job.id)

    def _read_evaluation(self, job_id: str, observed: Observed) -> None:
        mark = (observed.sources.sizes(), observed.facts.state)
        known = self._evaluations.get(job_id)
        if known is None or known[0] != mark:
            records = (r for path in observed.sources.journals for r in read_tail(path).records)
            self._evaluations[job_id] = (mark, evaluation_points(observed.facts, records))

    def _mirrored(self, job_id: str) -> Points:
        """What evaluations add to this job's run; an evaluation's own values follow from its result too."""
        points: Points = {}
        if job_id in self._evaluations:
            points |= self._evaluations[job_id][1]
        for mirror in self._mirrors.get(job_id, ()):
            if mirror.evaluation in self._evaluations:
                points |= mirrored(self._evaluations[mirror.evaluation][1], mirror.step, mirror.prefix)
        return points

    def _settled(self, job_id: str) -> bool:
        memory = self._memory.get(job_id)
        return memory is not None and memory.settled and memory.mirrored == self._mirrored(job_id)

    # What the store has

    def _connect(self) -> None:
        self._experiment_id = self._find_experiment()
        tags = {"sweep": self._sweep.name}
        if self._only is not None and len(self._only) == 1:
            (job_id,) = self._only
            runs = self._client.runs(self._experiment_id, {**tags, "job_id": job_id})
            stage = next(e.stage for e in self._entries())
            runs += self._client.runs(self._experiment_id, {**tags, KEY_TAG: f"stage/{stage}"})
        else:
            runs = self._client.runs(self._experiment_id, tags)
        if self._compare:
            marks = (SYNCED_TAG, ARTIFACTS_TAG, LINKS_TAG)
            runs = [replace(r, tags={k: v for k, v in r.tags.items() if k not in marks}) for r in runs]
            self._compare = False
        by_key = self._one_each(runs)
        for key, run in by_key.items():
            if key.startswith("job/"):
                self._memory[key.removeprefix("job/")] = Memory(run, run.tags.get(SYNCED_TAG, ""))
            else:
                self._parents[key] = run

    def _find_experiment(self) -> str:
        """The sweep's experiment, made where there is none. One of the same name that shows another
        store's sweep is left alone."""
        owner = str(self._store.root)
        base = str(tracking_settings(self._sweep).get("experiment") or self._sweep.name)
        for name in (base, f"{base} ({hashlib.sha256(owner.encode()).hexdigest()[:6]})"):
            found = self._client.find_experiment(name)
            if found is None:
                tags = {OWNER_TAG: owner, "mlflow.experimentKind": "custom_model_development"}
                return self._client.create_experiment(name, self._artifact_location(), tags)
            if found.tags.get(OWNER_TAG, owner) == owner:
                return str(found.experiment_id)
        raise UserError(
            f"{self._client.uri}: the experiments {base!r} and {name!r} belong to other stores; "
            "choose another name with tracking.experiment in the sweep"
        )

    def _artifact_location(self) -> str | None:
        """A server decides itself where artifacts are; the default store's are beside it."""
        named = tracking_settings(self._sweep).get("artifacts")
        if named:
            return str(named)
        if self._client.is_server:
            return None
        return (self._store.sweep_dir(self._sweep.name) / "artifacts").as_uri()

    def _one_each(self, runs: Sequence[StoredRun]) -> dict[str, StoredRun]:
        """One run a key. Others come from a request that was thought lost, or a replacement cut short."""
        by_key: dict[str, list[StoredRun]] = {}
        for run in runs:
            key = run.tags.get(KEY_TAG)
            if key:
                by_key.setdefault(key, []).append(run)
        result: dict[str, StoredRun] = {}
        for key, found in sorted(by_key.items(), key=lambda item: item[0].startswith(DRAFT)):
            found.sort(key=lambda run: (SYNCED_TAG not in run.tags, -len(run.metrics), run.id))
            place = key.removeprefix(DRAFT)
            keep = None
            if place not in result:
                keep = found[0]
                if key != place:  # the run that it was to replace is gone already
                    self._client.send_tags(keep.id, {KEY_TAG: place})
                    keep = replace(keep, tags={**keep.tags, KEY_TAG: place})
                result[place] = keep
            for run in found:
                if keep is None or run.id != keep.id:
                    self._client.delete_run(run.id)
        return result

    def _look_up(self, job_id: str) -> Memory | None:
        """The run that another process may have made since the last look."""
        if job_id not in self._elsewhere:
            return None
        assert self._experiment_id is not None
        runs = self._client.runs(self._experiment_id, {"sweep": self._sweep.name, "job_id": job_id})
        run = self._one_each(runs).get(f"job/{job_id}")
        return Memory(run, run.tags.get(SYNCED_TAG, "")) if run else None

    # Sending

    def _context(self) -> Context:
        assert self._experiment_id is not None
        stages = ((key.partition("stage/"), run) for key, run in self._parents.items())
        return Context(
            client=self._client,
            experiment_id=self._experiment_id,
            sweep_name=self._sweep.name,
            jobs=self._jobs,
            names=self._names,
            parents={stage: run.id for (_, found, stage), run in stages if found},
            partial=self._only is not None,
        )

    def _send_jobs(self, todo: Sequence[Observed]) -> Sent:
        from manager.tracking.client import TrackingError

        context, failed = self._context(), threading.Event()

        def send(observed: Observed) -> Sent:
            if failed.is_set():
                return Sent()
            job_id = observed.facts.entry.job.id
            want = wanted(context, observed, self._mirrored(job_id))
            try:
                memory = self._memory.get(job_id) or self._look_up(job_id)
                self._memory[job_id], sent = send_job(context, want, memory)
            except TrackingError as error:
                if error.temporary:
                    failed.set()
                    raise
                # This run is refused, the others need not be: told, and asked anew the next time.
                self._memory.pop(job_id, None)
                return Sent(waiting=(f"{want.shown.name}: refused by the tracking store: {error}",))
            return sent

        total = Sent()
        with ThreadPoolExecutor(SERVER_THREADS if self._client.is_server else 1) as pool:
            for sent in pool.map(send, todo):
                total += sent
        return total

    def _send_models(self) -> Sent:
        assert self._experiment_id is not None
        from manager.tracking.client import TrackingError

        if self._models is None:
            self._models = ModelRegistry(self._client, self._experiment_id)
        plan = plan_models(self._jobs, self._observed, self._names, self._sweep.name)
        evaluations = {job_id: points for job_id, (_, points) in self._evaluations.items()}
        try:
            return self._models.send(plan, self._parents["sweep"].id, self._memory, evaluations)
        except TrackingError as error:
            if error.temporary:
                raise
            return Sent(notes=(f"models are not registered: {error}",))  # a server older than MLflow 3

    def _create_parents(self, stages: Sequence[str]) -> Sent:
        started = [o.facts.attempts[0].get("started") for o in self._observed.values()]
        start_ms = round(1000 * min((float(s) for s in started if s), default=time.time()))
        sent = Sent()
        every = [("sweep", self._sweep.name), *((f"stage/{stage}", stage) for stage in stages)]
        # MLflow's UI shows the newest first: a millisecond apart, stages are listed in the sweep's order.
        starts = {key: start_ms + behind for behind, (key, _) in enumerate(reversed(every))}
        for key, name in every:
            if key in self._parents:
                continue
            tags = {KEY_TAG: key, "sweep": self._sweep.name, "kind": key.partition("/")[0]}
            if key != "sweep":
                tags |= {"stage": name, "mlflow.parentRunId": self._parents["sweep"].id}
            assert self._experiment_id is not None
            self._parents[key] = self._client.create_run(self._experiment_id, name, starts[key], tags)
            sent += Sent(created=1)
        return sent

    def _update_parents(self, stages: Sequence[str], active: bool, states: Mapping[str, State]) -> Sent:
        sent = Sent()
        statuses: dict[str, RunStatus] = {}
        for stage in stages:
            entries = [entry for entry in self._sweep.jobs if entry.stage == stage]
            observed = [self._observed.get(entry.job.id) for entry in entries]
            statuses[stage] = group_status([status_of(o.facts) if o else None for o in observed], active)
            key = f"stage/{stage}"
            self._parents[key] = send_stage(
                self._client,
                self._parents[key],
                statuses[stage],
                [o.facts for o in observed if o],
                len(entries),
            )
        assert self._experiment_id is not None
        every = [self._observed.get(entry.job.id) for entry in self._sweep.jobs]
        self._parents["sweep"], more = send_sweep(
            self._client,
            self._experiment_id,
            self._parents["sweep"],
            self._sweep,
            self._store,
            group_status([status_of(o.facts) if o else None for o in every], active),
            [o.facts for o in every if o],
            sorted({point.key for _, points in self._evaluations.values() for point in points.values()}),
        )
        return sent + more


def group_status(statuses: Sequence[RunStatus | None], active: bool) -> RunStatus:
    """The status of a stage or sweep; None stands for a job that was not attempted yet."""
    if any(status is RunStatus.RUNNING for status in statuses):
        return RunStatus.RUNNING
    if all(status is RunStatus.FINISHED for status in statuses):
        return RunStatus.FINISHED
    begun = any(status is not None and status is not RunStatus.SCHEDULED for status in statuses)
    if active:
        return RunStatus.RUNNING if begun else RunStatus.SCHEDULED
    if any(status is RunStatus.FAILED for status in statuses):
        return RunStatus.FAILED
    return RunStatus.KILLED if begun else RunStatus.SCHEDULED


def tracking_settings(sweep: Sweep) -> Mapping[str, Any]:
    """The sweep's `tracking:` block: uri, experiment, artifacts."""
    value = sweep.settings.get("tracking") or {}
    if isinstance(value, str):
        return {"uri": value}
    if not isinstance(value, Mapping):
        raise UserError(f"sweep {sweep.name}: tracking: must be a mapping with uri, experiment or artifacts")
    return value


def default_uri(store: Store, sweep_name: str) -> str:
    path: Path = store.sweep_dir(sweep_name) / "mlflow.db"
    return f"sqlite:///{path}"
