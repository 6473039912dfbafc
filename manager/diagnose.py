"""Why an attempt failed and what to do about it: one table from what logs say to causes and remedies. Pure.

Earlier rules win: when one rank runs out of memory the others report a lost connection, and only the first
is the cause.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

# What is read of a log's end. A traceback of every rank of a node fits.
TAIL_BYTES = 64_000


class Remedy(StrEnum):
    """What the manager does about a failure."""

    RETRY = "retry"  # as it is: the job goes on from what is saved
    SMALLER = "smaller"  # retry with half the micro-batch and twice the accumulation
    OTHER_NODE = "other node"  # retry, and avoid the node after a second failure of this sort there
    GIVE_UP = "give up"  # a retry would end the same way: a person has to change something


@dataclass(frozen=True)
class Diagnosis:
    cause: str
    remedy: Remedy
    message: str  # the line that told, or the scheduler's words
    advice: str

    @property
    def retryable(self) -> bool:
        return self.remedy is not Remedy.GIVE_UP


@dataclass(frozen=True)
class Rule:
    cause: str
    remedy: Remedy
    advice: str
    pattern: re.Pattern[str]


def _rule(cause: str, remedy: Remedy, advice: str, *patterns: str) -> Rule:
    return Rule(cause, remedy, advice, re.compile("|".join(f"(?:{pattern})" for pattern in patterns)))


RULES: tuple[Rule, ...] = (
    _rule(
        "kv_cache",
        Remedy.GIVE_UP,
        "lower the engine's max_model_len, or raise its gpu_memory_utilization",
        r"No available memory for the cache blocks",
        r"larger than the available KV cache memory",
        r"larger than the maximum number of tokens that can be stored in KV cache",
    ),
    _rule(
        "gpu_memory",
        Remedy.SMALLER,
        "half the micro-batch is used from now on; resources.micro_batch sets it from the start",
        r"OutOfMemoryError: CUDA out of memory",
        r"CUDA error: out of memory",
        r"CUBLAS_STATUS_ALLOC_FAILED",
        r"CUDNN_STATUS_ALLOC_FAILED",
        r"HIP out of memory",
    ),
    _rule(
        "bad_node",
        Remedy.OTHER_NODE,
        "the node is left out after a second failure of this sort; tell the site's administrators",
        r"NVRM: Xid",
        r"uncorrectable ECC error",
        r"uncorrectable NVLink error",
        r"fallen off the bus",
        r"Unable to determine the device handle for GPU",
        r"CUDA driver initialization failed",
        r"no CUDA-capable device is detected",
        r"CUDA-capable device\(s\) is/are busy or unavailable",
        r"CUDA error: unknown error",
        r"CUDA error: hardware stack error",
        r"NVML: Driver/library version mismatch",
        r"Failed to initialize NVML",
        r"Stale file handle",
        r"Transport endpoint is not connected",
        r"Input/output error",
    ),
    _rule(
        "host_memory",
        Remedy.GIVE_UP,
        "raise resources.memory_gb",
        r"oom-kill event",
        r"oom_kill event",
        r"Some of your processes may have been killed by the cgroup out-of-memory handler",
        r"exceeded memory limit",
        r"DataLoader worker \(pid[^)]*\) is killed by signal: Killed",
        r"^MemoryError",
        r"Cannot allocate memory",
        r"unable to mmap \d+ bytes",
    ),
    _rule(
        "disk_full",
        Remedy.GIVE_UP,
        "make room (`manager clean`) or ask for quota, then run `manager sweep` again",
        r"No space left on device",
        r"Disk quota exceeded",
    ),
    _rule(
        "read_only",
        Remedy.GIVE_UP,
        "the store must be writable on the compute nodes; then `manager retry --failed`",
        r"Read-only file system",
        r"PermissionError: \[Errno 13\]",
    ),
    _rule(
        "port_in_use",
        Remedy.RETRY,
        "the next attempt takes another port",
        r"EADDRINUSE",
        r"[Aa]ddress already in use",
    ),
    _rule(
        "not_downloaded",
        Remedy.GIVE_UP,
        "compute nodes have no network: fetch the model or data set on the login node first",
        r"LocalEntryNotFoundError",
        r"OfflineModeIsEnabled",
        r"couldn't connect to 'https://huggingface\.co'",
        r"GatedRepoError",
        r"RepositoryNotFoundError",
    ),
    _rule(
        "import",
        Remedy.GIVE_UP,
        "the environment on the compute node lacks something: `setup` or `container` of the site file",
        r"ModuleNotFoundError: ",
        r"ImportError: ",
        r"error while loading shared libraries",
        r"undefined symbol: ",
        r"execve\(\): .*: No such file or directory",
        r"command not found",
    ),
    _rule(
        "configuration",
        Remedy.GIVE_UP,
        "change the sweep file; the job gets a new id",
        r"got an unexpected keyword argument",
        r"pydantic_core\._pydantic_core\.ValidationError",
        r"unrecognized arguments: ",
        r"UserError: ",
        r"^error: .*; valid: ",
    ),
    _rule(
        "assertion",
        Remedy.GIVE_UP,
        "an assertion in the code failed: a retry would fail the same way",
        r"device-side assert triggered",
        r"^(?:\[rank\d+\]: ?)?AssertionError",
    ),
    _rule(
        "communication",
        Remedy.RETRY,
        "a connection between ranks broke or stalled; the job goes on from its last checkpoint",
        r"Watchdog caught collective operation timeout",
        r"ProcessGroupNCCL's watchdog got stuck",
        r"NCCL operations have failed or timed out",
        r"ncclSystemError",
        r"ncclRemoteError",
        r"ncclInternalError",
        r"ncclUnhandledCudaError",
        r"NCCL error",
        r"DistBackendError",
        r"DistNetworkError",
        r"Connection closed by peer",
        r"Connection reset by peer",
        r"gloo.*(?:[Tt]imed? ?out|Connection refused)",
        r"Socket Timeout",
    ),
    _rule(
        "engine_died",
        Remedy.RETRY,
        "the inference engine ended; finished samples are kept",
        r"EngineDeadError",
        r"Engine core initialization failed",
        r"EngineCore (?:encountered a fatal error|failed to start)",
    ),
    _rule(
        "launch",
        Remedy.OTHER_NODE,
        "Slurm could not start the tasks on this node",
        r"srun: error: (?:Unable to create step|Task launch for .* failed|Application launch failed)",
        r"slurmstepd: error: (?:couldn't chdir|Could not open stdout file|_fork_all_tasks)",
        r"Unable to satisfy cpu bind request",
        r"Job credential expired",
    ),
)  # fmt: skip

# How Slurm says it, for attempts whose logs tell nothing.
_STATES: tuple[tuple[str, str, Remedy, str], ...] = (
    ("OUT_OF_MEMORY", "host_memory", Remedy.GIVE_UP, "raise resources.memory_gb"),
    ("TIMEOUT", "time_limit", Remedy.RETRY, "it goes on from its last checkpoint; resources.time_min is its limit"),
    ("NODE_FAIL", "node_failed", Remedy.RETRY, "the node died; the job goes on from its last checkpoint"),
    ("BOOT_FAIL", "node_failed", Remedy.RETRY, "the node did not start"),
    ("PREEMPTED", "preempted", Remedy.RETRY, "the job goes on from its last checkpoint"),
    ("CANCELLED", "cancelled_outside", Remedy.RETRY, "cancelled in Slurm by somebody; `manager cancel` is for good"),
    ("DEADLINE", "deadline", Remedy.GIVE_UP, "Slurm's deadline for this job has passed"),
)

_SIGNALS = {
    "9": ("killed", "killed by signal 9: mostly the host's memory; resources.memory_gb"),
    "11": ("crashed", "a library crashed (segmentation fault)"),
    "6": ("crashed", "a library aborted"),
    "7": ("crashed", "bus error: mostly /dev/shm or a memory-mapped file on a full disk"),
    "4": ("crashed", "illegal instruction: built for another kind of CPU"),
}


def diagnose(log: str, scheduler: str = "") -> Diagnosis | None:
    """The cause of a failure from the end of a log and, where that tells nothing, from Slurm's words.

    `scheduler` is a state with an exit code, such as `FAILED 9:0`. None: nothing is recognised.
    """
    for rule in RULES:
        line = _first_line(rule.pattern, log)
        if line is not None:
            return Diagnosis(rule.cause, rule.remedy, line, rule.advice)
    return _by_state(scheduler)


def _first_line(pattern: re.Pattern[str], log: str) -> str | None:
    """The first line that the pattern fits, short enough for one line to the user."""
    for line in log.splitlines():
        if pattern.search(line):
            return line.strip()[:300]
    return None


def _by_state(scheduler: str) -> Diagnosis | None:
    for word, cause, remedy, advice in _STATES:
        if scheduler.startswith(word):
            return Diagnosis(cause, remedy, scheduler, advice)
    code = re.search(r"\b(\d+):(\d+)$", scheduler)
    if code is None:
        return None
    status, signal = code.groups()
    if (status, signal) == ("0", "53"):
        # The folder for the log is not there on the node.
        advice = "the node could not open the log: is the store mounted there?"
        return Diagnosis("launch", Remedy.OTHER_NODE, scheduler, advice)
    # Exit codes above 128 are folded: 137 comes as 9:0, and a signal as 0:9.
    number = signal if signal != "0" else status
    if number in _SIGNALS:
        cause, advice = _SIGNALS[number]
        return Diagnosis(cause, Remedy.RETRY, scheduler, advice)
    return None
