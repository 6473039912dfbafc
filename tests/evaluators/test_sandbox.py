"""How the sandbox is used, refused, and shared."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evaluators.sandbox import (
    Calls,
    Command,
    Limits,
    Sandbox,
    Script,
    Step,
    UnitTests,
    VerdictKind,
    launch,
    rootless,
)
from manager.errors import UserError
from tests.evaluators.needs_sandbox import MADE_BY, made_by, needs_sandbox

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(2) as made:
        yield made


def test_without_bubblewrap_and_without_user_namespaces_nothing_is_run() -> None:
    # A user namespace that may have none below it, as where an administrator has switched them off.
    program = """
from evaluators.sandbox import Sandbox, shared
from manager.errors import UserError
for make in (Sandbox, lambda: shared(("no-such-set",))):
    try:
        make()
    except UserError as error:
        print(error)
"""
    forbid = f"echo 0 > /proc/sys/user/max_user_namespaces; exec env PATH= {sys.executable} -c '{program}'"
    done = subprocess.run(
        ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--keep-caps", "sh", "-c", forbid],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    for line in lines:
        assert "`bwrap` is not on PATH" in line
        assert "No space left on device" in line
        assert "install the package bubblewrap" in line


@needs_sandbox
def test_what_the_two_makers_of_a_box_show_is_the_same() -> None:
    program = Script(
        "import os\nprint(sorted(os.listdir('/')), sorted(os.listdir('/etc')))\n"
        "print(os.getuid(), os.getgid(), os.uname()[1])\n"
        "print(open('/etc/passwd').read(), sorted(os.environ.items()))\n"
        "print([line.split()[1] + ' ' + line.split()[3].split(',')[0] for line in open('/proc/mounts')\n"
        "       if not line.split()[1] in ('/etc/passwd', '/etc/group', '/etc/hosts')])\n"
    )
    seen = []
    for maker in ("bubblewrap", "rootless"):
        with made_by(maker), Sandbox(1) as own:
            verdict = own.run(program)
        assert verdict.passed, verdict
        seen.append(verdict.stdout)
    assert seen[0] == seen[1]


def test_an_option_that_our_own_box_does_not_know_is_refused() -> None:
    assert rootless.parse(["--uid", "1000", "--ro-bind", "/a", "/b", "--", "true"]).steps == [("--ro-bind", "/a", "/b")]
    with pytest.raises(ValueError, match="unknown option --share-net"):
        rootless.parse(["--share-net", "--", "true"])


def test_a_bubblewrap_that_is_not_allowed_to_work_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # as it is where the administrator has switched user namespaces off
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        fake = Path(folder) / "bwrap"
        fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
        fake.chmod(0o755)
        Path(folder).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        with Sandbox(1) as own, pytest.raises(UserError, match="No permissions to create new namespace"):
            own.run(Script("pass"))


def test_an_old_kernel_is_refused() -> None:
    launch.check_kernel("5.14.0-427.el9.x86_64")
    launch.check_kernel("6.1.0-18-amd64")
    with pytest.raises(UserError, match=r"needs Linux 5\.14 or later, and this is 4\.18\.0"):
        launch.check_kernel("4.18.0-553.el8.x86_64")


@needs_sandbox
def test_verdicts_come_in_the_order_of_the_programs(sandbox: Sandbox) -> None:
    programs = [Script(f"import time\ntime.sleep({i % 3} / 50)\nprint({i})", expected=str(i)) for i in range(30)]
    assert all(verdict.passed for verdict in sandbox.run_many(programs))
    outputs = [verdict.stdout for verdict in sandbox.run_many(programs)]
    assert outputs == [f"{i}\n".encode() for i in range(30)]


@needs_sandbox
def test_many_threads_share_the_workers(sandbox: Sandbox) -> None:
    def one(number: int) -> bool:
        kinds = (
            Script(f"print({number})", expected=str(number)),
            Calls(f"def f(): return {number}", (f"assert f() == {number}",), ("f",)),
        )
        return all(sandbox.run(program).passed for program in kinds)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(one, range(40)))


@needs_sandbox
def test_files_come_with_a_program_and_stay_in_its_folder(sandbox: Sandbox) -> None:
    files = {"data/numbers.txt": "1 2 3", "tool.py": "def total(text): return sum(map(int, text.split()))"}
    source = "import sys; sys.path.append('.')\nfrom tool import total\nprint(total(open('data/numbers.txt').read()))"
    assert sandbox.run(Script(source, expected="6", files=files)).passed
    outside = sandbox.run(Script("pass", files={"../../sandbox/x": ""}))
    assert outside.kind is VerdictKind.SANDBOX_ERROR
    assert sandbox.run(Script("pass")).passed


@needs_sandbox
def test_commands_run_in_order_and_bring_files_back(sandbox: Sandbox) -> None:
    steps = (Step(("/bin/sh", "-c", "echo made > made.txt"), 10), Step(("/bin/sh", "-c", "cat made.txt; cat"), 10))
    verdict = sandbox.run(Command(steps, stdin="input", take=("made.txt", "absent.txt")))
    assert verdict.passed
    assert verdict.stdout == b"made\ninput"
    assert verdict.files == {"made.txt": b"made\n", "absent.txt": b""}
    failing = (Step(("/bin/sh", "-c", "exit 3"), 10), Step(("/bin/sh", "-c", "echo never"), 10))
    verdict = sandbox.run(Command(failing))
    assert (verdict.kind, verdict.exit_code, verdict.step, verdict.stdout) == (VerdictKind.CRASHED, 3, 0, b"")
    absent = sandbox.run(Command((Step(("no-such-tool",), 10),)))
    assert (absent.kind, absent.exit_code) == (VerdictKind.CRASHED, 127)


@needs_sandbox
def test_a_link_is_not_followed_when_files_are_brought_back(sandbox: Sandbox) -> None:
    steps = (Step(("/bin/sh", "-c", "ln -s /sandbox/inside/wire.py report; mkfifo pipe; mkdir folder"), 10),)
    verdict = sandbox.run(Command(steps, take=("report", "pipe")))
    assert verdict.passed
    assert verdict.files == {"report": b"", "pipe": b""}


@needs_sandbox
def test_the_limit_of_a_step_is_its_own(sandbox: Sandbox) -> None:
    verdict = sandbox.run(Command((Step(("sleep", "60"), 0.3),)))
    assert (verdict.kind, verdict.detail) == (VerdictKind.TIME_LIMIT, "more than 0.3 s")


@needs_sandbox
def test_a_unit_test_needs_every_test_that_is_expected(sandbox: Sandbox) -> None:
    tests = "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): self.assertEqual(f(), 1)\n"
    program = UnitTests("def f(): return 1", tests, {"T": ("test_a",)})
    assert sandbox.run(program).passed
    assert (
        sandbox.run(UnitTests("def f(): return 1", tests, {"T": ("test_a", "test_b")})).kind is not VerdictKind.PASSED
    )
    assert sandbox.run(UnitTests("def f(): return 1", tests, {})).kind is VerdictKind.SANDBOX_ERROR


@needs_sandbox
def test_modules_that_are_not_installed_are_told() -> None:
    with Sandbox(1, preload=("json", "surely_not_installed")) as own:
        assert own.missing() == ("surely_not_installed",)
        assert own.run(Script("print(1)", expected="1")).passed


@needs_sandbox
def test_mounted_folders_are_read_only_also_below_tmp() -> None:
    for place in ("/tmp", "/var/tmp"):
        with tempfile.TemporaryDirectory(dir=place) as folder:
            (Path(folder) / "x.txt").write_text("shown")
            Path(folder).chmod(0o755)
            with Sandbox(1, mounts=(Path(folder),)) as own:
                read = own.run(Script(f"print(open('{folder}/x.txt').read())", expected="shown"))
                assert read.passed, read
                written = own.run(Script(f"open('{folder}/y.txt', 'w')"))
                assert "Read-only file system" in written.stderr.decode()
                assert own.run(Script("open('/tmp/y.txt', 'w').write('x')")).passed


@needs_sandbox
def test_programs_of_many_megabytes_pass_through(sandbox: Sandbox) -> None:
    stdin = "1 " * 4_000_000
    limits = Limits(output_kb=20_000, memory_mb=2048)
    verdict = sandbox.run(Script("print(len(input().split()))", stdin, "4000000", limits=limits))
    assert verdict.passed
    echo = sandbox.run(Script("print(input())", stdin, stdin, limits=limits))
    assert echo.passed
    assert echo.memory_mb > 1


@needs_sandbox
def test_a_closed_sandbox_runs_nothing() -> None:
    own = Sandbox(1)
    assert own.run(Script("pass")).passed
    own.close()
    own.close()
    with pytest.raises(RuntimeError):
        own.run(Script("pass"))


_ROOTLESS = """
import os
from evaluators.sandbox import Calls, Limits, Sandbox, Script
assert os.getuid() != 0
bomb = "import os\\nwhile True:\\n try: os.fork()\\n except OSError: pass"
with Sandbox(1) as own:
    print(own.run(Script("print(1)", expected="1")).kind)
    print(own.run(Script(bomb, limits=Limits(cpu_s=1, wall_s=1.5, processes=16))).kind)
    print(own.run(Calls("def f(): return 2", ("assert f() == 2",), ("f",))).kind)
