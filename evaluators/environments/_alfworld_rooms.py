"""Household problems in the PDDL domain of ALFWorld, made from a seed. Text only: nothing of the packages is needed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

_FOOD = frozenset({"apple", "potato", "tomato", "egg", "bread", "lettuce"})
_DISHES = frozenset({"mug", "cup", "plate", "bowl"})
_HEATABLE = (_FOOD - {"lettuce"}) | (_DISHES - {"bowl"})
_COOLABLE = _FOOD | _DISHES | {"pan"}
_CLEANABLE = (_FOOD - {"bread"}) | _DISHES | {"pan", "fork", "spoon", "knife", "soapbar", "cloth"}
_OPENABLE = frozenset({"cabinet", "drawer", "fridge", "microwave"})
LAMP = "desklamp"


@dataclass(frozen=True)
class Room:
    """`receptacles` maps a type to how many there are at least and at most."""

    name: str
    receptacles: dict[str, tuple[int, int]]
    objects: tuple[str, ...]
    lamp: bool = False


ROOMS = (
    Room(
        "kitchen",
        {
            "countertop": (1, 2),
            "cabinet": (2, 4),
            "drawer": (1, 3),
            "fridge": (1, 1),
            "microwave": (1, 1),
            "sinkbasin": (1, 1),
            "diningtable": (1, 1),
            "garbagecan": (1, 1),
        },
        (*sorted(_FOOD), *sorted(_DISHES), "pan", "fork", "spoon", "knife", "saltshaker", "dishsponge", "book"),
    ),
    Room(
        "bedroom",
        {"bed": (1, 1), "desk": (1, 1), "sidetable": (1, 2), "drawer": (2, 4), "shelf": (1, 3), "garbagecan": (1, 1)},
        (
            "book",
            "pen",
            "pencil",
            "cd",
            "cellphone",
            "creditcard",
            "keychain",
            "alarmclock",
            "pillow",
            "laptop",
            "watch",
        ),
        lamp=True,
    ),
    Room(
        "living room",
        {
            "sofa": (1, 1),
            "armchair": (1, 2),
            "coffeetable": (1, 1),
            "sidetable": (1, 2),
            "drawer": (1, 3),
            "shelf": (1, 2),
        },
        ("remotecontrol", "newspaper", "book", "vase", "statue", "keychain", "creditcard", "watch", "laptop", "pillow"),
        lamp=True,
    ),
    Room(
        "bathroom",
        {
            "countertop": (1, 1),
            "sinkbasin": (1, 2),
            "cabinet": (2, 4),
            "toilet": (1, 1),
            "shelf": (0, 2),
            "garbagecan": (1, 1),
        },
        ("soapbar", "soapbottle", "toiletpaper", "cloth", "handtowel", "candle", "spraybottle", "tissuebox"),
    ),
)

KINDS = ("place", "light", "clean", "heat", "cool", "two")


@dataclass(frozen=True)
class Problem:
    """A problem in PDDL, and its task in words."""

    pddl: str
    task: str


def make_problem(rng: random.Random, kinds: Sequence[str] = KINDS) -> Problem:
    """One room, its things, and a task of one of the kinds."""
    kind = rng.choice(list(kinds))
    room = rng.choice([room for room in ROOMS if _suits(room, kind)])
    receptacles = [
        f"{type_}_{number}"
        for type_, (least, most) in room.receptacles.items()
        for number in range(1, rng.randint(least, most) + 1)
    ]
    wanted = rng.choice([name for name in room.objects if name in _able(kind, room)])
    present = [wanted, wanted] if kind == "two" else [wanted]
    others = [name for name in room.objects if name != wanted]
    present += rng.choices(others, k=rng.randint(4, 8))
    objects = _numbered(present)
    target = rng.choice(sorted({_type(r) for r in receptacles} - _UNFIT.get(kind, frozenset())))
    places = {
        name: rng.choice([r for r in receptacles if not (_type(name) == wanted and _type(r) == target)])
        for name in objects
    }
    if room.lamp:
        places[f"{LAMP}_1"] = rng.choice([r for r in receptacles if _type(r) in ("desk", "sidetable")])
    goal, task = _goal(kind, wanted, target)
    return Problem(_pddl(receptacles, places, goal), task)


# Where a thing that was just heated or cooled should not have to be put.
_UNFIT = {"heat": frozenset({"microwave"}), "cool": frozenset({"fridge"}), "clean": frozenset({"sinkbasin"})}


def _suits(room: Room, kind: str) -> bool:
    if kind == "light":
        return room.lamp
    return bool(set(room.objects) & _able(kind, room)) and (kind not in ("heat", "cool") or room.name == "kitchen")


def _able(kind: str, room: Room) -> frozenset[str]:
    by_kind = {"clean": _CLEANABLE, "heat": _HEATABLE, "cool": _COOLABLE}
    if kind == "clean" and "sinkbasin" not in room.receptacles:
        return frozenset()
    return by_kind.get(kind, frozenset(room.objects))


def _type(name: str) -> str:
    return name.rsplit("_", 1)[0]


def _numbered(types: Sequence[str]) -> list[str]:
    counts: dict[str, int] = {}
    names = []
    for type_ in types:
        counts[type_] = counts.get(type_, 0) + 1
        names.append(f"{type_}_{counts[type_]}")
    return names


def _goal(kind: str, wanted: str, target: str) -> tuple[str, str]:
    placed = f"(objectType ?o {wanted}Type) (receptacleType ?r {target}Type) (inReceptacle ?o ?r)"
    changed = {"clean": "isClean", "heat": "isHot", "cool": "isCool"}
    if kind in changed:
        goal = f"(exists (?r - receptacle ?o - object) (and {placed} ({changed[kind]} ?o)))"
        adjective = {"clean": "clean", "heat": "hot", "cool": "cool"}[kind]
        return goal, f"put a {adjective} {wanted} in or on {_a(target)}"
    if kind == "light":
        goal = (
            f"(exists (?o - object ?lamp - object ?a - agent ?l - location ?r - receptacle) (and "
            f"(objectType ?o {wanted}Type) (holds ?a ?o) (objectType ?lamp {LAMP}Type) (isToggled ?lamp) "
            "(inReceptacle ?lamp ?r) (receptacleAtLocation ?r ?l) (atLocation ?a ?l)))"
        )
        return goal, f"hold {_a(wanted)} under the lit {LAMP}"
    if kind == "two":
        goal = (
            f"(exists (?r - receptacle ?o - object ?p - object) (and {placed} (objectType ?p {wanted}Type) "
            "(inReceptacle ?p ?r) (not (= ?o ?p))))"
        )
        return goal, f"put two {wanted}s in or on one {target}"
    return f"(exists (?r - receptacle ?o - object) (and {placed}))", f"put {_a(wanted)} in or on {_a(target)}"


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _pddl(receptacles: Sequence[str], places: dict[str, str], goal: str) -> str:
    objects = sorted(places)
    receptacle_types = sorted({_type(name) for name in receptacles})
    object_types = sorted({_type(name) for name in objects})
    facts = ["(= (total-cost) 0)", "(atLocation agent1 loc_0)"]
    for number, name in enumerate(receptacles, 1):
        facts += [f"(receptacleAtLocation {name} loc_{number})", f"(receptacleType {name} {_type(name)}Type)"]
        if _type(name) in _OPENABLE:
            facts.append(f"(openable {name})")
    for name in objects:
        place = places[name]
        facts += [
            f"(objectType {name} {_type(name)}Type)",
            f"(inReceptacle {name} {place})",
            f"(objectAtLocation {name} loc_{receptacles.index(place) + 1})",
            *(f"({ability} {name})" for ability in _abilities(_type(name))),
        ]
    facts += [
        f"(canContain {receptacle}Type {kind}Type)"
        for receptacle in receptacle_types
        for kind in object_types
        if kind != LAMP
    ]
    declared = [
        "agent1 - agent",
        *(f"loc_{number} - location" for number in range(len(receptacles) + 1)),
        *(f"{name} - receptacle" for name in receptacles),
        *(f"{name} - object" for name in objects),
        # The domain's actions name these types, whether the room has such a thing or not.
        *(f"{kind}Type - rtype" for kind in sorted({*receptacle_types, "sinkbasin", "microwave", "fridge"})),
        *(f"{kind}Type - otype" for kind in sorted({*object_types, "knife", "butterknife"})),
    ]
    return "\n".join(
        [
            "(define (problem room)",
            "(:domain alfred)",
            "(:objects",
            *declared,
            ")",
            "(:init",
            *facts,
            ")",
            f"(:goal (and {goal}))",
            "(:metric minimize (total-cost))",
            ")",
        ]
    )


def _abilities(type_: str) -> list[str]:
    if type_ == LAMP:
        return ["toggleable"]
    return [
        "pickupable",
        *(["cleanable"] if type_ in _CLEANABLE else []),
        *(["heatable"] if type_ in _HEATABLE else []),
        *(["coolable"] if type_ in _COOLABLE else []),
    ]
