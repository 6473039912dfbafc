"""What the keys of training stages mean: data, batch, algorithm, reward, trainer settings. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from manager.sweep.bounds import out_of_bounds
from manager.sweep.mistakes import nearest, shown, unknown
from manager.sweep.part import Part
from manager.sweep.values import MISSING

PROMPTS, SAMPLES, EXAMPLES = 64, 8, 32
EXPORT_STEPS = 100
PROMPT_TOKENS = 1024  # longer prompts are left out
IDENTIFIED = ("preparation", "decontaminate_rows")  # what trainers/identity.py adds to a domain's row
REWARD = "correct"
GENERATION_KEYS = ("mode", "dynamic_sampling")  # ours; the others are TRL's


def prompts(part: Part) -> dict[str, Any]:
    """`data` that is asked: like `data`, and `max_prompt_tokens`: longer prompts are left out."""
    found = data(part, "max_prompt_tokens")
    if "data" in found:
        found["data"]["max_prompt_tokens"] = part.whole(("data", "max_prompt_tokens"), PROMPT_TOKENS)
    return found


def data(part: Part, *more: str) -> dict[str, Any]:
    """`data`: a domain of the catalogue, `{name, size, seed}` or `{mix: {domain: weight}}`; `more` keys of a kind."""
    value = part.get("data")
    if value is None:
        part.wrong(("data",), f"missing; name a domain: {', '.join(part.catalog.domains)}")
        return {}
    if isinstance(value, str):
        row = _domain(part, value, ("data",))
        return {"data": _data(part, value, row, 1.0)} if row else {}
    if not isinstance(value, dict):
        part.wrong(("data",), f"expected the name of a domain or a mapping, not {shown(value)}")
        return {}
    part.keys(("data",), ("name", "mix", "size", "seed", *more))
    if ("name" in value) == ("mix" in value):
        part.wrong(("data",), "expected one of name (a domain) and mix (domains with weights)")
        return {}
    result = _mixed(part) if "mix" in value else _named(part)
    for key, least in (("size", 1), ("seed", 0)):
        given = part.whole(("data", key), least=least)
        if given is not None:
            result[key] = given
    return {"data": result}


def demonstrations(part: Part) -> dict[str, Any]:
    """`data` to learn from: like `data`, with `wrong_share`, or `{trajectories: {stage: ratio}, size, seed}`."""
    value = part.get("data")
    if not (isinstance(value, dict) and "trajectories" in value):
        found = data(part, "wrong_share")
        if isinstance(value, dict) and "data" in found:
            share = part.number(("data", "wrong_share"), least=0.0, most=1.0)
            found["data"] |= {} if share is None else {"wrong_share": share}
        return found
    part.keys(("data",), ("trajectories", "size", "seed"))
    given = part.mapping(("data", "trajectories"))
    ratios = {name: part.number(("data", "trajectories", name), 1.0, least=0.0) for name in given}
    if not any(ratios.values()):
        part.wrong(("data", "trajectories"), "needs stages with ratios, such as {collect-a: 19, collect-b: 3}")
    return {
        "data": {
            "name": "trajectories",
            "domain": "trajectories",
            "seed": part.whole(("data", "seed"), 42, least=0),
            "size": part.whole(("data", "size")),
            "trajectories": [{"stage": name, "ratio": ratio} for name, ratio in ratios.items()],
        }
    }


def _named(part: Part) -> dict[str, Any]:
    name = part.text(("data", "name")) or ""
    row = _domain(part, name, ("data", "name"))
    return _data(part, name, row, 1.0) if row else {}


def _mixed(part: Part) -> dict[str, Any]:
    """Domains together; a domain's weight is shared by its sources in their own proportion."""
    mix = part.mapping(("data", "mix"))
    weights = {name: part.number(("data", "mix", name), 1.0, least=0.0) or 0.0 for name in mix}
    if part.ok and sum(weights.values()) <= 0:
        part.wrong(("data", "mix"), "needs domains with weights, such as {math: 2, code: 1}")
    rows = {name: row for name in mix if (row := _domain(part, name, ("data", "mix", name)))}
    made = [_data(part, name, row, weights[name]) for name, row in rows.items()]
    sources = [source for one in made for source in one["sources"]]
    removed = {name for one in made for name in one.get("decontaminate", ())}
    against = {name: rows for one in made for name, rows in one.get("decontaminate_rows", {}).items()}
    return {
        "name": "+".join(mix),
        "domain": list(dict.fromkeys(source["domain"] for source in sources)),
        "seed": 42,
        "size": max((one["size"] or 0 for one in made), default=0) or None,
        "sources": sources,
        **({"decontaminate": sorted(removed)} if removed else {}),
        **{key: made[0][key] for key in IDENTIFIED if made and key in made[0]},
        **({"decontaminate_rows": against} if against else {}),
    }


