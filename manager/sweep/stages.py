"""The stages of a sweep and their order: kinds, needs, cycles. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from manager.job import Kind
from manager.sweep.kinds import SCHEMAS
from manager.sweep.mistakes import Mistakes, shown, unknown
from manager.sweep.nodes import Node

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Stage:
    name: str
    kind: Kind
    needs: tuple[str, ...]
    node: Node
    reads: tuple[str, ...] = ()  # stages whose trajectories it learns from


def read_stages(root: Node, mistakes: Mistakes) -> list[Stage]:
    """Every stage that can be read, each after what it needs, otherwise in the order of the file."""
    node = root.value.get("stages")
    if node is None or not isinstance(node.value, dict) or not any(one.value for one in node.value.values()):
        where = root.place if node is None else node.place
        mistakes.add(where, "stages", "missing; a sweep has at least one stage (docs/sweep.md)")
        return []
    stages: dict[str, Stage] = {}
    names = [name for name, child in node.value.items() if child.value is not None]
    for name in names:
        stage = _stage(name, node.value[name], names, mistakes)
        if stage is not None:
            stages[name] = stage
    _check_needs(stages, mistakes)
    return _ordered(stages, mistakes)


def _stage(name: str, node: Node, names: list[str], mistakes: Mistakes) -> Stage | None:
    at = ("stages", name)
    if not NAME.fullmatch(name):
        mistakes.add(
            node.place,
            at,
            "a stage's name is letters, digits, - and _, and starts with a letter (at most 40)",
        )
        return None
    if not isinstance(node.value, dict):
        mistakes.add(node.place, at, "expected a mapping with kind: and what the kind needs")
        return None
    kinds = [kind.value for kind in Kind]
    kind = node.value.get("kind")
    if kind is None or kind.value is None:
        mistakes.add(node.place, (*at, "kind"), f"missing; one of: {', '.join(kinds)}")
        return None
    if kind.value not in kinds:
        mistakes.add(kind.place, (*at, "kind"), f"{shown(kind.value)}: {unknown('kind', kind.value, kinds)}")
        return None
    return Stage(name, Kind(kind.value), _needs(name, node, names, mistakes), node, _reads(name, node, names, mistakes))


def _reads(name: str, node: Node, names: list[str], mistakes: Mistakes) -> tuple[str, ...]:
    """The stages that `data.trajectories` names."""
    data = node.value.get("data")
    listed = data.value.get("trajectories") if data is not None and isinstance(data.value, dict) else None
    if listed is None or not isinstance(listed.value, dict):
        return ()
    for one, child in listed.value.items():
        if one not in names or one == name:
            others = [other for other in names if other != name]
            why = f"{shown(one)}: {unknown('stage', one, others)}"
            mistakes.add(child.place, ("stages", name, "data", "trajectories", one), why)
    return tuple(one for one in listed.value if one in names and one != name)


def _needs(name: str, node: Node, names: list[str], mistakes: Mistakes) -> tuple[str, ...]:
    needs = node.value.get("needs")
    if needs is None or needs.value is None:
        return ()
    listed = needs.value if isinstance(needs.value, list) else [needs]
    found = []
    for one in listed:
        others = [other for other in names if other != name]
        if not isinstance(one.value, str):
            mistakes.add(one.place, ("stages", name, "needs"), "expected the name of a stage, or a list of them")
        elif one.value == name:
            mistakes.add(one.place, ("stages", name, "needs"), "a stage cannot need itself")
        elif one.value not in names:
            mistakes.add(
                one.place,
                ("stages", name, "needs"),
                f"{shown(one.value)}: {unknown('stage', one.value, others)}",
            )
        else:
            found.append(one.value)
    return tuple(dict.fromkeys(found))


def _check_needs(stages: Mapping[str, Stage], mistakes: Mistakes) -> None:
    for stage in stages.values():
        schema = SCHEMAS[stage.kind]
        at, place = ("stages", stage.name, "needs"), stage.node.at(["needs"]).place
        for need in stage.needs:
            other = stages.get(need)
            if other is not None and other.kind not in schema.needs:
                valid = " or ".join(schema.needs)
                mistakes.add(
                    place,
                    at,
                    f"{need} is of kind {other.kind}; a stage of kind {stage.kind} can need {valid}",
                )
        for read in stage.reads:
            other = stages.get(read)
            if other is not None and not SCHEMAS[other.kind].makes_trajectories:
                valid = " or ".join(kind for kind, one in SCHEMAS.items() if one.makes_trajectories)
                why = f"{read} is of kind {other.kind}; trajectories are made by a stage of kind {valid}"
                mistakes.add(stage.node.at(["data"]).place, ("stages", stage.name, "data", "trajectories", read), why)
        if len(stage.needs) > 1 and not schema.gathers:
            mistakes.add(
                place,
                at,
                f"a stage of kind {stage.kind} starts from one model and needs at most one stage; "
                "write one stage for each",
            )


def _ordered(stages: Mapping[str, Stage], mistakes: Mistakes) -> list[Stage]:
    sorter = TopologicalSorter(
        {name: [n for n in (*stage.needs, *stage.reads) if n in stages] for name, stage in stages.items()}
    )
    try:
        order = list(sorter.static_order())
    except CycleError as error:
        circle: list[str] = error.args[1]
        place = stages[circle[0]].node.at(["needs"] if stages[circle[0]].needs else ["data"]).place
        mistakes.add(place, ("stages", circle[0], "needs"), f"goes in a circle: {' <- '.join(circle)}")
        return []
    return [stages[name] for name in order]
