"""What the keys of an `rl` stage mean that names `environments` in the place of `data`. Pure.

`data` of the config keeps its form, with an environment as a domain of its own, so that lineage and the analyses of
transfer need no second one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from manager.job import Resources
from manager.sweep import agents, training, training_checks
from manager.sweep.mistakes import shown
from manager.sweep.part import Part

REWARD = "episode"
# Each row or token weighs the same whichever forward pass it is in; trainers/agents.py has the same list.
LOSSES = ("dapo", "cispo", "grpo", "sapo", "dr_grpo", "luspo")
UNSUPPORTED = ("entropy_coef", "use_adaptive_entropy", "top_entropy_quantile")


def on_environments(part: Part) -> bool:
    return part.get("environments") is not None


def data(part: Part) -> dict[str, Any]:
    """`data`, or `environments` with `agent`."""
    if not on_environments(part):
        if part.get("agent") is not None:
            part.wrong(("agent",), "goes with environments; a training on data has no episodes")
        return training.prompts(part)
    if part.get("data") is not None:
        part.wrong(("data",), "goes with benchmarks; this stage names environments, which bring their own tasks")
    rows, files = agents.environments(part, "train")
    names = [row["name"] for row in rows]
    found = {
        "name": "+".join(names),
        "domain": names[0] if len(names) == 1 else names,
        "seed": part.whole(("seed",), 0, least=0),
        "environments": rows,
    }
    return {"data": found, "agent": agents.agent(part), "files": files}


def rl(part: Part) -> dict[str, Any]:
    """As for benchmarks; an answer may be as long as the environments' unless the stage says otherwise."""
    found = training.rl(part)
    value = part.get("environments")
    if value is None:
        return found
    kinds = [one.get("environment", one.get("name")) if isinstance(one, dict) else one
             for one in (value if isinstance(value, list) else [value])]  # fmt: skip
    known = [part.catalog.environments.get(str(kind)) for kind in kinds]
    longest = max((row.response_tokens for row in known if row is not None), default=512)
    return {**found, "grpo": {"max_completion_length": longest, **found["grpo"]}}


def reward(part: Part) -> dict[str, Any]:
    """`episode`, with its settings, where environments are trained on."""
    value = part.get("reward")
    if not on_environments(part):
        return training.reward(part)
    if value is None:
        value = REWARD
    name = value.get("name") if isinstance(value, dict) else value
    row = part.catalog.rewards.get(name) if isinstance(name, str) else None
    if isinstance(value, list) or (row is not None and row.get("judges") != "episodes"):
        part.wrong(("reward",), f"{shown(name)} judges one answer; environments are rewarded by {REWARD}")
        return {}
    return {"reward": training.one_reward(part, value, ("reward",))}


def check(config: Mapping[str, Any], resources: Resources, tell: Callable[[tuple[str, ...], str], None]) -> None:
    """What only all keys together show."""
    if "environments" not in config["data"]:
        training_checks.check_rl(config, resources, tell)
        return
    grpo = config["grpo"]
    if (grpo.get("max_steps") or 0) < 1:
        tell(("grpo",), "max_steps is missing: environments make tasks without end")
    if config["trainer"] != "grpo":
        tell(("trainer",), f"{config['trainer']} does not train on environments; leave trainer and algorithm out")
    if config["generation"].get("dynamic_sampling"):
        tell(("generation",), "dynamic_sampling replaces prompts, not episodes; write {dynamic_sampling: false}")
    if (loss := grpo.get("loss_type", "dapo")) not in LOSSES:
        tell(
            ("grpo", "loss_type"),
            f"{loss} would depend on how the steps of episodes are split over forward passes; "
            f"with environments: {', '.join(LOSSES)}",
        )
    for key in UNSUPPORTED:
        if key in grpo:
            tell(("grpo", key), "is not supported with environments; leave it out")
    training_checks.check_rl(config, replace(resources, micro_batch=None), tell)
