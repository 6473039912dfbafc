"""The batch script of one array: from stage, resources and site to the text that sbatch gets.

Pure but for submitit, which writes the script (and of which this is the importer on clusters).
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submitit.core.utils import DelayedSubmission
from submitit.slurm import slurm as submitit_slurm

from manager.cluster.slurm_after import AVOID, HOLD_ARRAY, REQUEUE, REQUEUE_ELSEWHERE
from manager.cluster.slurm_record import intent_line
from manager.cluster.slurm_site import Container, Site
from manager.cluster.slurm_task import ArrayWork
from manager.errors import UserError
from manager.job import Resources

SCRIPT = "submission.sh"
WORK_PICKLE = "work.pkl"
# A munge daemon that is away makes every command of Slurm hang.
SCONTROL = "timeout 60 scontrol"
CANARY_POLL_S = 3
RELEASE_POLL_S = 5
# Room for what Slurm shows of a name; the token, which is the identity, is always whole.
NAME_LENGTH = 60


@dataclass(frozen=True)
class ScriptRequest:
    """Everything that decides the script of one array."""

    token: str
    sweep: str
    stage: str
    resources: Resources
    folder: Path
    code: Path  # the snapshot that jobs import
    array: str | None  # None: this cluster has no arrays
    dependency: str | None = None
    exclude: tuple[str, ...] = ()  # nodes that failed before
    release: int | None = None  # the array runs one job at a time until one reached its first step; then so many
    saves_weights: bool = False  # evaluations may wait for weights that its jobs save before they end
    intent: Mapping[str, Any] = field(default_factory=dict)  # which jobs these are, for who finds only the script


def job_name(sweep: str, stage: str, token: str) -> str:
    """`interventional.train.m0123…`: readable in squeue, and the token in it is the identity."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", f"{sweep}.{stage}")[:NAME_LENGTH]
    return f"{plain}.{token}"


def write_work(folder: Path, store_root: Path, token: str) -> None:
    """The one pickle of the array, on disk before sbatch is called; it holds two texts."""
    work = DelayedSubmission(ArrayWork(str(store_root), token))
    # submitit's own requeue is not used (slurm_task.py decides), so its count of timeouts is neither.
    work.set_timeout(0, 0)
    work.dump(folder / WORK_PICKLE)


def script(request: ScriptRequest, site: Site) -> str:
    """The text for sbatch, by submitit."""
    parameters = _parameters(request, site)
    try:
        text: str = submitit_slurm._make_sbatch_string(
            command=_command(request, site), folder=request.folder, **parameters
        )
        return f"{text.rstrip()}\n{intent_line(request.intent)}\n" if request.intent else text
    except TypeError as error:
        valid = ", ".join(sorted(submitit_slurm._get_default_parameters()))
        unknown = str(error).rpartition("argument ")[2] or str(error)
        raise UserError(
            f"stage {request.stage}: resources.slurm: {unknown} is not an option of submitit; valid: {valid}; "
            "any option of sbatch goes under additional_parameters"
        ) from error


def _parameters(request: ScriptRequest, site: Site) -> dict[str, Any]:
    resources = request.resources
    own = dict(resources.slurm)
    own_options = dict(own.pop("additional_parameters", None) or {})
    own_srun = list(own.pop("srun_args", None) or [])
    own_setup = list(own.pop("setup", None) or [])
    cpus = resources.cpus_per_task or site.cpus_per_task
    memory = resources.memory_gb or site.memory_gb
    parameters: dict[str, Any] = {
        "job_name": job_name(request.sweep, request.stage, request.token),
        "comment": f"manager {request.token}",
        "partition": site.partition,
        "account": site.account,
        "qos": site.qos,
        "constraint": site.constraint,
        "exclude": ",".join(filter(None, [site.exclude, *request.exclude])) or None,
        "nodes": resources.nodes,
        "ntasks_per_node": resources.tasks,
        "cpus_per_task": cpus,
        "mem": submitit_slurm._convert_mem(memory) if memory else None,
        # None leaves the line out, and the partition's own limit holds.
        "time": resources.time_min or site.time_min,
        "signal_delay_s": site.signal_before_limit_s,
        "dependency": request.dependency,
        "wckey": None,
        **_gpus(resources.gpus_per_node, site.gres),
        **own,
    }
    options: dict[str, Any] = {"requeue": True, "chdir": str(request.code), **site.sbatch, **own_options}
    if request.array is not None:
        options["array"] = request.array
    if request.dependency is not None:
        # Where the site allows it Slurm itself removes what can never start; nothing relies on it.
        options.setdefault("kill-on-invalid-dep", "yes")
    parameters["additional_parameters"] = options
    parameters["srun_args"] = _srun_arguments(cpus, request, site.container) + own_srun
    parameters["setup"] = _setup(request, site) + own_setup
    parameters["teardown"] = _teardown(request, site, list(own.get("teardown") or []))
    if request.array is not None:
        parameters["map_count"] = 1  # names the logs after array and task; --array above says which tasks
    return parameters


