"""Hostile programs are held, told as the right failure, and leave nothing behind."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from evaluators.sandbox import Command, Limits, Sandbox, Script, Step, VerdictKind
from tests.evaluators.hostile_scripts import ESCAPES, OUTPUTS, RESOURCES, SHORT, SUPERVISED, Hostile
from tests.evaluators.needs_sandbox import MADE_BY, made_by, needs_sandbox

pytestmark = needs_sandbox
# A checkout below /tmp: its interpreter is shown read-only there, and so is the folder that leads to it.
_SHOWN = {Path(prefix).parts[2] for prefix in (sys.prefix, sys.base_prefix) if prefix.startswith("/tmp/")}
_CLEAN = f"""
import builtins, json, os, sys
left = os.listdir('.') + [name for name in os.listdir('/tmp') if name not in {sorted(_SHOWN)}] + os.listdir('/dev/shm')
processes = [p for p in os.listdir('/proc') if p.isdigit()]
print(left, len(processes), json.dumps([1]), len('abc'), 'POISON' in os.environ, sys.getrecursionlimit())
"""
_CLEAN_OUTPUT = "['work'] 1 [1] 3 False 1000"


@pytest.fixture(scope="module", params=MADE_BY)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    os.environ["HF_TOKEN"] = "hf_secret"
    try:
        with made_by(request.param):
            own = Sandbox(1)
        with own as made:
            assert (Path(made.made_by[-1]).name == "rootless.py") is (request.param == "rootless")
            made.run(Script("pass"))
            yield made
    finally:
        del os.environ["HF_TOKEN"]


def _workers_processes() -> set[int]:
    """What lives below this process, the starter included: a quiet worker and nothing else."""
    return {child.pid for child in psutil.Process().children(recursive=True) if child.status() != "zombie"}


def _run_and_check(sandbox: Sandbox, hostile: Hostile) -> None:
    before = _workers_processes()
    verdict = sandbox.run(Script(hostile.source, expected=hostile.expected, limits=hostile.limits))
    assert verdict.kind in hostile.kinds, verdict
    assert hostile.says in verdict.detail + verdict.stderr.decode(errors="replace")
    assert verdict.wall_s < hostile.limits.wall_s + 20
    assert _workers_processes() == before, "the same worker, and nothing of the program"
    after = sandbox.run(Script(_CLEAN, expected=_CLEAN_OUTPUT, limits=SHORT))
    assert after.passed, after


@pytest.mark.parametrize("hostile", RESOURCES, ids=lambda hostile: hostile.name)
def test_resources_are_bounded(sandbox: Sandbox, hostile: Hostile) -> None:
    _run_and_check(sandbox, hostile)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="system call numbers are of x86-64")
@pytest.mark.parametrize("hostile", ESCAPES, ids=lambda hostile: hostile.name)
def test_escapes_are_refused(sandbox: Sandbox, hostile: Hostile) -> None:
    _run_and_check(sandbox, hostile)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="system call numbers are of x86-64")
@pytest.mark.parametrize("hostile", SUPERVISED, ids=lambda hostile: hostile.name)
def test_the_supervisor_is_out_of_reach(sandbox: Sandbox, hostile: Hostile) -> None:
    step = Step((sandbox.python, "-c", hostile.source), 10)
    verdict = sandbox.run(Command((step,), limits=SHORT))
    assert verdict.stdout == b"held\n", verdict
    assert verdict.passed


@pytest.mark.parametrize("hostile", OUTPUTS, ids=lambda hostile: hostile.name)
def test_outputs_are_judged_outside(sandbox: Sandbox, hostile: Hostile) -> None:
    _run_and_check(sandbox, hostile)


def test_programs_do_not_poison_the_next_one(sandbox: Sandbox) -> None:
    poison = """
import builtins, json, os, sys
builtins.len = lambda x: 42
json.dumps = lambda x: 'poison'
os.environ['POISON'] = '1'
sys.setrecursionlimit(50000)
for place in ('.', '/tmp', '/dev/shm'):
    open(os.path.join(place, 'left'), 'w').write('x')
