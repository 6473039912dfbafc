"""Games in the layout of ALFWorld's official data, made on the spot with the package's own goals and generator.

json_2.1.1/SPLIT/TASK/TRIAL/ holds traj_data.json, initial_state.pddl and, by `alfworld-generate`, game.tw-pddl. The
rooms are ours, with identifiers as the official ones are (`Potato|-01.25|+00.50|+02.00`, mangled for PDDL).
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from evaluators.environments._alfworld_rooms import LAMP, make_problem

TYPES = {
    "place": "pick_and_place_simple",
    "light": "look_at_obj_in_light",
    "clean": "pick_clean_then_place_in_recep",
    "heat": "pick_heat_then_place_in_recep",
    "cool": "pick_cool_then_place_in_recep",
    "two": "pick_two_obj_and_place",
}
SPLITS = ("train", "valid_seen", "valid_unseen")


@dataclass(frozen=True)
class Official:
    """One game before the generator: its folder's name, what traj_data.json says, and its problem."""

    task: str
    traj: dict[str, object]
    pddl: str


def official(kind: str, seed: int) -> Official:
    """A problem of ours with official identifiers and the package's own goal of that kind."""
    from alfworld.gen import constants
    from alfworld.gen.goal_library import gdict

    problem = make_problem(random.Random(f"{kind}/{seed}"), (kind,)).pddl
    proper = {name.lower(): name for name in constants.OBJECTS}
    proper |= {name.lower(): name for name in constants.RECEPTACLES}
    wanted = re.search(r"\(objectType \?o (\w+)Type\)", problem)
    target = re.search(r"\(receptacleType \?r (\w+)Type\)", problem)
    assert wanted is not None
    parts = {
        "object_target": proper[wanted.group(1)],
        "parent_target": proper[target.group(1)] if target else "",
        "toggle_target": proper[LAMP] if kind == "light" else "",
        "mrecep_target": "",
        "object_sliced": False,
    }
    goal = gdict[TYPES[kind]]["pddl"].replace("#", "-").format(
        obj=parts["object_target"], recep=parts["parent_target"], toggle=parts["toggle_target"], mrecep=""
    )  # fmt: skip
    names = [*(name for name in proper if name)]
    before, _, _ = problem.partition("(:goal")
    mangled = re.sub(rf"\b({'|'.join(names)})_(\d+)\b", lambda found: _mangled(proper[found[1]], int(found[2])), before)
    mangled = re.sub(r"\bloc_(\d+)\b", r"loc_bar__minus_\1_bar_2_bar_1_bar_30", mangled)
    target_name = parts["parent_target"] or parts["toggle_target"]
    return Official(
        f"{TYPES[kind]}-{parts['object_target']}-None-{target_name}-{300 + seed}",
        {"task_type": TYPES[kind], "task_id": f"trial_{seed}", "pddl_params": parts,
         "turk_annotations": {"anns": [{"task_desc": "Do what is asked."}]}},
        f"{mangled}\n{goal}",
    )  # fmt: skip


def _mangled(kind: str, number: int) -> str:
    """`Sink|-01.25|+00.50|+02.00|SinkBasin`, with the signs spelled out."""
    whole = kind.removesuffix("Basin")
    place = f"{whole}_bar__minus_0{number}_dot_25_bar__plus_00_dot_50_bar__plus_02_dot_00"
    return f"{place}_bar_{kind}" if whole != kind else place


def write(root: Path, games: dict[str, list[Official]], expert: str = "handcoded") -> Path:
    """The folder json_2.1.1 with these games by split, as `alfworld-generate` makes it."""
    raw, made = root / "raw" / "json_2.1.1", root / "json_2.1.1"
    for split, listed in games.items():
        for game in listed:
            folder = raw / split / game.task / f"trial_T2019090{len(game.task) % 10}_123456"
            folder.mkdir(parents=True)
            (folder / "traj_data.json").write_text(json.dumps(game.traj), encoding="utf-8")
            (folder / "initial_state.pddl").write_text(game.pddl, encoding="utf-8")
    import alfworld

    logic = Path(alfworld.__file__).parent / "data"
    program = Path(sys.executable).parent / "alfworld-generate"
    command = [sys.executable, str(program), "--data_path", str(raw), "--save_path", str(made), "--end", "100000",
               "--domain", str(logic / "alfred.pddl"), "--grammar", str(logic / "alfred.twl2"),
               "--expert_type", expert, "--verbose"]  # fmt: skip
    environment = {**os.environ, "ALFWORLD_DATA": str(root), "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for path in raw.rglob("initial_state.pddl"):
        (made / path.relative_to(raw)).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    return made