def _domain(part: Part, name: str, path: tuple[str, ...]) -> Mapping[str, Any] | None:
    row = part.catalog.domains.get(name)
    if row is None:
        part.wrong(path, f"{shown(name)}: {unknown('domain', name, part.catalog.domains)}")
    return row


def _data(part: Part, name: str, row: Mapping[str, Any], weight: float) -> dict[str, Any]:
    """The config's `data` of a catalogue row; the sources' weights add up to `weight`."""
    domain = row.get("domain", name)
    total = sum(source.get("weight", 1) for source in row["sources"])
    sources = []
    for source in row["sources"]:
        entry = {key: value for key, value in source.items() if key != "note"}
        entry.setdefault("domain", domain)
        entry["weight"] = weight * source.get("weight", 1) / total
        if "benchmark" in source:
            known = part.catalog.benchmarks.get(source["benchmark"])
            if known is None:
                missing = unknown("benchmark", source["benchmark"], part.catalog.benchmarks)
                part.wrong(("data",), f"domain {name} is made of {source['benchmark']}: {missing}")
                continue
            entry["version"] = known.version
        sources.append(entry)
    data = {"name": name, "domain": domain, "seed": row.get("seed", 42), "size": row.get("size"), "sources": sources}
    if "decontaminate" in row:  # the benchmarks whose items are taken out: another list is other data
        data["decontaminate"] = sorted(part.catalog.suites[row["decontaminate"]])
    return data | {key: row[key] for key in IDENTIFIED if key in row}


def reward(part: Part) -> dict[str, Any]:
    """A name, `{name, …}`, or a list of these (added up with grpo.reward_weights)."""
    value = part.get("reward")
    if isinstance(value, list):
        if not value:
            part.wrong(("reward",), "an empty list; name at least one reward")
        return {"reward": [one_reward(part, one, ("reward", number)) for number, one in enumerate(value)]}
    return {"reward": one_reward(part, REWARD if value is None else value, ("reward",))}


def one_reward(part: Part, value: Any, path: tuple[Any, ...]) -> dict[str, Any]:
    given = {"name": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        part.wrong(path, f"expected the name of a reward or {{name: …}}, not {shown(value)}")
        return {}
    name = given["name"]
    row = part.catalog.rewards.get(name)
    if row is None:
        part.wrong(path, f"{shown(name)}: {unknown('reward', name, part.catalog.rewards)}")
        return {}
    if row.get("judges") == "episodes" and part.get("environments") is None:
        part.wrong(path, f"{name} is worth of an episode; it goes with environments, in the place of data")
        return {}
    settings: Mapping[str, Any] = row.get("settings") or {}
    for key, one in given.items():
        if key == "name":
            continue
        if key not in settings:
            part.wrong((*path, key), f"reward {name}: {unknown('key', key, settings)}")
        elif problem := misfit(one, settings[key]["type"]) or out_of_bounds(one, settings[key]):
            part.wrong((*path, key), problem)
        elif isinstance(one, str) and not one.startswith(tuple(settings[key].get("starts", ("",)))):
            part.wrong((*path, key), f"{shown(one)} does not begin with {' or '.join(settings[key]['starts'])}")
    for key, spec in settings.items():
        if spec.get("required") and key not in given:
            part.wrong(path, f"reward {name} needs {key}: {spec['means']}")
    defaults = {key: spec["default"] for key, spec in settings.items() if "default" in spec}
    return {**defaults, **given}


def misfit(value: Any, kind: str) -> str | None:
    """What is wrong with `value` as a `kind` ("int", "float|null", "any"), in words."""
    if value is MISSING:
        return None
    kinds = kind.split("|")
    fits = {
        "any": True,
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, int | float) and not isinstance(value, bool),
        "bool": isinstance(value, bool),
        "str": isinstance(value, str),
        "null": value is None,
        "list": isinstance(value, list),
        "dict": isinstance(value, dict),
    }
    if any(fits[one] for one in kinds):
        return None
    words = {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "str": "a text",
        "null": "null",
        "list": "a list",
        "dict": "a mapping",
    }
    return f"expected {' or '.join(words[one] for one in kinds)}, not {shown(value)}"


def sft(part: Part) -> dict[str, Any]:
    part.keys(("batch",), ("examples",))
    examples = part.whole(("batch", "examples"), EXAMPLES)
    settings = part.passed(("sft",))
    trainer_settings(part, "sft", "SFTConfig", settings)
    return {"batch": {"examples": examples}, "sft": settings}


