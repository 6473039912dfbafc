"""A machine with Slurm's commands on PATH and no cluster behind them."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.backends import choose
from manager.errors import UserError
from manager.job import Job, Kind, Sweep, SweepJob
from manager.store import Store
from manager.submission import submit_missing

COMMAND = "#!/bin/sh\necho 'scontrol: fatal: Could not establish a configuration source' >&2\nexit 1\n"


def test_commands_without_a_cluster_are_told_in_one_line_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sbatch", "squeue", "scontrol", "sacct"):
        (tmp_path / name).write_text(COMMAND)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("MANAGER_CLUSTERS", str(tmp_path / "none.yaml"))
    store = Store.open(tmp_path / "store", create=True)
    sweep = Sweep("s", None, (SweepJob("train", {}, Job(Kind.RL, {})),))
    backend = choose(store, sweep, None, None)
    assert backend.name == "slurm"
    with pytest.raises(UserError, match=r"Could not establish a configuration source.*--cluster local") as told:
        submit_missing(store, sweep, backend)
    assert "\n" not in str(told.value)
    assert not list((store.root / "submissions").glob("m*")), "nothing was submitted"