def _gpus(count: int, form: str | None) -> dict[str, Any]:
    if count == 0:
        return {}
    return {"gres": form.format(gpus=count)} if form else {"gpus_per_node": count}


def _srun_arguments(cpus: int | None, request: ScriptRequest, container: Container | None) -> list[str]:
    arguments = ["--kill-on-bad-exit=1"]
    if cpus:
        # Since Slurm 22.05 srun does not take this over from the allocation.
        arguments.append(f"--cpus-per-task={cpus}")
    if container is not None and container.kind == "pyxis":
        arguments += _pyxis(request, container)
    return arguments


def _pyxis(request: ScriptRequest, container: Container) -> list[str]:
    mounts = ",".join(_mounts(request, container))
    return [f"--container-image={container.image}", f"--container-mounts={mounts}", *container.options]


def _apptainer(request: ScriptRequest, container: Container) -> list[str]:
    gpu = ["--nv"] if request.resources.gpus_per_node else []
    mounts = [f"--bind={mount}" for mount in _mounts(request, container)]
    return ["apptainer", "exec", *gpu, *mounts, *container.options, container.image]


def _mounts(request: ScriptRequest, container: Container) -> list[str]:
    """The store, where jobs read and write, under the same path; then what the site names."""
    store = request.folder.parents[1]
    return [f"{store}:{store}", *container.mounts]


def _own_id(request: ScriptRequest) -> str:
    """The shell's name for this very job. SLURM_JOB_ID of an array's last task is the id of the whole array:
    to requeue that would requeue every task."""
    return "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}" if request.array is not None else "${SLURM_JOB_ID}"


def _setup(request: ScriptRequest, site: Site) -> list[str]:
    """Shell lines before srun. submitit looks for a pickle under the job's id, which is known only here."""
    folder = shlex.quote(str(request.folder))
    job = _own_id(request)
    lines = [
        f"ln -sfn {WORK_PICKLE} {folder}/{job}_submitted.pkl",
        # Left behind by an attempt that was killed while it wrote; submitit would refuse to go on.
        f"rm -f {folder}/{job}_*_result.pkl.save_tmp",
    ]
    if request.release is not None:
        lines += _canary(folder, request.release)
    if request.saves_weights:
        lines += _release_saved(folder, job)
    lines += list(site.setup)
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(site.env.items())]
    if site.scratch:
        lines += [f"export TMPDIR={_double_quoted(site.scratch)}", 'mkdir -p "$TMPDIR"']
    lines.append(f"export PYTHONPATH={shlex.quote(str(request.code))}${{PYTHONPATH:+:$PYTHONPATH}}")
    return lines


def _canary(folder: str, release: int) -> list[str]:
    """Beside the first job: let the others start once it has made its first step (0: all that fit)."""
    update = f"{SCONTROL} update jobid=$SLURM_ARRAY_JOB_ID arraytaskthrottle={release}"
    wait = f"until [ -e {folder}/first-step ]; do sleep {CANARY_POLL_S}; done"
    return [f"[ -e {folder}/released ] || ({wait}; {update} && touch {folder}/released) >/dev/null 2>&1 &"]


