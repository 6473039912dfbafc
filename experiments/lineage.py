"""Where an evaluated model comes from: its training run, and the model that run started from.

Pure: works on jobs alone. Two models are the same if their identities are equal, whatever they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from manager.job import Job, Kind, canonical_json

LastStep = Callable[[str], int | None]  # the last step of a finished training job, by its id


@dataclass(frozen=True)
class Pair:
    """A published model and the base it was trained from (the observational study)."""

    model: str  # the catalogue name of the trained model
    base: str
    domains: tuple[str, ...]
    subdomains: tuple[str, ...] = ()
    size_b: float | None = None  # billions of parameters
    family: str = ""
    provenance: str = ""


@dataclass(frozen=True)
class Subject:
    """What an evaluation judged: one model, and how it came about."""

    model: str  # identity
    name: str  # for people
    arm: str  # base or trained
    base: str  # name of the model that training started from; the model itself for the base arm
    base_model: str  # its identity: the control of a trained model
    root_model: str  # the same at the start of a chain of training runs
    run: str = ""  # the training job
    train_domain: str = ""
    train_domains: tuple[str, ...] = ()
    train_subdomains: tuple[str, ...] = ()
    algorithm: str = ""
    reward: str = ""
    seed: int | None = None
    step: int | None = None
    stages: int = 0  # how many RL runs lie between the root and this model
    path: tuple[str, ...] = ()  # the training domains of those runs, in order
    path_domains: tuple[str, ...] = ()  # every domain in their data
    augment: str = ""  # how its agent's observations were augmented in training; empty: not at all
    thinking: str = ""  # "no thinking" where its agent was trained to act at once
    warmup: str = ""  # the demonstrations that it was taught on before, by their shares
    length: str = ""  # how long it was trained


def model_identity(job: Job, last_step: LastStep) -> str:
    """The identity of the model that a job starts from or evaluates."""
    model = job.config["model"]
    if "need" in model:
        parent, checkpoint = job.needs[model["need"]], model["checkpoint"]
        if checkpoint == "last":
            checkpoint = last_step(parent) or "last"
        return f"job:{parent}@{checkpoint}"
    if "path" in model:
        return f"path:{model.get('digest') or model['path']}"
    if "scratch" in model:
        return f"scratch:{canonical_json(model)}"
    return f"hub:{model['hub']}@{model.get('revision') or 'unpinned'}"


def model_name(job: Job, jobs: Mapping[str, Job]) -> str:
    """What people call that model: the catalogue name, or the name of the model it was warmed up from."""
    model = job.config["model"]
    if "need" in model:
        parent = jobs[job.needs[model["need"]]]
        name = model_name(parent, jobs)
        if parent.kind == Kind.SFT:
            return name if _from_scratch(parent, jobs) or name.endswith("+sft") else f"{name}+sft"
        return f"{name}+{training_domain(parent)[0]}"
    name = model.get("name") or model.get("hub") or PurePath(model.get("path", "model")).name
    return str(name)


def _from_scratch(job: Job, jobs: Mapping[str, Job]) -> bool:
    """A model made on the spot has no name but the one it is given, however often it is warmed up."""
    model = job.config["model"]
    if "need" in model:
        parent = jobs[job.needs[model["need"]]]
        return parent.kind == Kind.SFT and _from_scratch(parent, jobs)
    return "scratch" in model


def training_domain(job: Job) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """(label, domains, subdomains) of a training job's data. The domains of a mixture are its sources'."""
    data = job.config["data"]
    named = data.get("domain") or data.get("name")
    label = "+".join(named) if isinstance(named, list) else str(named)
    own = tuple(named) if isinstance(named, list) else (str(named),)
    sources = data.get("sources", ())
    from_sources = tuple(dict.fromkeys(s["domain"] for s in sources if s.get("domain")))
    subdomains = _names(data.get("subdomain")) or tuple(
        dict.fromkeys(s["subdomain"] for s in sources if s.get("subdomain"))
    )
    return label, from_sources or own, subdomains


def _names(value: Any) -> tuple[str, ...]:
    if not value:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def algorithm(job: Job) -> str:
    """The RL algorithm as the field names it: the loss type of the GRPO trainer, or the trainer."""
    trainer = str(job.config.get("trainer", "grpo"))
    settings = job.config.get("grpo") or {}
    if trainer != "grpo":
        return trainer
    if settings.get("importance_sampling_level") == "sequence":
        return "gspo"
    # Not written down: the library chose. "grpo" would be wrong, its default is another loss type.
    return str(settings.get("loss_type", "default loss"))


def reward_name(job: Job) -> str:
    reward = job.config.get("reward")
    if not reward:
        return "correct"
    if isinstance(reward, str):
        return reward
    if isinstance(reward, Mapping):
        extra = [f"{k}={v}" for k, v in reward.items() if k not in ("name", "kind") and not isinstance(v, dict)]
        return " ".join([str(reward.get("name") or reward.get("kind") or "reward"), *extra])
    return "+".join(r if isinstance(r, str) else str(r.get("name", "reward")) for r in reward)


AUGMENT_SIZE = ", ε "  # what follows is the size, told only where two sizes must be told apart


def augment_text(job: Job) -> str:
    """How the observations of an agent were augmented, in words; empty where they were not."""
    augment = (job.config.get("agent") or {}).get("augment")
    if not augment:
        return ""
    return f"augmented {100 * augment['probability']:g} %{AUGMENT_SIZE}{augment['epsilon']:g}"


def thinking_text(job: Job) -> str:
    return "no thinking" if (job.config.get("agent") or {}).get("thinking") is False else ""


def length_text(job: Job) -> str:
    steps = (job.config.get("grpo") or {}).get("max_steps")
    return f"{steps} steps" if steps else ""


def warmup_text(job: Job, jobs: Mapping[str, Job]) -> str:
    """The mixture of demonstrations that the model behind `job` was last taught on; empty where there was none."""
    model = job.config["model"]
    if "need" not in model:
        return ""
    parent = jobs[job.needs[model["need"]]]
    mixed = parent.config["data"].get("trajectories") if parent.kind == Kind.SFT else None
    if not mixed:
        return warmup_text(parent, jobs)
    parts = [(part["ratio"], _demonstrated(jobs[parent.needs[part["need"]]])) for part in mixed]
    return " : ".join(f"{name} {ratio:g}" for ratio, name in sorted(parts, key=lambda part: (-part[0], part[1])))


def _demonstrated(job: Job) -> str:
    """What a collecting or sampling job has trajectories of."""
    if job.kind == Kind.COLLECT:
        return "+".join(row["name"] for row in job.config["benchmarks"])
    return training_domain(job)[0]


def subject(job: Job, jobs: Mapping[str, Job], last_step: LastStep, pairs: Mapping[str, Pair] | None = None) -> Subject:
    """What the evaluation job `job` judges. `jobs` holds every job that it descends from."""
    identity, name = model_identity(job, last_step), model_name(job, jobs)
    model = job.config["model"]
    parent = jobs[job.needs[model["need"]]] if "need" in model else None
    if parent is None or parent.kind != Kind.RL:
        pair = (pairs or {}).get(name)
        if pair is not None:
            return _published(identity, name, pair)
        return Subject(identity, name, "base", name, identity, identity)
    label, domains, subdomains = training_domain(parent)
    chain = [parent]
    while (up := _rl_parent(chain[0], jobs)) is not None:
        chain.insert(0, up)
    trained = [training_domain(job) for job in chain]
    step = identity.rpartition("@")[2]
    return Subject(
        model=identity, name=name, arm="trained", base=model_name(parent, jobs),
        base_model=model_identity(parent, last_step), root_model=model_identity(chain[0], last_step),
        run=parent.id, train_domain=label, train_domains=domains, train_subdomains=subdomains,
        algorithm=algorithm(parent), reward=reward_name(parent), seed=parent.config.get("seed"),
        step=int(step) if step.isdigit() else None, stages=len(chain),
        path=tuple(one[0] for one in trained),
        path_domains=tuple(dict.fromkeys(domain for one in trained for domain in one[1])),
        augment=augment_text(parent), thinking=thinking_text(parent), warmup=warmup_text(parent, jobs),
        length=length_text(parent),
    )  # fmt: skip


def _published(identity: str, name: str, pair: Pair) -> Subject:
    """A published model: its control is found by the base's catalogue name, as no job of ours made it."""
    base = f"name:{pair.base}"
    return Subject(
        model=identity, name=name, arm="trained", base=pair.base, base_model=base, root_model=base,
        run=identity, train_domain="+".join(pair.domains), train_domains=pair.domains,
        train_subdomains=pair.subdomains, algorithm="published", reward="published", stages=1,
        path=("+".join(pair.domains),), path_domains=pair.domains,
    )  # fmt: skip


def _rl_parent(job: Job, jobs: Mapping[str, Job]) -> Job | None:
    model = job.config["model"]
    if "need" not in model:
        return None
    parent = jobs[job.needs[model["need"]]]
    return parent if parent.kind == Kind.RL else None
