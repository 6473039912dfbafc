"""Base models and checkpoints as MLflow's logged models, linked to the runs that made and used them.

Weights stay in the run directories: a logged model says where, what it descends from, and how it was judged.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manager.job import Job, Kind, canonical_json
from manager.tracking.lineage import model_identity, root_model, training_domain, training_job
from manager.tracking.names import tags_of
from manager.tracking.observe import Observed
from manager.tracking.projection import Points
from manager.tracking.send import Memory, Sent

if TYPE_CHECKING:
    from manager.tracking.client import TrackingClient

MODEL_TAG = "manager.model"  # which model a logged model is: base:<digest>, or <job id>@<step>
LINKS_TAG = "manager.models"  # digest of the models that a run was linked to
_REFUSED = re.compile(r"[/:.%\"']")


@dataclass(frozen=True)
class Model:
    key: str
    name: str
    kind: str  # base or checkpoint
    source_job: str | None  # None: the sweep's run stands for it
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelPlan:
    models: Mapping[str, Model]
    inputs: Mapping[str, str]  # job id -> the model that it started from or judged
    outputs: Mapping[str, tuple[tuple[str, int], ...]]  # job id -> the models that it made, with their step


@dataclass(frozen=True)
class StoredModel:
    id: str
    key: str
    source_run_id: str | None


def plan_models(
    jobs: Mapping[str, Job], observed: Mapping[str, Observed], names: Mapping[str, str], sweep_name: str
) -> ModelPlan:
    """Which models there are by now, who made them and who used them."""
    models: dict[str, Model] = {}
    inputs: dict[str, str] = {}
    outputs: dict[str, tuple[tuple[str, int], ...]] = {}
    last_steps = {job_id: (o.facts.result or {}).get("last_step") for job_id, o in observed.items()}

    def checkpoint(job: Job, step: int) -> str:
        key = f"{job.id}@{step}"
        run = observed[job.id].run
        tags = {"checkpoint_step": step, "path": _relative(run.model_dir(step), run.path)}
        models[key] = _model(key, f"{names[job.id]} step {step}", "checkpoint", job, jobs, sweep_name, tags)
        return key

    for job_id, one in observed.items():
        job = jobs[job_id]
        if job.kind in (Kind.RL, Kind.SFT) and one.facts.result:
            steps = {*one.facts.result.get("models", ()), one.facts.result.get("last_step")} - {None}
            outputs[job_id] = tuple((checkpoint(job, int(step)), int(step)) for step in sorted(steps))
        parent = training_job(job, jobs)
        if parent is not None and parent.id in observed:
            step = job.config["model"].get("checkpoint", "last")
            step = last_steps.get(parent.id) if step == "last" else step
            if isinstance(step, int):
                inputs[job_id] = checkpoint(parent, step)
        elif parent is None and (name := root_model(job, jobs)) is not None:
            key = f"base:{hashlib.sha256((model_identity(job) or '').encode()).hexdigest()[:16]}"
            models[key] = _model(key, name, "base", None, jobs, sweep_name, {"base": name, **_source(job)})
            inputs[job_id] = key
    return ModelPlan(models, inputs, outputs)


def _model(
    key: str,
    name: str,
    kind: str,
    job: Job | None,
    jobs: Mapping[str, Job],
    sweep_name: str,
    tags: Mapping[str, Any],
) -> Model:
    lineage: dict[str, Any] = {"sweep": sweep_name, MODEL_TAG: key}
    if job is not None:
        lineage |= {
            "job_id": job.id,
            "base": root_model(job, jobs),
            "domain": training_domain(job, jobs),
            "seed": job.config.get("seed"),
        }
    told = {name: value for name, value in {**lineage, **tags}.items() if value not in (None, "")}
    return Model(key, _REFUSED.sub("-", name), kind, job.id if job else None, tags_of(told))


def _source(job: Job) -> dict[str, Any]:
    model = job.config["model"]
    return {name: model.get(name) for name in ("hub", "revision", "path", "digest")}


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root))


class ModelRegistry:
    """The logged models of one experiment, as far as this process knows them."""

    def __init__(self, client: TrackingClient, experiment_id: str) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._stored: dict[str, StoredModel] | None = None

    def send(
        self,
        plan: ModelPlan,
        sweep_run_id: str,
        memory: Mapping[str, Memory],
        evaluations: Mapping[str, Points],
    ) -> Sent:
        """Make the models that are missing and link them to the jobs' runs."""
        for job_id in sorted({*plan.inputs, *plan.outputs}):
            known = memory.get(job_id)
            if known is None or not known.fingerprint:
                continue  # its run is not complete yet, or another process sends it
            outputs = plan.outputs.get(job_id, ())
            inputs = plan.inputs.get(job_id)
            points = evaluations.get(job_id, {})
            sources = {plan.models[key].source_job for key in (inputs, *(k for k, _ in outputs)) if key}
            if any(source is not None and source not in memory for source in sources):
                continue
            if not self._is_linked(plan, known, inputs, outputs, points):
                self._link(plan, sweep_run_id, memory, job_id, points)
        return Sent()

    def _digest(self, known: Memory, inputs: str | None, outputs: Sequence[tuple[str, int]], points: Points) -> str:
        shown = sorted([p.key, p.step, repr(p.value)] for p in points.values())
        text = canonical_json([known.run.id, inputs, [list(pair) for pair in outputs], shown])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _is_linked(
        self,
        plan: ModelPlan,
        known: Memory,
        inputs: str | None,
        outputs: Sequence[tuple[str, int]],
        points: Points,
    ) -> bool:
        return known.run.tags.get(LINKS_TAG) == self._digest(known, inputs, outputs, points)

    def _link(
        self,
        plan: ModelPlan,
        sweep_run_id: str,
        memory: Mapping[str, Memory],
        job_id: str,
        points: Points,
    ) -> None:
        known, run_id = memory[job_id], memory[job_id].run.id
        outputs, inputs = plan.outputs.get(job_id, ()), plan.inputs.get(job_id)

        def model_id(key: str) -> str:
            model = plan.models[key]
            source = memory[model.source_job].run.id if model.source_job else sweep_run_id
            return self._ensure(model, source)

        used = [model_id(inputs)] if inputs else []
        made = [(model_id(key), step) for key, step in outputs]
        self._client.link_models(run_id, used, made)
        if used and points:
            self._client.send_points(run_id, list(points.values()), model_id=used[0])
        mark = {LINKS_TAG: self._digest(known, inputs, outputs, points)}
        self._client.send_tags(run_id, mark)
        known.remember_tags(mark)

    def _ensure(self, model: Model, source_run_id: str) -> str:
        if self._stored is None:
            self._stored = self._load()
        stored = self._stored.get(model.key)
        if stored is not None and stored.source_run_id != source_run_id:
            self._client.delete_model(stored.id)  # its run was replaced
            stored = None
        if stored is None:
            new = self._client.create_model(self._experiment_id, model.name, source_run_id, model.kind, model.tags)
            stored = self._stored[model.key] = StoredModel(new, model.key, source_run_id)
        return stored.id

    def _load(self) -> dict[str, StoredModel]:
        """One logged model a key; others come from a request that was thought lost."""
        result: dict[str, StoredModel] = {}
        for stored in self._client.models(self._experiment_id, MODEL_TAG):
            if stored.key in result:
                self._client.delete_model(stored.id)
            else:
                result[stored.key] = stored
        return result