def _release_saved(folder: str, job: str) -> list[str]:
    """Beside a training: let jobs start whose weights it has saved (slurm_task.py says which). What Slurm refuses
    four times keeps its dependency, and starts after the training."""
    update = f'{SCONTROL} update jobid="${{file##*/}}" dependency='
    return [
        f"mkdir -p {folder}/lifted",
        "release_saved() {",
        f'  for file in {folder}/release-{job}/*; do [ -e "$file" ] || continue',
        f"    for pause in 1 5 30 0; do {update} && break; sleep $pause; done",
        f'    mv "$file" {folder}/lifted/',
        "  done",
        "}",
        f"(while sleep {RELEASE_POLL_S}; do release_saved; done) >/dev/null 2>&1 &",
    ]


def _teardown(request: ScriptRequest, site: Site, own: list[str]) -> list[str]:
    """Shell lines after srun: the end is recorded where the tasks could not, and the job is requeued or not.

    The exit code stays that of the tasks: what depends on this job goes by it.
    """
    job = _own_id(request)
    store, token = shlex.quote(str(request.folder.parents[1])), request.token
    hold = [f"[ $verdict -ne {HOLD_ARRAY} ] || {SCONTROL} hold $SLURM_ARRAY_JOB_ID"] * (request.release is not None)
    avoid = ",".join([*filter(None, [site.exclude, *request.exclude]), "$SLURMD_NODENAME"])
    avoided = f"{shlex.quote(str(request.folder))}/{AVOID}{job}"
    after = f"{_batch_python(request, site)} -m manager.cluster.slurm_after {store} {token} $code"
    return [
        "code=$?",
        *own,
        "[ $code -eq 0 ] && exit 0",
        *["release_saved >/dev/null 2>&1"] * request.saves_weights,
        "for pause in 1 3 9 0; do",
        f"  told=$({SCONTROL} show job --oneliner {job}) && break; sleep $pause",
        "done",
        f'printf %s "$told" | {after}; verdict=$?',
        f"if [ $verdict -eq {REQUEUE} ] || [ $verdict -eq {REQUEUE_ELSEWHERE} ]; then",
        f"  [ ! -e {avoided} ] || while read -r id nodes; do",
        f"    {SCONTROL} update jobid=$id excnodelist=$nodes",
        f"  done <{avoided}",
        # Comes with the requeue and ends the command that runs just then. But only a job that waits can be told which
        # nodes to avoid.
        "  trap '' TERM",
        "  for pause in 1 3 9 0; do",
        f"    {SCONTROL} requeue {job} && break; sleep $pause",
        "  done",
        f"  [ $verdict -ne {REQUEUE_ELSEWHERE} ] || for pause in 0.2 0.5 1 9 0; do",
        f"    {SCONTROL} update jobid={job} excnodelist={avoid} && break; sleep $pause",
        "  done",
        "fi",
        *hold,
        "exit $code",
    ]


def _batch_python(request: ScriptRequest, site: Site) -> str:
    """Python on the first node of the job, in its container, outside of the tasks."""
    container = site.container
    if container is None:
        return shlex.quote(site.python or sys.executable)
    if container.kind == "apptainer":
        return shlex.join([*_apptainer(request, container), container.python])
    arguments = ["srun", "--nodes=1", "--ntasks=1", "--overlap", *_pyxis(request, container)]
    return shlex.join([*arguments, container.python])


def _double_quoted(text: str) -> str:
    """Quoted for the shell, with variables such as $SLURM_JOB_ID still replaced."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`") + '"'


def _command(request: ScriptRequest, site: Site) -> str:
    """What every task runs: submitit's own entry, which loads the pickle and calls it."""
    task = ["-u", "-m", "submitit.core._submit", str(request.folder)]
    container = site.container
    if container is None:
        return shlex.join([site.python or sys.executable, *task])
    if container.kind == "pyxis":
        return shlex.join([container.python, *task])
    return shlex.join([*_apptainer(request, container), container.python, *task])


def sbatch_variables(request: ScriptRequest, site: Site) -> list[str]:
    """Variables that would override what the script says: sbatch prefers its environment."""
    said: Mapping[str, object] = {
        "SBATCH_ACCOUNT": site.account,
        "SBATCH_PARTITION": site.partition,
        "SBATCH_QOS": site.qos,
        "SBATCH_RESERVATION": site.sbatch.get("reservation"),
    }
    options = request.resources.slurm
    return [
        name
        for name, value in said.items()
        if value is not None or name.removeprefix("SBATCH_").lower() in options
    ]
