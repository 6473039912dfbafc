"""What the keys mean of stages that play text environments: environments, agent, episodes, policy. Pure.

An environment stands where a benchmark stands in a job's config, so that outcomes, tracking and comparison take its
tasks as items: `data.environment` tells the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from manager.job import Resources
from manager.sweep import evaluation
from manager.sweep.mistakes import shown, unknown
from manager.sweep.part import Part

EPISODES = 128
TEMPERATURE = 0.4  # of evaluation; the study trains at 1.0
PROBE_CAP = 50
HISTORY, HISTORY_MOST = 2, 100
POLICIES = ("model", "oracle")
KEEP = ("success", "all")
OWN_KEYS = ("name", "environment")  # of an entry; every other key is an option of the environment


def asked(part: Part) -> dict[str, Any]:
    """Of an evaluation: benchmarks (`suite`), or environments."""
    if part.get("environments") is None:
        for key in ("agent", "episodes"):
            if part.get(key) is not None:
                part.wrong((key,), "goes with environments; a suite of benchmarks has no episodes")
        return evaluation.benchmarks(part)
    for key in ("suite", "limit"):
        if part.get(key) is not None:
            part.wrong((key,), "goes with benchmarks; this stage names environments, see episodes")
    return played(part, "test", TEMPERATURE)


def collect(part: Part) -> dict[str, Any]:
    """Who plays the training tasks, and which episodes are learned from."""
    has_model = part.get("model") is not None or part.get("needs") is not None
    policy = part.choice(("policy",), POLICIES, "policy", "model" if has_model else "oracle")
    if policy == "oracle" and has_model:
        part.wrong(("policy",), "oracle: the environment's own plan plays, not a model; leave out model and needs")
    if policy == "model" and not has_model:
        part.wrong(("policy",), "model: write model: NAME, or needs: a stage of kind sft or rl")
    keep = part.choice(("keep",), KEEP, "word", "success")
    return {"policy": policy, "keep": keep, **played(part, "train", 1.0)}


def probe(part: Part) -> dict[str, Any]:
    """The axes are measured with the same cap everywhere: an environment's own does not count."""
    cap = part.whole(("cap",), PROBE_CAP)
    return played(part, "test", 1.0, cap)


def played(part: Part, split: str, temperature: float, cap: int | None = None) -> dict[str, Any]:
    """`environments`, `episodes`, `sampling` and `agent`."""
    rows, files = environments(part, split, cap)
    names = [row["name"] for row in rows]
    by_name = isinstance(part.get("episodes"), dict)
    for key in ("sampling", "episodes") if by_name else ("sampling",):
        for name in part.mapping((key,)):
            if name not in names and name != "all":
                part.wrong((key, name), unknown("environment of this stage", name, [*names, "all"]))
    for row in rows:
        row |= {"sampler": _sampler(part, row, temperature), "limit": _episodes(part, row["name"], by_name=by_name)}
    return {"benchmarks": rows, "agent": agent(part), "files": files}


def _episodes(part: Part, name: str, *, by_name: bool) -> int | None:
    """The same number everywhere, or by environment, `all` standing for the others."""
    if not by_name:
        return part.whole(("episodes",), EPISODES)
    return part.whole(("episodes", name if part.get("episodes", name) is not None else "all"), EPISODES)


