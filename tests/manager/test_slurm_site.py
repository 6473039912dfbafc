"""The site file: what it may say and how mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.cluster.slurm_limits import parse_associations, parse_config, parse_qos
from manager.cluster.slurm_site import Container, Site, load_site
from manager.errors import UserError

FILE = """\
default: alpha
clusters:
  alpha:
    partition: gpu
    account: lab
    gres: gpu:h100:{gpus}
    setup: |
      module load cuda

      source /opt/venv/bin/activate
    env: {HF_HOME: /data/hf}
    sbatch: {mail-type: END}
    container: {kind: apptainer, image: /images/train.sif, mounts: ["/data:/data"]}
  beta: {}
"""


@pytest.fixture
def site_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "clusters.yaml"
    path.write_text(FILE)
    monkeypatch.setenv("MANAGER_CLUSTERS", str(path))
    return path


def test_a_site_is_chosen_by_name_by_the_sweep_or_as_the_default(site_file: Path) -> None:
    alpha = load_site(None, None)
    assert alpha.name == "alpha"
    assert alpha.setup == ("module load cuda", "source /opt/venv/bin/activate")
    assert alpha.container == Container("apptainer", "/images/train.sif", ("/data:/data",))
    assert load_site("beta", "alpha") == Site(name="beta")
    assert load_site(None, "beta").name == "beta"


def test_a_sweep_changes_its_site_for_itself(site_file: Path) -> None:
    site = load_site(None, {"name": "alpha", "qos": "high", "env": {"A": 1}, "sbatch": {"reservation": "r1"}})
    assert (site.partition, site.qos) == ("gpu", "high")
    assert site.env == {"HF_HOME": "/data/hf", "A": "1"}
    assert site.sbatch == {"mail-type": "END", "reservation": "r1"}


def test_without_a_file_a_sweep_says_everything_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANAGER_CLUSTERS", str(tmp_path / "none.yaml"))
    assert load_site(None, None) == Site()
    assert load_site(None, {"partition": "gpu"}).partition == "gpu"
    with pytest.raises(UserError, match=r"cluster 'alpha' is not in .*none.yaml \(there: none\)"):
        load_site("alpha", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clusters: {a: {partitoin: gpu}}", "unknown key 'partitoin', did you mean 'partition'"),
        ("clusters: {a: {time_min: soon, max_jobs: 0}}", "time_min: expected a whole number.*max_jobs: expected"),
        ("clusters: {a: {gres: gpu:8}}", "gres: expected a form with {gpus}"),
        ("clusters: {a: {container: {kind: docker, image: x}}}", "kind 'docker' is not one of apptainer, pyxis"),
        ("clusters: {a: {container: {kind: pyxis}}}", "expected a mapping with kind and image"),
        ("clusters: {a: {env: [A]}}", "env: expected a mapping"),
        ("clusters: {a: [1]}", "expected a mapping of settings"),
        ("clusters: [a]", "expected `clusters:`"),
        ("cluster: {a: {}}", "unknown key 'cluster'; valid: default, clusters"),
        ("clusters: {a: {", "not valid YAML"),
        ("clusters: {alpine: {}}", "there: alpine"),
    ],
)
def test_mistakes_are_one_line_with_file_and_key(site_file: Path, text: str, message: str) -> None:
    site_file.write_text(text)
    with pytest.raises(UserError, match=message) as told:
        load_site("a", None)
    assert "\n" not in str(told.value)
    assert str(site_file) in str(told.value)


def test_limits_are_read_from_what_slurm_prints() -> None:
    config = parse_config("Configuration data as of x\nMaxArraySize            = 1001\nSlurmctldHost[0] = a(b)\n")
    assert config["MaxArraySize"] == "1001"
    associations = "dev||100||normal|dev\ndev|gpu|20|50||dev\nroot|||||dev\n"
    assert parse_associations(associations, None, None) == (100, "dev", "normal")
    assert parse_associations(associations, None, "gpu") == (20, "dev", "")
    assert parse_associations(associations, "root", "gpu") == (None, "root", "")
    assert parse_associations("", None, None) == (None, "", "")
    table = "normal|||\ncapped|4||9\n"
    assert (parse_qos(table, "capped"), parse_qos(table, "normal"), parse_qos(table, "none")) == (4, None, None)
