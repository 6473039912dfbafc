"""What squeue and sacct print, in the forms of several versions, and what is read from it."""

from __future__ import annotations

import pytest

from manager.cluster.backend import Phase
from manager.cluster.slurm_command import Answer, SchedulerSilent, ask, call, command_environment
from manager.cluster.slurm_query import (
    REST,
    array_indexes,
    ask_squeue,
    gpus_in,
    parse_sacct,
    parse_squeue,
    phase_of,
)

A, B = "m0123456789abcde", "mfedcba987654321"
NAME = f"toys.train.{A}"


@pytest.mark.parametrize(
    ("text", "indexes"),
    [
        ("7", [7]),
        ("0-3", [0, 1, 2, 3]),
        ("0-8:2%4", [0, 2, 4, 6, 8]),
        ("2-4,6-7,9%2", [2, 3, 4, 6, 7, 9]),
        ("[1,3]", [1, 3]),
        ("[0-78:2%4]", list(range(0, 79, 2))),
        ("N/A", [0]),
        ("1,3,...", [1, 3, REST]),
        ("1,3,5-...", [1, 3, REST]),
    ],
)
def test_array_expressions(text: str, indexes: list[int]) -> None:
    assert array_indexes(text) == indexes


def test_states_of_all_versions_have_a_phase() -> None:
    assert phase_of("PENDING") is Phase.QUEUED
    assert phase_of("COMPLETING") is Phase.RUNNING
    assert phase_of("SUSPENDED") is Phase.RUNNING
    assert phase_of("CANCELLED by 1000") is Phase.ENDED
    assert phase_of("CANCELLED+") is Phase.ENDED
    assert phase_of("SOMETHING_NEW") is Phase.UNKNOWN
    assert phase_of("") is Phase.UNKNOWN


SQUEUE = f"""\
7|4|3|COMPLETED|None|node2|1795216421|1795216422|(null)|child
1|1|2-4,6-7,9%2|PENDING|JobArrayTaskLimit||N/A|N/A|manager {A}|{NAME}
9|1|0|RUNNING|None|node1|1795216417|1795217017|manager {A}|{NAME}
10|1|1|COMPLETED|None|node1|1795216417|1795216500|manager {A}|{NAME}
5|5|N/A|PENDING|Dependency||N/A|N/A|a | pipe|somebody's | job
18|18|N/A|PENDING|DependencyNeverSatisfied||N/A|N/A|(null)|renamed by a plugin.{B}
garbage
"""


def test_squeue_tells_each_task_of_known_tokens_and_passes_over_other_jobs() -> None:
    rows = parse_squeue(SQUEUE, {A, B})
    assert sorted(rows) == [(A, n) for n in (0, 1, 2, 3, 4, 6, 7, 9)] + [(B, 0)]
    assert rows[A, 0].phase is Phase.RUNNING
    assert (rows[A, 0].node, rows[A, 0].started, rows[A, 0].scheduler_id) == ("node1", 1795216417.0, "1_0")
    assert rows[A, 1].phase is Phase.ENDED
    assert (rows[A, 9].phase, rows[A, 9].reason, rows[A, 9].started) == (Phase.QUEUED, "JobArrayTaskLimit", None)
    assert rows[B, 0].never_starts
    assert rows[B, 0].scheduler_id == "18"
    assert parse_squeue(SQUEUE, {A}).keys() == rows.keys() - {(B, 0)}


def test_the_comment_identifies_a_job_whose_name_was_changed_and_the_other_way_round() -> None:
    line = "7|4|3|RUNNING|None|node2|1|2|{}|{}\n"
    assert (A, 3) in parse_squeue(line.format(f"manager {A}", "renamed"), {A})
    assert (A, 3) in parse_squeue(line.format("(null)", NAME), {A})
    assert not parse_squeue(line.format("(null)", NAME + "0"), {A}), "a longer word is another token"


def test_of_two_rows_of_one_task_the_one_that_still_acts_is_believed() -> None:
    old = f"7|4|3|NODE_FAIL|None|node2|1|2|x|{NAME}\n"
    new = f"9|4|3|RUNNING|None|node1|3|N/A|x|{NAME}\n"
    for text in (old + new, new + old):
        assert parse_squeue(text, {A})[A, 3].node == "node1"