def rl(part: Part) -> dict[str, Any]:
    """`algorithm`, `trainer`, `grpo`, `batch`, `export_steps`: the algorithm's row, under what is given."""
    part.keys(("batch",), ("prompts", "samples", "mini_batch"))
    prompts = part.whole(("batch", "prompts"), PROMPTS)
    samples = part.whole(("batch", "samples"), SAMPLES)
    mini_batch = part.whole(("batch", "mini_batch"), prompts)
    name = part.choice(("algorithm",), part.catalog.algorithms, "algorithm")
    row = part.catalog.algorithms.get(name or "", {})
    trainer = part.choice(("trainer",), ("grpo", "rloo"), "trainer", row.get("trainer", "grpo"))
    if "trainer" in row and trainer != row["trainer"]:
        part.wrong(("trainer",), f"algorithm {name} is run by the trainer {row['trainer']}; leave trainer out")
    settings = {**row.get("grpo", {}), **part.passed(("grpo",))}
    trainer_settings(part, "grpo", "RLOOConfig" if trainer == "rloo" else "GRPOConfig", settings)
    _check_groups(part, prompts or 0, samples or 0, mini_batch or 0)
    return {
        "trainer": trainer,
        "batch": {"prompts": prompts, "samples": samples, "mini_batch": mini_batch},
        "grpo": settings,
        "export_steps": part.whole(("export_steps",), EXPORT_STEPS),
    }


def _check_groups(part: Part, prompts: int, samples: int, mini_batch: int) -> None:
    if samples == 1:
        part.wrong(("batch", "samples"), "1 sample a prompt has nothing to be compared with; at least 2")
    if part.ok and mini_batch > prompts:
        part.wrong(
            ("batch", "mini_batch"),
            f"{mini_batch} prompts an optimiser step, but only {prompts} are generated at a time",
        )
    elif part.ok and prompts % mini_batch:
        fits = ", ".join(str(size) for size in range(1, prompts + 1) if prompts % size == 0)
        part.wrong(
            ("batch", "mini_batch"),
            f"{prompts} prompts do not divide into steps of {mini_batch}; valid: {fits}",
        )


def trainer_settings(part: Part, key: str, config_class: str, settings: Mapping[str, Any]) -> None:
    """Check names and types of what goes to the library, as far as they are known without importing it."""
    fields = part.catalog.trainer_fields.get(config_class, {})
    for name, value in settings.items():
        if value is MISSING:
            continue
        instead = part.catalog.trainer_refused.get(name)
        if instead is not None:
            part.wrong((key, name), f"is set by the system; {instead}")
        elif name not in fields:
            close = nearest(name, fields)
            hint = f", did you mean {close[0]}" if close else f" of {config_class}"
            part.wrong((key, name), f"unknown key{hint}")
        elif problem := misfit(value, fields[name]) or out_of_bounds(value, part.catalog.trainer_bounds.get(name, {})):
            part.wrong((key, name), problem)
        elif name in part.catalog.trainer_values and value not in part.catalog.trainer_values[name]:
            valid = part.catalog.trainer_values[name]
            close = difflib.get_close_matches(str(value), map(str, valid), n=1)
            hint = f"did you mean {close[0]}" if close else f"there are: {', '.join(map(str, valid))}"
            part.wrong((key, name), f"{shown(value)} is not one of its values, {hint}")
    if settings.get("bf16") is True and settings.get("fp16") is True:
        part.wrong((key, "fp16"), "bf16 is true as well; one of the two")


def generation(part: Part) -> dict[str, Any]:
    """`generation`: a mode or `{mode, …}`. Without it: vLLM beside the trainer on GPUs, else transformers."""
    value = part.get("generation")
    name = part.get("algorithm")
    row = part.catalog.algorithms.get(name, {}) if isinstance(name, str) else {}
    below = dict(row.get("generation", {}))
    default = "colocate" if part.get("resources", "gpus_per_node") else "transformers"
    if not isinstance(value, dict):
        mode = part.choice(("generation",), part.catalog.generation, "mode", default)
        return {"generation": {**below, "mode": mode}}
    mode = part.choice(("generation", "mode"), part.catalog.generation, "mode", default)
    settings = part.passed(("generation",))
    fields = [*part.catalog.trainer_fields.get("GRPOConfig", {}), *GENERATION_KEYS]
    known = [name for name in fields if name not in part.catalog.trainer_refused]
    part.keys(("generation",), known)
    mine = {name: value for name, value in settings.items() if name in known and name not in GENERATION_KEYS}
    trainer_settings(part, "generation", "GRPOConfig", mine)
    if (dynamic := settings.get("dynamic_sampling")) is not None and (problem := misfit(dynamic, "bool")):
        part.wrong(("generation", "dynamic_sampling"), problem)
    return {"generation": {**below, **settings, "mode": mode}}
