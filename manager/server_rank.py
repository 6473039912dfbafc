"""The tasks of a training that do not train: the first of them runs the server that generates, the others wait.

Owns the server's process, its health and its address in the attempt (`server.json`). What the server is, the
training's kind says (`command`). A server that ends before the training is a failure of the attempt.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import psutil

from manager import ports
from manager.atomic import write_json
from manager.job import Job
from manager.kinds import DISTRIBUTED, SERVERS
from manager.observe import attempt_alive
from manager.place import Place
from manager.run import Run
from manager.store import Attempt

START_S = 1800.0  # a large model's weights come from a slow disk
POLL_S = 1.0
ALIVE_EVERY_S = 30.0
END_GRACE_S = 20.0
PORTS = 5  # tried one after another while somebody else takes them
IN_USE = ("address already in use", "Address already in use", "EADDRINUSE")
LINES = 40  # of a server's log, in which it may say so
# Sites set a proxy for the way out, which does not know this host's own address.
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServerEnded(Exception):
    """The server ended before the training. The cause is in the attempt."""


class _Ended(Exception):
    """Why the server cannot serve, for the record of the attempt."""


class _PortTaken(_Ended):
    """Somebody else has the port that was meant for the server: another one may do."""


def server_tasks(job: Job) -> int:
    """How many of the job's last tasks belong to the server."""
    return job.resources.server_gpus if job.kind.value in DISTRIBUTED else 0


def training_place(job: Job, place: Place) -> Place | None:
    """The place among those that train; None for a task of the server."""
    world = place.world_size - server_tasks(job)
    if place.rank >= world:
        return None
    first = place.rank - place.rank % place.local_world_size
    return replace(place, world_size=world, local_world_size=min(place.local_world_size, world - first))


def serve(run: Run, place: Place) -> str:
    """Until the training has ended: run the server, or wait for the task that runs it."""
    if place.rank > place.world_size - server_tasks(run.job):
        _wait_for_end(run, None)
        return "done: its GPU is the server's"
    try:
        for left in reversed(range(PORTS)):
            try:
                _serve_at_a_port(run, place, lend=left == PORTS - 1)
                break
            except _PortTaken:
                if not left:
                    raise
    except _Ended as error:
        raise _failed(run, str(error)) from error
    return "done: served"


def _serve_at_a_port(run: Run, place: Place, *, lend: bool) -> None:
    """Serve until the training has ended.

    `lend`: the port is kept until the server listens; it is given free before for a program that cannot share one.
    """
    log = run.attempt_dir / "server.log"
    with ports.Lease() as lease:
        if not lend:
            lease.close()
        process = _start(run, place, lease.port, log)
        try:
            _wait_until_healthy(run, process, lease.port, log)
            address = {"url": f"http://{socket.gethostname()}:{lease.port}", "pid": process.pid}
            write_json(run.attempt_dir / "server.json", address)
            _wait_for_end(run, process)
        except _PortTaken:
            log.rename(log.with_name(f"server.port-{lease.port}.log"))  # the next one writes its own
            raise
        finally:
            _end(process)


def _start(run: Run, place: Place, port: int, log: Path) -> subprocess.Popen[bytes]:
    command = importlib.import_module(SERVERS[run.job.kind.value]).command(run, port)
    # The scheduler's warning goes to every process of the step, and would end the server before the training has
    # finished its step: what is ignored here is ignored by the server too.
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    with open(log, "wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=_environment(run, place))
    for number, handler in before.items():
        signal.signal(number, handler)
    return process


def _environment(run: Run, place: Place) -> dict[str, str]:
    """With the GPUs of the server's tasks alone, which are the last of the node."""
    environment = {**os.environ, "VLLM_SERVER_DEV_MODE": "1"}  # TRL sends weights through its development endpoints
    if run.job.resources.gpus_per_node:
        count = run.job.resources.gpus_per_node
        seen = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
        chosen = seen.split(",")[place.local_rank : place.local_rank + server_tasks(run.job)]
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
    return environment


def _wait_until_healthy(run: Run, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until the server answers at the port, and nobody else does."""
    deadline = time.monotonic() + START_S
    while not _is_healthy(port):
        if said := _last_word(run, process):
            raise _PortTaken(said) if any(sign in said for sign in IN_USE) else _Ended(said)
        if (run.attempt_dir / "end.json").exists():
            return
        if time.monotonic() > deadline:
            raise _Ended(f"the generation server did not answer within {START_S:.0f} s; see {log}")
        time.sleep(POLL_S)
    ours = {process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))}
    listening = ports.listeners(port)
    if listening - ours or not listening:  # it answers, and it is another job's, or something between
        who = ", ".join("a process of somebody else" if pid is None else f"process {pid}" for pid in listening - ours)
        raise _PortTaken(f"port {port}, which is the generation server's, is answered by {who or 'nobody seen here'}")


def _is_healthy(port: int) -> bool:
    try:
        with _DIRECTLY.open(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _wait_for_end(run: Run, process: subprocess.Popen[bytes] | None) -> None:
    """Until rank 0 has written how the attempt ended; it decides, also when the scheduler asks to stop."""
    looked = time.monotonic()
    while not (run.attempt_dir / "end.json").exists():
        if process is not None and (said := _last_word(run, process)):
            raise _Ended(said)
        if time.monotonic() - looked > ALIVE_EVERY_S:
            looked = time.monotonic()
            if not attempt_alive(Attempt.at(run.attempt_dir)):
                raise ServerEnded("the training is gone without a word")
        time.sleep(POLL_S)


def _last_word(run: Run, process: subprocess.Popen[bytes]) -> str | None:
    """Why the server ended before the training; None while it runs, and after the training."""
    code = process.poll()
    if code is None or (run.attempt_dir / "end.json").exists():
        return None
    log = run.attempt_dir / "server.log"
    lines = log.read_text(errors="replace").strip().splitlines()
    said = next((line for line in reversed(lines[-LINES:]) if any(sign in line for sign in IN_USE)), None)
    last = said or (lines[-1] if lines else "it said nothing")
    return f"the generation server ended with code {code}: {last[:300]}; see {log}"


def _failed(run: Run, message: str) -> ServerEnded:
    """Write the cause where the end of the attempt is made of it; a new attempt starts a new server."""
    end = {"outcome": "failed", "finished": time.time(), "cause": "generation_server", "message": message,
           "retryable": True}  # fmt: skip
    write_json(run.attempt_dir / f"rank-{run.rank}.failed.json", end)
    return ServerEnded(message)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server with everything that it started."""
    if process.poll() is not None:
        return
    family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(timeout=END_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in family:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
