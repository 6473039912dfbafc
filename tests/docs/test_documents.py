"""Every YAML block of the documents is planned and every command block is run, so that none goes stale."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from experiments import catalog
from manager.cluster.slurm_site import load_site
from manager.job import Job, Kind
from manager.store import Store
from manager.sweep import load_sweep
from tests.docs.blocks import DOCUMENTS, ROOT, Block, blocks
from tests.small import SMALLER, SmallSweep, environment

# Commands that a test must not run, each with what is checked in its place.
CHECKED_BY_HELP = ("data", "evaluate", "import", "show-prompt", "episode")
# Commands of others, which only name what a person does on a site: nothing of ours can go stale in them.
FOREIGN = ("pip", "apt-get", "export", "git", "cd", "ssh", "rsync", "apptainer", "module", "createdb", "mlflow", "psql")


def identify(block: Block) -> str:
    return block.place


@pytest.mark.parametrize("block", list(blocks("yaml")), ids=identify)
def test_yaml_blocks_are_valid(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = yaml.safe_load(block.text)
    if "clusters" in content:
        path = tmp_path / "clusters.yaml"
        path.write_text(block.text, encoding="utf-8")
        monkeypatch.setenv("MANAGER_CLUSTERS", str(path))
        assert content["clusters"]
        for name in content["clusters"]:
            assert load_site(name, None).name == name
        return
    assert "stages" in content or "extends" in content, "neither a sweep nor a clusters file: mark the block as text"
    # Beside the shipped sweeps, because `extends` is relative to the file.
    folder = tmp_path / "sweeps"
    shutil.copytree(ROOT / "sweeps", folder)
    path = folder / "block.yaml"
    path.write_text(block.text, encoding="utf-8")
    assert load_sweep(path, catalog=catalog.load(), environ=os.environ).jobs


COMMANDS = [
    pytest.param(command, id=f"{block.place} {command}") for block in blocks("sh") for command in block.commands
]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_blocks_run(command: str, small_sweep: SmallSweep) -> None:
    words = shlex.split(command)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    if words[0] == "make":
        subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)
    elif words[:3] == ["python", "-m", "manager"] or words[0] == "manager":
        run_manager(words[3:] if words[0] == "python" else words[1:], small_sweep)
    else:
        assert words[0] in FOREIGN, f"{words[0]}: say in tests/docs/test_documents.py how this is checked"


def run_manager(words: list[str], small: SmallSweep) -> None:
    command, *rest = words
    if command in CHECKED_BY_HELP:
        check_by_help(command, rest, small)
    elif command in ("plan", "sweep"):
        options = [word for word in rest if word not in ("--watch",) and not word.startswith("--slots")]
        here = [] if "--cluster" in options else ["--cluster", "local"]
        smaller = SMALLER if "sweeps/quickstart.yaml" in options else ()
        small.manager("plan", *options, *here, *smaller)
    elif command == "ui":
        check_ui(small)
    elif command == "cancel":
        # Nothing of a finished sweep can be cancelled: the command says so and changes nothing.
        assert "0 jobs cancelled" in small.manager(command, *known(rest, small)).stdout
    elif command in ("retry", "clean"):
        answer = small.manager(command, *(word for word in known(rest, small) if word != "--yes"), check=False)
        assert "Traceback" not in answer.stderr
        assert answer.returncode in (0, 1)
    else:
        small.manager(command, *known(rest, small))


def known(words: list[str], small: SmallSweep) -> list[str]:
    """The words with names that exist in the finished sweep: its name, and ids for JOB, A and B."""
    store = Store.open(small.store)
    ids = store.job_ids()
    names = {"JOB": ids[0], "A": ids[0], "B": ids[1], "SWEEP": "quickstart"}
    shipped = {path.stem for path in (ROOT / "sweeps").rglob("*.yaml")}
    return [
        names.get(word, "quickstart" if word in shipped else word) for word in words if word not in ("-f", "--follow")
    ]


def check_by_help(command: str, rest: list[str], small: SmallSweep) -> None:
    """The command and every option in it exist; running it would need a model or a hub."""
    group = [word for word in rest[:1] if command == "data"]
    text = small.manager(command, *group, "--help").stdout
    for word in rest:
        if word.startswith("--"):
            assert word.partition("=")[0] in text, f"{command} has no {word}"


def check_ui(small: SmallSweep) -> None:
    """MLflow's UI comes up on this sweep and answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "manager", "ui", "quickstart", "--port", str(port)],
        cwd=ROOT,
        env=environment(small.store),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 180
        while True:
            assert server.poll() is None, "the server ended"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                    assert answer.status == 200
                    return
            except OSError:
                assert time.monotonic() < deadline, "no answer"
                time.sleep(0.5)
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=60)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


PYTHON = [pytest.param(block, id=block.place) for block in blocks("python")]


@pytest.mark.parametrize("block", PYTHON)
def test_python_blocks_run_and_keep_their_promises(
    block: Block, small_sweep: SmallSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is executed; a benchmark's gold answers score 1 and its wrong ones 0, a trainer ends by itself."""
    monkeypatch.chdir(small_sweep.store.parent)  # there, `runs` is a store with a finished sweep
    space: dict[str, object] = {"__name__": "block"}
    exec(compile(block.text, block.place, "exec"), space)
    benchmark = space.get("BENCHMARK")
    if benchmark is not None:
        items = list(benchmark.items("test", None))  # type: ignore[attr-defined]
        assert items
        for item in items:
            assert benchmark.score(item, benchmark.gold(item)).value == 1.0  # type: ignore[attr-defined]
            assert benchmark.score(item, benchmark.wrong(item, 0)).value == 0.0  # type: ignore[attr-defined]


def test_the_trainer_of_the_documents_runs_under_the_worker(tmp_path: Path) -> None:
    text = next(block.text for block in blocks("python") if "def main(run: Run)" in block.text)
    (tmp_path / "documented_trainer.py").write_text(text, encoding="utf-8")
    run = Store.open(tmp_path / "store", create=True).add_job(Job(Kind.RL, {"steps": 4}))
    subprocess.run(
        [sys.executable, "-m", "manager.worker", str(run.path)],
        cwd=ROOT,
        env={**os.environ, "MANAGER_KINDS": "rl=documented_trainer", "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        check=True,
    )
    result = run.result()
    assert result is not None
    assert result["last_step"] == 4
