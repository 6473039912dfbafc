"""Ends of logs as torch, NCCL, vLLM, Slurm and the kernel write them, and the cause that is read from each."""

from __future__ import annotations

import pytest

from manager.diagnose import RULES, Remedy, diagnose

LOGS: dict[str, tuple[Remedy, str]] = {
    "gpu_memory": (
        Remedy.SMALLER,
        """\
[rank3]: Traceback (most recent call last):
[rank3]:   File "/opt/venv/lib/python3.12/site-packages/torch/nn/functional.py", line 2371, in linear
[rank3]:     return torch._C._nn.linear(input, weight, bias)
[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 4.64 GiB. GPU 3 has a total capacity of \
79.11 GiB of which 2.15 GiB is free. Including non-PyTorch memory, this process has 76.94 GiB memory in use.
[rank0]: torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:3690, unhandled system error
srun: error: node7: task 3: Exited with exit code 1
""",
    ),
    "kv_cache": (
        Remedy.GIVE_UP,
        """\
(EngineCore_0 pid=811) ERROR 11-20 23:10:02 [core.py:700] EngineCore failed to start.
(EngineCore_0 pid=811) ValueError: To serve at least one request with the models's max seq len (131072), (7.00 GiB \
KV cache is needed, which is larger than the available KV cache memory (3.12 GiB). Based on the available memory,
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
""",
    ),
    "bad_node": (
        Remedy.OTHER_NODE,
        """\
[rank5]:[E1120 03:12:44.1 ProcessGroupNCCL.cpp:1895] [PG ID 0 Rank 5] Process group watchdog thread terminated with \
exception: CUDA error: uncorrectable ECC error encountered
CUDA kernel errors might be asynchronously reported at some other API call
""",
    ),
    "host_memory": (
        Remedy.GIVE_UP,
        """\
slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7711.0. Some of your processes may have been killed by \
the cgroup out-of-memory handler.
srun: error: node2: task 0: Out Of Memory
srun: Terminating StepId=7711.0
""",
    ),
    "disk_full": (
        Remedy.GIVE_UP,
        """\
  File "/opt/venv/lib/python3.12/site-packages/safetensors/torch.py", line 307, in save_file
    serialize_file(_flatten(tensors), filename, metadata=metadata)
safetensors_rust.SafetensorError: Error while serializing: I/O error: Disk quota exceeded (os error 122)
""",
    ),
    "read_only": (
        Remedy.GIVE_UP,
        """\
    stream = open(path, "a+b")
OSError: [Errno 30] Read-only file system: '/store/jobs/1f/attempts/0001/journal.jsonl'
""",
    ),
    "port_in_use": (
        Remedy.RETRY,
        """\
[rank0]: torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. \
port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use
""",
    ),
    "not_downloaded": (
        Remedy.GIVE_UP,
        """\
OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached \
files.
Check your internet connection or see how to run the library in offline mode
""",
    ),
    "import": (
        Remedy.GIVE_UP,
        """\
Traceback (most recent call last):
  File "/store/code/ab/trainers/grpo.py", line 12, in main
    import flash_attn
ModuleNotFoundError: No module named 'flash_attn'
""",
    ),
    "configuration": (
        Remedy.GIVE_UP,
        "TypeError: GRPOConfig.__init__() got an unexpected keyword argument 'learning_rat'\n",
    ),
    "assertion": (
        Remedy.GIVE_UP,
        """\
  File "/home/me/lab/rewards.py", line 8, in reward
    assert len(completions) == len(prompts)
AssertionError
""",
    ),
    "communication": (
        Remedy.RETRY,
        """\
[rank1]:[E1120 01:02:03.4 ProcessGroupNCCL.cpp:632] [Rank 1] Watchdog caught collective operation timeout: \
WorkNCCL(SeqNum=4411, OpType=ALLREDUCE, NumelIn=1, NumelOut=1, Timeout(ms)=600000) ran for 600021 milliseconds \
before timing out.
[rank1]:[E1120 01:02:03.4] Some NCCL operations have failed or timed out. Due to the asynchronous nature of CUDA \
kernels, subsequent GPU operations might run on corrupted/incomplete data.
""",
    ),
    "engine_died": (
        Remedy.RETRY,
        """\
vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root \
cause.
""",
    ),
    "launch": (
        Remedy.OTHER_NODE,
        """\
srun: error: Task launch for StepId=991.0 failed on node node9: Invalid job credential
srun: error: Application launch failed: Invalid job credential
""",
    ),
}


@pytest.mark.parametrize("cause", list(LOGS))
def test_a_log_tells_its_cause(cause: str) -> None:
    remedy, log = LOGS[cause]
    found = diagnose("step 12 loss 0.3\n" * 50 + log, "FAILED 1:0")
    assert found is not None
    assert (found.cause, found.remedy) == (cause, remedy)
    assert found.message
    assert found.message in log
    assert found.advice


def test_every_rule_has_an_example() -> None:
    assert {rule.cause for rule in RULES} == set(LOGS)


def test_gloo_and_signals() -> None:
    found = diagnose(
        "RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.1.1]:4711"
    )
    assert found is not None
    assert (found.cause, found.remedy) == ("communication", Remedy.RETRY)


@pytest.mark.parametrize(
    ("state", "cause", "remedy"),
    [
        ("OUT_OF_MEMORY 0:125", "host_memory", Remedy.GIVE_UP),
        ("TIMEOUT 0:15", "time_limit", Remedy.RETRY),
        ("NODE_FAIL", "node_failed", Remedy.RETRY),
        ("PREEMPTED", "preempted", Remedy.RETRY),
        ("CANCELLED by 1000", "cancelled_outside", Remedy.RETRY),
        ("FAILED 9:0", "killed", Remedy.RETRY),  # 137, folded by Slurm
        ("FAILED 6:0", "crashed", Remedy.RETRY),  # a rank aborted: 134, folded
        ("FAILED 0:6", "crashed", Remedy.RETRY),
        ("FAILED 0:9", "killed", Remedy.RETRY),
        ("FAILED 0:53", "launch", Remedy.OTHER_NODE),
        ("FAILED 0:11", "crashed", Remedy.RETRY),
    ],
)
def test_without_a_telling_log_slurm_is_asked(state: str, cause: str, remedy: Remedy) -> None:
    found = diagnose("step 12 loss 0.3\n", state)
    assert found is not None
    assert (found.cause, found.remedy, found.message) == (cause, remedy, state)


def test_what_is_not_recognised_is_not_guessed() -> None:
    assert diagnose("KeyError: 'answer'\n", "FAILED 1:0") is None
    assert diagnose("", "") is None
    assert diagnose("the assertion held; nothing was out of memory\n", "COMPLETED") is None