print('held')
"""
    _run_and_check(sandbox, Hostile("poison", poison))


def test_host_servers_are_out_of_reach(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as internet, socket.socket(socket.AF_UNIX) as local:
        name = f"\0sandbox-test-{os.getpid()}"
        local.bind(name)
        local.listen()
        port = internet.getsockname()[1]
        for loopback in (False, True):
            source = f"""
import socket
for kind, address in ((socket.AF_INET, ("127.0.0.1", {port})), (socket.AF_UNIX, {name!r})):
    try:
        socket.socket(kind).connect(address)
        print("got through")
    except OSError as error:
        print(type(error).__name__)
"""
            verdict = sandbox.run(Script(source, limits=SHORT, loopback=loopback))
            assert b"got through" not in verdict.stdout
            assert len(verdict.stdout.split()) == 2, verdict


def test_host_files_are_not_there(sandbox: Sandbox, tmp_path: os.PathLike[str]) -> None:
    places = [
        str(tmp_path),
        os.path.expanduser("~/.ssh"),
        os.path.expanduser("~/.bashrc"),
        *(str(path) for path in Path.cwd().iterdir() if path != Path(sys.prefix)),  # the interpreter is shown
        "/home",
        "/sys",
        "/run",
    ]
    source = f"import os\nprint([place for place in {places!r} if os.path.exists(place)])"
    verdict = sandbox.run(Script(source, limits=SHORT))
    assert verdict.stdout.decode().strip() == "[]"


def test_loopback_is_private_to_one_program(sandbox: Sandbox) -> None:
    source = """
import socket
server = socket.create_server(("127.0.0.1", 8765))
client = socket.create_connection(("127.0.0.1", 8765))
peer, _ = server.accept()
client.sendall(b"held")
print(peer.recv(4).decode())
peer.close()
"""
    for _ in range(3):  # a port in TIME_WAIT of the run before would be refused
        verdict = sandbox.run(Script(source, expected="held", loopback=True, limits=SHORT))
        assert verdict.passed, verdict


@pytest.mark.parametrize("maker", MADE_BY)
def test_a_worker_that_is_killed_is_replaced(maker: str) -> None:
    with made_by(maker), Sandbox(1) as own:
        assert own.run(Script("pass")).passed
        (worker,) = own._living
        worker._process.kill()
        worker._process.wait()
        assert own.run(Script("pass")).kind is VerdictKind.SANDBOX_ERROR
        assert own.run(Script("print(1)", expected="1")).passed


@pytest.mark.parametrize("maker", MADE_BY)
def test_nothing_is_left_when_the_host_process_is_killed(maker: str) -> None:
    host = """
import os, sys, threading
from evaluators.sandbox import Limits, Sandbox, Script
box = Sandbox(1)
box.run(Script("pass"))
print("ready", flush=True)
box.run(Script("import time; time.sleep(600)", limits=Limits(wall_s=600)))
"""
    with made_by(maker), subprocess.Popen([sys.executable, "-c", host], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        below = psutil.Process(process.pid).children(recursive=True)
        assert below
        process.kill()
    gone, alive = psutil.wait_procs(below, timeout=30)
    assert not alive
    assert gone


@pytest.mark.parametrize("maker", MADE_BY)
def test_a_long_run_ends_with_its_sandbox(maker: str) -> None:
    before = _workers_processes()
    with made_by(maker):
        own = Sandbox(1)
    own.run(Script("pass"))
    below = [psutil.Process(number) for number in _workers_processes() - before]
    seen: list[VerdictKind] = []
    program = Script("import time; time.sleep(600)", limits=Limits(wall_s=600))
    thread = threading.Thread(target=lambda: seen.append(own.run(program).kind))
    thread.start()
    deadline = time.monotonic() + 30
    while own._free.qsize() and time.monotonic() < deadline:
        time.sleep(0.01)
    own.close()
    thread.join(30)
    assert seen == [VerdictKind.SANDBOX_ERROR]
    assert below
    assert not psutil.wait_procs(below, timeout=30)[1]