def test_a_tasks_own_row_goes_before_an_expression_that_still_names_it() -> None:
    # As 24.11 prints an array of which task 5 was cancelled while it waited.
    many = f"7|7|0-79%4|PENDING|JobArrayTaskLimit||N/A|N/A|x|{NAME}\n"
    own = f"9|7|5|CANCELLED|None||N/A|2|x|{NAME}\n"
    for text in (many + own, own + many):
        rows = parse_squeue(text, {A})
        assert rows[A, 5].phase is Phase.ENDED
        assert rows[A, 6].phase is Phase.QUEUED


SACCT = f"""\
1_0|9|NODE_FAIL|0:0|100|150|50|node1|90|billing=8,cpu=8,gres/gpu=8,gres/gpu:h100=8|{NAME}
1_0|9|COMPLETED|0:0|160|260|100|node2|155|billing=8,gres/gpu=8|{NAME}
1_1|10|FAILED|1:0|100|150|50|node1|90|cpu=1|{NAME}
1_1.batch|10.batch|FAILED|1:0|100|150|50|node1|90||batch
1_1.0|10.0|OUT_OF_MEMORY|0:125|100|150|50|node1|90||python
1_[4-5]|1|PENDING|0:0|Unknown|Unknown|0|None assigned|90||{NAME}
3|3|CANCELLED by 0|0:0|Unknown|170|0|None assigned|90||other.{B}
4|4|COMPLETED|0:0|1|2|1|node1|1||a name | with pipes
"""


def test_sacct_tells_the_last_attempt_and_the_memory_of_steps() -> None:
    rows = parse_sacct(SACCT, {A, B})
    assert sorted(rows) == [(A, 0), (A, 1), (A, 4), (A, 5), (B, 0)]
    last = rows[A, 0]
    assert (last.state, last.node, last.elapsed_s, last.gpus) == ("COMPLETED", "node2", 100.0, 8)
    assert last.total_s == 150.0, "both attempts"
    first, second, *others = SACCT.splitlines()
    assert parse_sacct("\n".join([second, first, *others]), {A, B})[A, 0] == last, "in whatever order they are told"
    assert rows[A, 1].state == "OUT_OF_MEMORY"
    assert rows[A, 4].phase is Phase.QUEUED
    assert rows[B, 0].phase is Phase.ENDED
    assert rows[B, 0].node == ""


def test_gpus_are_counted_once() -> None:
    assert gpus_in("billing=8,gres/gpu:h100=8,gres/gpu=8") == 8
    assert gpus_in("gres/gpu:a100=2,gres/gpu:h100=1") == 3
    assert gpus_in("cpu=4") == 0


def test_a_surrounding_allocation_and_personal_formats_do_not_reach_the_commands() -> None:
    outside = {
        "PATH": "/bin", "SLURM_CONF": "/etc/x", "SLURM_CPU_BIND": "cores", "SLURM_JOB_ID": "7",
        "SQUEUE_FORMAT": "%i", "SACCT_FORMAT": "JobID", "SBATCH_ARRAY_INX": "0-9", "SBATCH_ACCOUNT": "lab",
        "LC_ALL": "de_DE.UTF-8",
    }  # fmt: skip
    made = command_environment(outside)
    assert {name: made[name] for name in made if name in outside} == {
        "PATH": "/bin", "SLURM_CONF": "/etc/x", "SBATCH_ACCOUNT": "lab", "LC_ALL": "C",
    }  # fmt: skip
    assert made["SLURM_BITSTR_LEN"] == "0"
    assert made["SLURM_TIME_FORMAT"] == "%s"


def test_a_command_that_hangs_is_ended_and_is_no_answer(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    slow = tmp_path / "squeue"
    slow.write_text("#!/bin/sh\necho partial\nexec sleep 600\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    answer = call(["squeue"], timeout_s=0.5)
    assert answer.code is None
    assert "no answer within" in answer.complaint
    with pytest.raises(SchedulerSilent, match="no answer within"):
        ask_squeue({A}, ["me"], timeout_s=0.5)


def test_a_missing_command_and_an_error_are_silence_not_failure(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SchedulerSilent, match="no-such-program"):
        ask(["no-such-program"])
    broken = tmp_path / "sacct"
    broken.write_text("#!/bin/sh\necho 'sacct: error: Slurm accounting storage is disabled' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(SchedulerSilent, match="accounting storage is disabled"):
        ask(["sacct"])
    assert Answer(1, "", "\n").complaint == "no message"
