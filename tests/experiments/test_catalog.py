"""The catalogue: its rows are whole, mistakes in rows are told, benchmarks are read from their modules."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from evaluators import benchmarks
from evaluators.fetch import data_sources
from experiments.catalog import load
from manager.sweep import SweepErrors
from manager.sweep.training import misfit

# Published: the models that the paper names, with the domain they were trained on.
NAMED = {"deepscaler-1.5b-preview": ["math"], "azr-coder-7b": ["code"], "fino1-8b": ["knowledge"]}


def test_every_pair_names_a_base_that_is_there() -> None:
    models = load().models
    pairs = {name: row for name, row in models.items() if "base" in row}
    assert len(pairs) == 14  # as many as the observational study
    for row in pairs.values():
        assert "hub" in models[row["base"]]
        assert row["domains"]
        assert row["source"]
        assert row["size_b"] == models[row["base"]]["size_b"]
        assert row["family"] == models[row["base"]]["family"]


def test_what_the_paper_does_not_name_is_marked_as_inferred() -> None:
    pairs = {name: row for name, row in load().models.items() if "base" in row}
    assert {name: row["domains"] for name, row in pairs.items() if not row.get("inferred")} == NAMED


def test_no_revision_is_invented() -> None:
    catalog = load()
    rows = [row for row in catalog.models.values() if "hub" in row]
    rows += [source for row in catalog.domains.values() for source in row["sources"] if "hub" in source]
    for row in rows:
        assert row["revision"] is None or re.fullmatch("[0-9a-f]{40}", row["revision"])


def test_the_documents_list_of_pinned_commits_is_what_is_pinned() -> None:
    catalog = load()
    rows = [row for row in catalog.models.values() if "hub" in row]
    rows += [source for row in catalog.domains.values() for source in row["sources"] if "hub" in source]
    pinned = {row["hub"]: row["revision"] for row in rows}
    for name in benchmarks.names():
        for source, _ in data_sources(benchmarks.get(name)):
            if source.hub is not None:
                assert pinned.setdefault(source.hub, source.revision) == source.revision  # one commit everywhere
    text = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| (\S+/\S+) \| `([0-9a-f]{40})` \|", text, re.MULTILINE))
    assert listed == {hub: revision for hub, revision in pinned.items() if revision is not None}
    section = text.split("## Pinned commits")[1].split("\n## ")[0]
    assert [hub for hub, revision in pinned.items() if revision is None and hub not in section] == []


def test_rows_in_a_data_folder_identify_an_evaluation_and_not_the_commit_that_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MANAGER_DATA_DIR", raising=False)
    assert load().benchmarks["gsm8k"].source["revision"] == benchmarks.get("gsm8k").source.revision
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text('{"question": "1+1?", "answer": "#### 2"}\n')
    monkeypatch.setenv("MANAGER_DATA_DIR", str(tmp_path))
    source = load().benchmarks["gsm8k"].source
    assert source["rows"].startswith("sha256:")
    assert "revision" not in source


def test_suites_are_the_published_sixteen() -> None:
    suites = load().suites
    assert len(set(suites["all16"])) == 16
    assert set(suites["math4"]) | set(suites["code7"]) | set(suites["knowledge5"]) == set(suites["all16"])
    assert [len(suites[name]) for name in ("math4", "code7", "knowledge5")] == [4, 7, 5]


def test_benchmarks_come_from_their_modules() -> None:
    catalog = load()
    assert tuple(catalog.benchmarks) == benchmarks.names()
    for name in benchmarks.names():
        row, module = catalog.benchmarks[name], benchmarks.get(name)
        assert (row.name, row.version, row.domain) == (name, module.version, module.domain)
        assert row.sampler["samples"] == module.sampler.samples
        json.dumps([dict(row.sampler), dict(row.source)])


def test_the_published_training_settings() -> None:
    catalog = load()
    sizes = {name: catalog.domains[name]["size"] for name in ("math", "code", "knowledge", "mixed")}
    assert sizes == {"math": 40_000, "code": 40_000, "knowledge": 40_000, "mixed": 3 * 13_333}
    weights: dict[str, float] = {}
    for source in catalog.domains["mixed"]["sources"]:
        weights[source["domain"]] = weights.get(source["domain"], 0) + source.get("weight", 1)
    assert len(set(weights.values())) == 1
    dapo = catalog.algorithms["dapo"]["grpo"]
    assert (dapo["epsilon"], dapo["epsilon_high"], dapo["delta"]) == (0.2, 0.28, 10.0)


def test_rows_of_another_folder_replace_and_add(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("mine: {hub: a/b, revision: unpinned}\ntiny: {hub: c/d, revision: abc}\n")
    catalog = load([tmp_path])
    assert catalog.models["mine"] == {"hub": "a/b", "revision": None}
    assert catalog.models["tiny"]["hub"] == "c/d"
    assert "fino1-8b" in catalog.models


def test_mistakes_in_rows_are_told_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(
        "a: {hub: x/y}\nb: {hub: x/y, revisoin: z}\nc: {hub: x/y, revision: z, base: fino1-8c, domains: [math]}\nd: 3\n"
    )
    (tmp_path / "domains.yaml").write_text("m: {sources: []}\nn:\n  sources:\n    - {benchmark: a, hub: b}\n")
    (tmp_path / "suites.yaml").write_text("s: gsm8k\n")
    with pytest.raises(SweepErrors) as error:
        load([tmp_path])
    assert str(error.value).replace(f"{tmp_path}/", "").split("\n") == [
        "models.yaml:1: a: revision is missing; the commit, or unpinned",
        "models.yaml:2: b.revisoin: unknown key, did you mean revision",
        "models.yaml:2: b: revision is missing; the commit, or unpinned",
        "models.yaml:3: c.base: unknown model, did you mean fino1-8b",
        "models.yaml:4: d: expected a mapping",
        "domains.yaml:1: m: a domain has a list of sources",
        "domains.yaml:4: n.sources[0]: a source has either benchmark or hub",
        "suites.yaml:1: s: expected a list of names of benchmarks",
    ]


def test_the_trainer_settings_are_those_of_the_installed_trl() -> None:
    pytest.importorskip("trl", reason="TRL is not installed (the train extra)")
    from experiments.catalog import _trainer_fields

    assert json.loads(_trainer_fields.TARGET.read_text(encoding="utf-8")) == _trainer_fields.described()


def test_lists_of_values_and_refused_settings_name_real_settings() -> None:
    catalog = load()
    fields = set().union(*catalog.trainer_fields.values())
    assert set(catalog.trainer_values) <= fields
    assert set(catalog.trainer_refused) <= fields
    for row in catalog.algorithms.values():
        known = catalog.trainer_fields["RLOOConfig" if row["trainer"] == "rloo" else "GRPOConfig"]
        assert set(row["grpo"]) <= set(known)


def test_what_the_trainers_decide_is_refused_in_a_sweep() -> None:
    settings = pytest.importorskip("trainers.settings")
    assert set(settings.RESERVED) <= set(load().trainer_refused)


def test_rewards_of_the_catalogue_take_the_settings_of_the_trainers() -> None:
    rewards = pytest.importorskip("trainers.rewards")
    rows = load().rewards
    assert set(rewards.PARTS) <= set(rows)
    for name, part in rewards.PARTS.items():
        assert set(inspect.signature(part).parameters) == set(rows[name].get("settings", {})), name


def test_deepspeed_configurations_are_the_shipped_ones() -> None:
    folder = Path(__file__).parents[2] / "trainers" / "deepspeed"
    assert sorted(load().deepspeed) == sorted(path.stem for path in folder.glob("*.json"))


def test_report_settings_are_those_of_the_analysis() -> None:
    transfer = pytest.importorskip("experiments.transfer")
    found = load().report_settings
    assert set(found) == {field.name for field in dataclasses.fields(transfer.Settings)} | {"pairs"}
    defaults = dataclasses.asdict(transfer.Settings())
    assert {key: misfit(value, found[key]) for key, value in defaults.items()} == dict.fromkeys(defaults)


def test_expanding_loads_nothing_heavy() -> None:
    code = (
        "import sys; from pathlib import Path; from manager.sweep import load_sweep; "
        "from experiments.catalog import load; load(); "
        "print(sorted({'torch', 'trl', 'vllm', 'transformers', 'mlflow', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_training_source_of_the_catalogue_can_be_read() -> None:
    from trainers.sources import READERS

    hubs = {
        str(source["hub"])
        for domain in load().domains.values()
        for source in domain["sources"]
        if source.get("hub")
    }
    assert hubs
    assert hubs <= set(READERS)