"""


@needs_sandbox
@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run without rights already")
@pytest.mark.parametrize("maker", MADE_BY)
def test_it_works_without_rights(maker: str) -> None:
    """All of it as an unprivileged user, from a copy that this user can read."""
    user = 65534
    python = next((place for place in (sys.executable, "/usr/bin/python3") if _can_run(place, user)), None)
    if python is None:
        pytest.skip("no Python 3.11 that an unprivileged user can run")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        for part in ("evaluators/__init__.py", "manager/__init__.py", "manager/errors.py"):
            (Path(folder) / part).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / part, Path(folder) / part)
        shutil.copytree(launch.INSIDE.parent, Path(folder) / "evaluators" / "sandbox")
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        done = subprocess.run(
            [python, "-c", _ROOTLESS], cwd=folder, capture_output=True, text=True, timeout=120,
            env={"PYTHONPATH": folder, "PATH": os.environ["PATH"] if maker == "bubblewrap" else ""},
            user=user, group=user, extra_groups=[],
        )  # fmt: skip
    assert done.stdout.split() == ["passed", "time_limit", "passed"], done.stderr


def _can_run(python: str, user: int) -> bool:
    try:
        done = subprocess.run(
            [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"],
            user=user, group=user, extra_groups=[], cwd="/",
        )  # fmt: skip
    except (PermissionError, FileNotFoundError):
        return False
    return done.returncode == 0
