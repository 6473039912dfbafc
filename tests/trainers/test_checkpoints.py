"""Which saved state is trusted."""

from pathlib import Path

import pytest

from trainers import checkpoints


def state(folder: Path, step: int, *, complete: bool = True) -> Path:
    path = folder / f"checkpoint-{step}"
    (path / "global_step").mkdir(parents=True)
    (path / "optimizer.pt").write_bytes(b"optimizer" * step)
    (path / "global_step" / "rng_state_1.pth").write_bytes(b"rng")
    if complete:
        checkpoints.mark_complete(path, step=step, world_size=1)
    return path


def test_the_newest_complete_state_is_resumed(tmp_path):
    state(tmp_path, 9)
    newest = state(tmp_path, 10)
    assert checkpoints.newest(tmp_path) == checkpoints.Resume(newest, 10)


def test_no_state_means_a_start_from_the_beginning(tmp_path):
    assert checkpoints.newest(tmp_path / "absent") == checkpoints.Resume(None, 0)


def damage_removed(path: Path) -> None:
    (path / "global_step" / "rng_state_1.pth").unlink()


def damage_cut(path: Path) -> None:
    (path / "optimizer.pt").write_bytes(b"opt")


def damage_changed(path: Path) -> None:
    (path / "optimizer.pt").write_bytes(b"Optimizer" * 20)


def damage_manifest(path: Path) -> None:
    (path / checkpoints.MARKER).write_text("{")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_removed, "rng_state_1.pth is missing"),
        (damage_cut, "optimizer.pt has 3 bytes, not 180"),
        (damage_changed, "optimizer.pt is damaged"),
        (damage_manifest, "unreadable manifest"),
    ],
)
def test_a_damaged_state_is_set_aside_and_the_one_before_it_resumed(tmp_path, damage, reason):
    good, bad = state(tmp_path, 10), state(tmp_path, 20)
    damage(bad)
    resume = checkpoints.newest(tmp_path)
    assert resume.path == good
    [(name, told)] = resume.set_aside
    assert name == "checkpoint-20"
    assert reason in told
    assert not bad.exists()
    assert (tmp_path / "torn-checkpoint-20").is_dir()


def test_a_state_without_its_mark_is_never_resumed(tmp_path):
    state(tmp_path, 20, complete=False)
    resume = checkpoints.newest(tmp_path)
    assert resume.path is None
    assert resume.set_aside == (("checkpoint-20", "not finished"),)


def test_only_the_last_two_complete_states_are_kept(tmp_path):
    for step in (5, 10, 15, 20):
        state(tmp_path, step)
    torn = state(tmp_path, 25, complete=False)
    state(tmp_path, 3, complete=False)  # a kill while it was removed left this: nobody would ever free it
    checkpoints.prune(tmp_path)
    assert [step for step, _ in checkpoints.states(tmp_path)] == [25, 20, 15]
    assert torn.is_dir()
