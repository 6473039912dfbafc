"""Runs Slurm's commands: each with a time limit and in an environment that cannot change its output.

The only place that starts them. It interprets no output; a command that fails or does not answer is
`SchedulerSilent`, which never means that a job failed.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# A munge daemon that is away makes every command hang for 49 s before it says so.
TIMEOUT_S = 60.0

# A user's own settings for interactive use would change columns, filters and times.
_OUTPUT_SETTINGS = ("SQUEUE_", "SACCT_", "SINFO_")
# Of a surrounding allocation only what names the cluster may reach new jobs: SLURM_CPU_BIND,
# SLURM_MEM_PER_NODE and others of an interactive session break the srun of what is submitted from it.
_KEPT = frozenset({"SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_CONF_SERVER"})
# Site-wide defaults that people keep in their profile; every other SBATCH_ variable would override the script.
_KEPT_SBATCH = frozenset(
    {"SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION", "SBATCH_CLUSTERS"}
)


class SchedulerSilent(Exception):
    """A command could not be run, answered an error or did not answer in time."""


@dataclass(frozen=True)
class Answer:
    code: int | None  # None: ended because it did not answer in time
    output: str
    error: str

    @property
    def complaint(self) -> str:
        """The last line of what it said, for one line to the user."""
        lines = [line.strip() for line in self.error.splitlines() if line.strip()]
        return lines[-1] if lines else "no message"


def command_environment(outside: Mapping[str, str]) -> dict[str, str]:
    """The environment for Slurm's commands, made from the one outside."""
    kept = {}
    for name, value in outside.items():
        if name.startswith(_OUTPUT_SETTINGS):
            continue
        if name.startswith("SLURM_") and name not in _KEPT:
            continue
        if name.startswith("SBATCH_") and name not in _KEPT_SBATCH:
            continue
        kept[name] = value
    # Full array expressions (cut at 64 characters otherwise), times in seconds, messages in English.
    return kept | {"SLURM_BITSTR_LEN": "0", "SLURM_TIME_FORMAT": "%s", "LC_ALL": "C"}


def call(argv: Sequence[str], *, timeout_s: float = TIMEOUT_S, without: Sequence[str] = ()) -> Answer:
    """Run one command to its end or to its time limit; `without` names variables that it must not see."""
    environment = command_environment(os.environ)
    for name in without:
        environment.pop(name, None)
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        return Answer(None, _text(expired.stdout), f"{argv[0]}: no answer within {timeout_s:.0f} s")
    except OSError as error:
        raise SchedulerSilent(f"{argv[0]}: {error.strerror or error}") from error
    return Answer(done.returncode, _text(done.stdout), _text(done.stderr))


def ask(argv: Sequence[str], *, timeout_s: float = TIMEOUT_S) -> str:
    """The output of a query. Raises SchedulerSilent where there is no answer to rely on."""
    answer = call(argv, timeout_s=timeout_s)
    if answer.code != 0:
        raise SchedulerSilent(f"{argv[0]}: {answer.complaint.removeprefix(argv[0] + ': ')}")
    return answer.output


def user_name() -> str:
    """Whom Slurm takes this process for: by the user id, not by variables that anybody can set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _text(value: bytes | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else value.decode(errors="replace")
