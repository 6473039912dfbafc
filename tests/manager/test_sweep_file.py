"""Reading sweep files: scalars, places, `extends`, overrides, and files that cannot be sweeps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manager.errors import UserError
from manager.sweep.document import read
from manager.sweep.mistakes import Mistakes, SweepErrors
from manager.sweep.nodes import parse
from tests.manager.sweep_catalog import expanded, mistakes


def value(text: str) -> object:
    return parse(text, "f.yaml", Mistakes()).plain()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-6", 1e-6), ("5E3", 5000.0), ("-.5", -0.5), ("10", 10), ("0123", 123), ("0x1f", 31), ("1.", 1.0),
        ("no", "no"), ("on", "on"), ("12:30", "12:30"), ("2024-01-01", "2024-01-01"), ("1_000", "1_000"),
        ("true", True), ("False", False), ("~", None), ("null", None), ("'1'", "1"), ('"true"', "true"),
        ("é ✓", "é ✓"), ("[a, 1]", ["a", 1]), ("{a: {b: null}}", {"a": {"b": None}}),
    ],
)  # fmt: skip
def test_scalars_are_what_a_person_means(text: str, expected: object) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


def test_every_value_knows_its_line() -> None:
    node = parse("a: 1\nb:\n  c:\n    - x\n    - {d: 2}\n", "f.yaml", Mistakes())
    assert str(node.at(["b", "c", 1, "d"]).place) == "f.yaml:5"
    assert str(node.at(["b", "c"]).place) == "f.yaml:3"
    assert str(node.at(["b", "nothing", "there"]).place) == "f.yaml:2"


def test_anchors_and_merge_keys() -> None:
    assert value("a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}\nc: [*x]") == {
        "a": {"k": 1, "l": 2}, "b": {"k": 1, "l": 3}, "c": [{"k": 1, "l": 2}],
    }  # fmt: skip


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(SweepErrors, match=r"f.yaml:6: more than 200,000 values \(aliases expanded\)"):
        value("\n".join(lines))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(SweepErrors, match="nested deeper than 40 levels"):
        value("[" * 100_000)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "1: the file is empty; a sweep has at least `stages:`"),
        (b"# nothing\n\n", "1: the file is empty"),
        (b"- a\n- b\n", "1: the file is not a mapping of keys to values"),
        (b"just text", "1: the file is not a mapping of keys to values"),
        (b"stages:\n\ttrain: {}\n", "2: not valid YAML: a tab in the indentation; YAML wants spaces"),
        (b"a: [1, 2\nb: 3\n", "2: not valid YAML: did not find expected ',' or ']'"),
        (b"a: 1\n---\nb: 2\n", "2: a second YAML document starts here"),
        (b"a: &x [*x]\n", "1: *x refers to itself"),
        (b"a: *gone\n", "1: *gone refers to an anchor that is not there"),
        (b"a: !!python/object:os.system {}\n", "1: the tag tag:yaml.org,2002:python/object:os.system is not supported"),
        (b"a: !mine 3\n", "1: the tag !mine is not supported"),
        (b"a: 1\nb: \xff\xfe\n", "2: not UTF-8 text"),
        (b"a: 1\nb: x\x00y\n", "2: not valid YAML: a control character that YAML forbids"),
        (b"? [a, b]\n: c\n", "1: a key must be a word"),
        (b"a: 123456789012345678901234567890\n", "1: a number of more than 20 digits"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_sweep_is_one_clear_line(tmp_path: Path, content: bytes, line: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read(path)
    assert f"{path}:{line}" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    with open(path, "wb") as stream:
        stream.truncate(10**12)  # sparse: a terabyte by its size
    with pytest.raises(UserError, match=r"953674.3 MiB is too large for a sweep file \(at most 4 MiB\)"):
        read(path)


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").touch()
    with pytest.raises(UserError, match=r"quikstart.yaml: no such sweep file; did you mean .*quickstart.yaml"):
        read(tmp_path / "quikstart.yaml")
    with pytest.raises(UserError, match=r"no such sweep file; there are: no \.yaml files"):
        read(tmp_path / "nowhere" / "x.yaml")
    with pytest.raises(UserError, match="this is a folder"):
        read(tmp_path)


def test_a_key_written_twice_is_told_with_both_lines(tmp_path: Path) -> None:
    assert "sweep.yaml:3: stages: written twice in one mapping (first in line 2)" in mistakes(
        tmp_path, "name: x\nstages: {}\nstages: {}\n"
    )


BASE = """
name: parent
study: interventional
matrix: {seed: [0, 1]}
stages:
  train: {kind: rl, model: qwen2.5-7b-instruct, data: math, seed: "${seed}", grpo: {max_steps: 10, beta: 0.1}}
  evaluate: {kind: evaluate, needs: train, suite: mini}
