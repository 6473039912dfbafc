"""What the cluster allows: sizes of arrays and numbers of jobs, read from it before submitting."""

from __future__ import annotations

import re
from dataclasses import dataclass

from manager.cluster.slurm_command import SchedulerSilent, ask, user_name
from manager.cluster.slurm_site import Site

# Slurm's own default, for a controller that does not say.
DEFAULT_MAX_ARRAY = 1001


@dataclass(frozen=True)
class Limits:
    """The bounds that submissions keep to. None: no bound, or one that could not be read."""

    max_array: int = DEFAULT_MAX_ARRAY  # tasks in one array; indexes stay below it; 0: no arrays here
    max_queued: int | None = None  # jobs of this user in the queue, counted by task
    accounting: bool = True  # whether sacct knows anything here
    told_by: str = ""  # where max_queued comes from, for the user


def parse_config(text: str) -> dict[str, str]:
    """`scontrol show config` as a mapping."""
    pairs = (line.partition("=") for line in text.splitlines() if " = " in line or "= " in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _bound(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d+", text.strip()) else None


def parse_associations(text: str, account: str | None, partition: str | None) -> tuple[int | None, str, str]:
    """(submit limit, account, default QOS) of the association that a job would be charged to.

    Lines: account|partition|maxsubmit|grpsubmit|defaultqos|user's default account.
    """
    best: tuple[int, int | None, str, str] | None = None
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) < 6:
            continue
        own_account, own_partition, most, group, qos, default = (field.strip() for field in fields[:6])
        if own_account != (account or default):
            continue
        if own_partition and own_partition != (partition or ""):
            continue
        bounds = [bound for bound in (_bound(most), _bound(group)) if bound is not None]
        # The line for this very partition goes before the one for all of them.
        rank = 1 if own_partition else 0
        if best is None or rank > best[0]:
            best = (rank, min(bounds, default=None), own_account, qos)
    return (best[1], best[2], best[3]) if best else (None, "", "")


def parse_qos(text: str, name: str) -> int | None:
    """The submit limit of one QOS. Lines: name|maxsubmitpu|maxsubmitpa|grpsubmit."""
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) >= 4 and fields[0] == name:
            return min((bound for bound in map(_bound, fields[1:4]) if bound is not None), default=None)
    return None


def read_limits(site: Site) -> Limits:
    """Ask the controller, and accounting where there is some. Raises SchedulerSilent without a controller."""
    config = parse_config(ask(["scontrol", "show", "config"], timeout_s=site.timeout_s))
    max_array = _bound(config.get("MaxArraySize", ""))
    accounting = "none" not in config.get("AccountingStorageType", "accounting_storage/none")
    bounds: list[tuple[int, str]] = []
    if site.max_jobs is not None:
        bounds.append((site.max_jobs, f"max_jobs of cluster {site.name}"))
    if accounting:
        bounds += _accounting_bounds(site)
    least = min(bounds, default=None)
    return Limits(
        max_array=DEFAULT_MAX_ARRAY if max_array is None else max_array,
        max_queued=least[0] if least else None,
        accounting=accounting,
        told_by=least[1] if least else "",
    )


def _accounting_bounds(site: Site) -> list[tuple[int, str]]:
    """Limits of the association and the QOS. A database that is away bounds nothing: sbatch itself refuses."""
    try:
        associations = ask(
            ["sacctmgr", "--noheader", "--parsable2", "show", "user", user_name(), "withassoc",
             "format=account,partition,maxsubmit,grpsubmit,defaultqos,defaultaccount"],
            timeout_s=site.timeout_s,
        )  # fmt: skip
        most, account, default_qos = parse_associations(associations, site.account, site.partition)
        bounds = [] if most is None else [(most, f"the submit limit of account {account}")]
        qos = site.qos or default_qos or "normal"
        table = ask(
            ["sacctmgr", "--noheader", "--parsable2", "show", "qos",
             "format=name,maxsubmitpu,maxsubmitpa,grpsubmit"],
            timeout_s=site.timeout_s,
        )  # fmt: skip
        own = parse_qos(table, qos)
        return bounds if own is None else [*bounds, (own, f"the submit limit of QOS {qos}")]
    except SchedulerSilent:
        return []