def environments(part: Part, split: str, cap: int | None = None) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A row for each of `environments`, whose names differ; and where the files are that they name by digest."""
    value = part.get("environments")
    listed = value if isinstance(value, list) else [value]
    if value is None or not listed:
        part.wrong(("environments",), f"missing; name environments: {', '.join(part.catalog.environments)}")
        return [], {}
    here = ("environments",)
    paths = [(*here, number) if isinstance(value, list) else here for number in range(len(listed))]
    files: dict[str, str] = {}
    found = (_environment(part, one, path, split, cap, files) for one, path in zip(listed, paths, strict=True))
    rows = [row for row in found if row]
    names = [row["name"] for row in rows]
    for name in sorted({name for name in names if names.count(name) > 1}):
        part.wrong(
            ("environments",), f"{name} is there twice; tell them apart: {{name: {name}-large, environment: {name}, …}}"
        )
    return rows, files


def _environment(
    part: Part, value: Any, path: tuple[Any, ...], split: str, cap: int | None, files: dict[str, str]
) -> dict[str, Any]:
    given = {"name": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        part.wrong(path, f"expected the name of an environment or {{name: …, options}}, not {shown(value)}")
        return {}
    name, kind = given["name"], str(given.get("environment", given["name"]))
    row = part.catalog.environments.get(kind)
    if row is None:
        part.wrong(path, f"{shown(kind)}: {unknown('environment', kind, part.catalog.environments)}")
        return {}
    options = {key: part.json((*path, key), one) for key, one in given.items() if key not in OWN_KEYS}
    for key in options:
        if key not in row.options:
            part.wrong((*path, key), f"environment {kind}: {unknown('option', key, row.options)}")
    if cap is not None and "cap" in row.options:
        if "cap" in options:
            part.wrong((*path, "cap"), f"every environment is probed with the cap of the stage ({cap}); leave it out")
        options["cap"] = cap
    for key, patterns in row.files.items():
        if options.get(key) is not None:
            options[key] = _content(part, (*path, key), options[key], patterns, files)
    data = {"environment": kind, "options": {**row.options, **options}, "split": split, "first_task": 0}
    return {"name": name, "version": row.version, "domain": name, "subdomain": None, "data": data}


def _content(part: Part, path: tuple[Any, ...], value: Any, patterns: Sequence[str], files: dict[str, str]) -> Any:
    """The digest of what a file or folder holds, in the place of its name; `files` gets to know where it is."""
    if not isinstance(value, str):
        part.wrong(path, f"expected a path, not {shown(value)}")
        return None
    place, _ = part.written(path)
    found = part.context.find_files(value, Path() if place.is_override else Path(place.file).parent, patterns)
    if isinstance(found, str):
        part.wrong(path, found)
        return None
    files[found[1]] = found[0]
    return {"digest": found[1]}


def _sampler(part: Part, row: Mapping[str, Any], temperature: float) -> dict[str, Any]:
    tokens = part.catalog.environments[row["data"]["environment"]].response_tokens
    sampler = {"samples": 1, "temperature": temperature, "top_p": 1.0, "max_tokens": tokens, "stop": []}
    for key in ("all", row["name"]):
        if isinstance(part.get("sampling"), dict) and part.get("sampling", key) is not None:
            sampler |= evaluation.read_sampler(part, ("sampling", key))
    return sampler


def agent(part: Part) -> dict[str, Any]:
    """How the policy is asked."""
    part.keys(("agent",), ("history", "thinking", "augment", "rules"))
    thinking, rules = (_flag(part, key) for key in ("thinking", "rules"))
    history = part.whole(("agent", "history"), HISTORY, least=0)
    if history is not None and history > HISTORY_MOST:
        part.wrong(("agent", "history"), f"{history} earlier steps in a prompt; at most {HISTORY_MOST}")
    augment = None
    if part.get("agent", "augment") is not None:
        part.keys(("agent", "augment"), ("epsilon", "probability"))
        augment = {
            "epsilon": part.number(("agent", "augment", "epsilon"), least=0.0),
            "probability": part.number(("agent", "augment", "probability"), 1.0, least=0.0, most=1.0),
        }
        if augment["epsilon"] is None:
            part.wrong(("agent", "augment"), "needs epsilon: about how many characters are added to a state")
    asked = {"history": history, "thinking": thinking, "augment": augment}
    return asked if rules else {**asked, "rules": False}


def _flag(part: Part, key: str) -> bool:
    value = part.get("agent", key)
    if value is not None and not isinstance(value, bool):
        part.wrong(("agent", key), f"expected true or false, not {shown(value)}")
    return value is not False


def check_evaluation(
    config: Mapping[str, Any], resources: Resources, tell: Callable[[tuple[str, ...], str], None]
) -> None:
    evaluation.check(config, resources, tell)
    if "agent" in config and config.get("shards", (1, None))[0] != 1:
        tell(("shards",), "episodes are not shared out; write a stage for each environment instead")
    if "agent" in config and config.get("prompting", "chat") != "chat":
        tell(("prompting",), "an agent is asked through the chat template; leave prompting out, see agent")
