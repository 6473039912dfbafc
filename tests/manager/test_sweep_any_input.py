"""Whatever is in a sweep file, it is a sweep or a list of mistakes, never a traceback."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manager.errors import UserError
from manager.job import Job
from manager.sweep import load_sweep
from tests.manager.sweep_catalog import catalog

SWEEPS = Path(__file__).parents[2] / "sweeps"
TEXTS = [path.read_text(encoding="utf-8") for path in (SWEEPS / "interventional.yaml", SWEEPS / "cascade.yaml")]
RELAXED = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))

# What may stand anywhere a value is expected.
values: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 10**19), st.floats(), st.text(max_size=6), st.just([]), st.just({}),
    st.just([1, "a", None]), st.just({"name": 3}), st.just({"a": {"b": [1]}}), st.just("last"), st.just("all"),
    st.sampled_from(
        ["${seed}", "${nothing}", "${", "${oc.env:NO}", "${.kind}", "${values}", "${stages}", "${values.a.${seed}}",
         "$", "${..}", "${.}", "${first}", "${stages.first.data}", "\\${seed}", "${a:b}", "${oc.decode:'['}",
         "${oc.env:}",
         "all16", "tiny", "noisy", "zero2", ".", "/", "~", "rloo", "dapo"]
    ),
)  # fmt: skip


def attempt(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.yaml"
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        check(path)


def check(path: Path, overrides: Sequence[str] = ()) -> None:
    """Jobs that survive the way to the disk and back, or lines for a person; anything else is raised."""
    told, jobs = "", ()
    try:
        jobs = load_sweep(path, overrides, catalog=catalog(), environ={}).jobs
    except UserError as error:
        told = str(error)
    assert bool(jobs) != bool(told.strip())
    assert "MISSING" not in told
    for entry in jobs:
        assert Job.from_json(json.loads(json.dumps(entry.job.to_json()))).id == entry.job.id


@RELAXED
@given(text=st.sampled_from(TEXTS), edits=st.lists(st.tuples(st.integers(0, 10**6), st.text(max_size=5)), max_size=4))
def test_a_file_with_characters_changed(text: str, edits: list[tuple[int, str]]) -> None:
    for place, new in edits:
        start = place % len(text)
        text = text[:start] + new + text[start + 1 :]
    attempt(text)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in children for found in leaves(child, (*path, key)))]


@RELAXED
@given(
    text=st.sampled_from(TEXTS),
    edits=st.lists(st.tuples(st.integers(0, 10**6), values), min_size=1, max_size=3),
)
def test_a_sweep_with_values_exchanged(text: str, edits: list[tuple[int, Any]]) -> None:
    document = {"values": {"a": {"0": 1}}, **yaml.safe_load(text)}
    for place, new in edits:
        paths = leaves(document)[1:]
        if not paths:
            break
        *way, last = paths[place % len(paths)]
        target = document
        for part in way:
            target = target[part]
        target[last] = copy.deepcopy(new)
    attempt(yaml.safe_dump(document, allow_unicode=True, sort_keys=False))


@RELAXED
@given(overrides=st.lists(st.text(alphabet="abstgekind.=[]{}:,0$\\'\" ", max_size=25), max_size=3))
def test_overrides_of_any_kind(overrides: list[str]) -> None:
    check(SWEEPS / "interventional.yaml", overrides)