"""


def test_extends_merges_mappings_and_replaces_the_rest(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "base.yaml").write_text(BASE)
    sweep = expanded(
        tmp_path,
        """
        extends: inner/base.yaml
        matrix: {seed: [7]}
        stages: {train: {grpo: {beta: 0.2}}, evaluate: null}
        """,
    )
    assert [entry.title for entry in sweep.jobs] == ["train seed=7"]
    assert sweep.jobs[0].job.config["grpo"] == {"max_steps": 10, "beta": 0.2}
    assert sweep.name == "sweep"  # a name is never inherited: two sweeps would share a folder
    assert sweep.study == "interventional"


def test_extends_tells_the_line_of_the_file_that_has_the_mistake(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE.replace("beta: 0.1", "betta: 0.1"))
    assert mistakes(tmp_path, "extends: base.yaml\n") == [
        "base.yaml:6: stages.train.grpo.betta: unknown key, did you mean beta"
    ]


def test_extends_in_a_circle_and_into_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: [sweep.yaml]\n" + BASE)
    found = mistakes(tmp_path, "extends: [a.yaml, gone.yaml]\n")
    assert "a.yaml:1: extends: goes in a circle: sweep.yaml -> a.yaml -> sweep.yaml" in found
    assert any(line.startswith("sweep.yaml:1: extends: no file gone.yaml") for line in found)


def test_overrides_win_and_are_read_as_yaml(tmp_path: Path) -> None:
    sweep = expanded(
        tmp_path, BASE, "matrix.seed=[3]", "stages.train.grpo.learning_rate=5e-7", "stages.evaluate=null"
    )
    assert [entry.title for entry in sweep.jobs] == ["train seed=3"]
    assert sweep.jobs[0].job.config["grpo"] == {"max_steps": 10, "beta": 0.1, "learning_rate": 5e-7}


def test_mistakes_in_overrides_name_the_override(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path, BASE, "stages.train.grpo.learnin_rate=1", "name", "stages.train.seed.x=1", "matrix.seed=",
        "matrix.seed=[0", "extends=x.yaml",
    )  # fmt: skip
    assert found == [
        "command line: stages.train.grpo.learnin_rate=1: unknown key, did you mean learning_rate",
        "command line: name: an override is key=value, for example matrix.seed=[0]",
        "command line: stages.train.seed.x=1: stages.train.seed is a single value and has no keys to override",
        "command line: matrix.seed=: no value after =; matrix.seed=null takes the key away",
        "command line: matrix.seed=[0: not valid YAML: did not find expected ',' or ']'",
        "command line: extends=x.yaml: extends is read from the file only; "
        "write a small sweep file that extends both",
    ]
    assert mistakes(tmp_path, BASE, "stages.train.grpo.learnin_rate=1", "stages.evaluate.suit=mini") == [
        "command line: stages.train.grpo.learnin_rate=1: unknown key, did you mean learning_rate",
        "command line: stages.evaluate.suit=mini: unknown key, did you mean suite",
    ]
    assert mistakes(tmp_path, BASE, "stages.train.grpo={beta: hi}") == [
        "command line: stages.train.grpo={beta: hi}: stages.train.grpo.beta: expected a number, not 'hi'"
    ]


def test_a_file_without_permission_is_one_line(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads every file")
    path = tmp_path / "s.yaml"
    path.write_text("a: 1")
    path.chmod(0)
    with pytest.raises(UserError, match="cannot be read: Permission denied"):
        read(path)
