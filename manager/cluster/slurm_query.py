"""What squeue and sacct say about submissions: at most one call of each, however many jobs.

Jobs are found by the token in their name or comment and never by their id alone: a controller that
crashed gives the same id to another job. Parsing is pure; the two functions at the end ask.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from manager.cluster.backend import Phase
from manager.cluster.slurm_command import TIMEOUT_S, ask

TOKEN = re.compile(r"(?<![0-9A-Za-z])m[0-9a-f]{15}(?![0-9A-Za-z])")

_QUEUED = frozenset(
    {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD", "POWER_UP_NODE"}
)
_RUNNING = frozenset(
    {"RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING",
     "LAUNCH_FAILED", "UPDATE_DB"}
)
_ENDED = frozenset(
    {"COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "CANCELLED", "BOOT_FAIL", "DEADLINE",
     "PREEMPTED", "REVOKED"}
)
# Reasons of pending jobs that stay so for ever: the parent failed (some sites cancel such a job, others leave
# it), or old processes under the same id kept the node from starting it.
STUCK = ("DependencyNeverSatisfied", "launch failed requeued held")

# Tasks of an expression that was cut off ("1,3,5..."): every index that is not listed elsewhere.
REST = -1


@dataclass(frozen=True)
class Row:
    """One task (or one job that is no array) as the scheduler tells it."""

    token: str
    index: int  # 0 for a job that is no array
    phase: Phase
    state: str
    array_id: str = ""
    job_id: str = ""
    reason: str = ""
    node: str = ""
    started: float | None = None
    ended: float | None = None
    elapsed_s: float = 0.0
    total_s: float = 0.0  # of all attempts under this submission that accounting knows
    gpus: int = 0
    exit_code: str = ""
    of_many: bool = False  # from an expression for several tasks that have not begun

    @property
    def scheduler_id(self) -> str:
        return f"{self.array_id}_{self.index}" if self.array_id else self.job_id

    @property
    def never_starts(self) -> bool:
        return self.phase is Phase.QUEUED and self.reason in STUCK


Rows = Mapping[tuple[str, int], Row]


def phase_of(state: str) -> Phase:
    """The phase of a Slurm state in its long form; `CANCELLED by 1000` is one, too."""
    word = state.split()[0].rstrip("+") if state.strip() else ""
    if word in _QUEUED:
        return Phase.QUEUED
    if word in _RUNNING:
        return Phase.RUNNING
    if word in _ENDED:
        return Phase.ENDED
    return Phase.UNKNOWN


def array_indexes(expression: str) -> list[int]:
    """The indexes in an array expression: `7`, `0-78:2%4`, `2-4,6-7,9%2`, `[1,3]`, `N/A`."""
    text = expression.strip().strip("[]").split("%")[0]
    if not text or text == "N/A":
        return [0]
    indexes: list[int] = []
    for part in text.split(","):
        if "..." in part or part == "":
            indexes.append(REST)
            continue
        span, _, step = part.partition(":")
        low, _, high = span.partition("-")
        indexes.extend(range(int(low), int(high or low) + 1, int(step or 1)))
    return indexes


def _seconds(text: str) -> float | None:
    return float(text) if text.strip().isdigit() else None


# squeue

_SQUEUE_FORMAT = "%A|%F|%K|%T|%r|%N|%S|%e|%k|%j"


def parse_squeue(text: str, tokens: Collection[str]) -> dict[tuple[str, int], Row]:
    """The rows of these tokens. Lines of other jobs, whatever their names contain, are passed over."""
    rows: dict[tuple[str, int], Row] = {}
    for line in text.splitlines():
        fields = line.split("|", 8)
        if len(fields) < 9:
            continue
        token = _token_in(fields[8], tokens)
        if token is None:
            continue
        job_id, array_id, expression, state, reason, node, start, end = (field.strip() for field in fields[:8])
        is_array = expression != "N/A"
        indexes = array_indexes(expression)
        for index in indexes:
            row = Row(
                token=token,
                index=index,
                phase=phase_of(state),
                state=state,
                array_id=array_id if is_array else "",
                job_id=job_id,
                reason="" if reason == "None" else reason,
                node=node,
                started=_seconds(start),
                ended=_seconds(end),
                of_many=len(indexes) > 1,
            )
            _keep_truer(rows, row)
    return rows


_LIVELINESS = {Phase.RUNNING: 3, Phase.QUEUED: 2, Phase.UNKNOWN: 1}


def _keep_truer(rows: dict[tuple[str, int], Row], row: Row) -> None:
    """Of two rows of one task its own one (24.11 leaves cancelled tasks in the expression for the waiting
    ones), else the one that may still act."""
    known = rows.get((row.token, row.index))
    if known is not None and known.of_many != row.of_many:
        rows[row.token, row.index] = known if row.of_many else row
    elif known is None or _LIVELINESS.get(row.phase, 0) >= _LIVELINESS.get(known.phase, 0):
        rows[row.token, row.index] = row


def _token_in(text: str, tokens: Collection[str]) -> str | None:
    for match in TOKEN.finditer(text):
        if match.group() in tokens:
            return match.group()
    return None


def ask_squeue(tokens: Collection[str], users: Iterable[str], *, timeout_s: float = TIMEOUT_S) -> Rows:
    """Every job of these tokens that the controller still knows, just ended ones too."""
    argv = ["squeue", "--noheader", "--all", "--states=all", f"--format={_SQUEUE_FORMAT}"]
    names = sorted(set(users))
    if names:
        argv.append(f"--user={','.join(names)}")
    return parse_squeue(ask(argv, timeout_s=timeout_s), tokens)


# sacct

_SACCT_FIELDS = "JobID,JobIDRaw,State,ExitCode,Start,End,ElapsedRaw,NodeList,Submit,AllocTRES,JobName"


def parse_sacct(text: str, tokens: Collection[str]) -> dict[tuple[str, int], Row]:
    """The last record of each task of these tokens; a step's OUT_OF_MEMORY is its job's."""
    rows: dict[tuple[str, int], Row] = {}
    submitted: dict[tuple[str, int], float] = {}
    token_of: dict[str, tuple[str, int]] = {}
    for line in text.splitlines():
        fields = line.split("|", 10)
        if len(fields) < 11:
            continue
        job, raw, state, code, start, end, elapsed, node, submit, tres, name = fields
        if "." in job:
            key = token_of.get(job.split(".")[0])
            if key is not None and state.startswith("OUT_OF_MEMORY"):
                rows[key] = _with_state(rows[key], "OUT_OF_MEMORY")
            continue
        token = _token_in(name, tokens)
        if token is None:
            continue
        array_id, _, expression = job.partition("_")
        time = _seconds(submit) or 0.0
        for index in array_indexes(expression) if expression else [0]:
            key = (token, index)
            known = rows.get(key)
            seconds = _seconds(elapsed) or 0.0
            if known is not None and submitted[key] > time:
                rows[key] = replace(known, total_s=known.total_s + seconds, gpus=max(known.gpus, gpus_in(tres)))
                continue
            submitted[key] = time
            token_of[job] = key
            rows[key] = Row(
                token=token,
                index=index,
                phase=phase_of(state),
                state=state,
                array_id=array_id if expression else "",
                job_id=raw,
                node="" if node == "None assigned" else node,
                started=_seconds(start),
                ended=_seconds(end),
                elapsed_s=seconds,
                total_s=seconds + (known.total_s if known else 0.0),
                gpus=max(gpus_in(tres), known.gpus if known else 0),  # none yet while it waits to run again
                exit_code=code,
            )
    return rows


def _with_state(row: Row, state: str) -> Row:
    return replace(row, state=state)


def gpus_in(tres: str) -> int:
    """The number of GPUs in `billing=8,cpu=8,gres/gpu=8,gres/gpu:h100=8`."""
    match = re.search(r"(?:^|,)gres/gpu=(\d+)", tres)
    return int(match.group(1)) if match else sum(int(n) for n in re.findall(r"gres/gpu:[^=,]+=(\d+)", tres))


def ask_sacct(
    names: Iterable[str],
    tokens: Collection[str],
    users: Iterable[str],
    since: float,
    *,
    steps: bool = False,
    timeout_s: float = TIMEOUT_S,
) -> Rows:
    """What accounting knows of the submissions with these job names, all attempts read, the last one told."""
    # A day earlier than needed: the clock of this machine is not the database's.
    start = datetime.fromtimestamp(since - 86_400).strftime("%Y-%m-%dT%H:%M:%S")
    argv = ["sacct", "--noheader", "--parsable2", "--duplicates", f"--format={_SACCT_FIELDS}",
            f"--starttime={start}", f"--name={','.join(sorted(set(names)))}"]  # fmt: skip
    users = sorted(set(users))
    argv.append(f"--user={','.join(users)}" if users else "--allusers")
    if not steps:
        argv.append("--allocations")
    return parse_sacct(ask(argv, timeout_s=timeout_s), tokens)
