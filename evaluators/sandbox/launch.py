"""The command that starts a worker: what is mounted, what is unshared, what is cleared.

The box is made by bubblewrap, or by rootless.py, which knows the same options, where that is not installed. Works
without rights (user namespaces). Started by root it first becomes an unprivileged user, because the kernel does not
count processes of root; as_root.py then makes folders reachable that only root can enter.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from manager.errors import UserError

INSIDE = Path(__file__).parent / "inside"
_AS_ROOT = Path(__file__).parent / "as_root.py"
_ROOTLESS = Path(__file__).parent / "rootless.py"
_PROBE_S = 60.0
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32")
_FROM_ETC = (
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/java-17-openjdk",
    "/etc/ssl/certs",
)
_PASSWD = b"root:x:0:0:root:/:/bin/false\nprogram:x:1000:1000:program:/tmp/work:/bin/sh\n"
_GROUP = b"root:x:0:\nprogram:x:1000:\n"
_HOSTS = b"127.0.0.1 localhost\n::1 localhost\n"
_UNPRIVILEGED = 65534
_OLDEST_KERNEL = (5, 14)
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp/work",
    "TMPDIR": "/tmp",
    "USER": "program",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONSAFEPATH": "1",
    "MPLBACKEND": "Agg",
    "MPLCONFIGDIR": "/tmp/work/.matplotlib",
    # a pool of threads does not survive a fork
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Launch:
    """How to start a worker: arguments, and descriptors that it inherits."""

    argv: tuple[str, ...]
    descriptors: tuple[int, ...]

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


def boxer() -> tuple[str, ...]:
    """The command that makes a box: bubblewrap, else our own; without either nothing untrusted is run."""
    check_kernel(platform.release())
    found = shutil.which("bwrap")
    if found is not None:
        return (found,)
    own = (sys.executable, "-I", str(_ROOTLESS))
    fault = _fault(own)
    if fault:
        raise UserError(
            "no sandbox for model-written code: `bwrap` is not on PATH, and without it user namespaces do not work "
            f"here ({fault}); install the package bubblewrap (apt install bubblewrap, dnf install bubblewrap), then "
            "run again"
        )
    return own


@cache
def _fault(made_by: tuple[str, ...]) -> str:
    """Why nothing can be boxed by this command; empty where it works."""
    argv = [*_namespaces(made_by), *_system(), "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--", "/bin/true"]
    try:
        done = subprocess.run(
            _unprivileged(argv, []), capture_output=True, text=True, env={}, cwd="/", timeout=_PROBE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1] if done.returncode else ""


def check_kernel(release: str) -> None:
    """UserError below 5.14: there the limit on processes counts all of the user's, outside of the sandbox too."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    if numbers < _OLDEST_KERNEL:
        raise UserError(
            f"the sandbox for model-written code needs Linux 5.14 or later, and this is {release}: before it a "
            "program's processes cannot be limited apart from the user's other ones; run code benchmarks on a "
            "node with a later kernel"
        )


def python_folders(python: str) -> tuple[Path, ...]:
    """What `python` needs that is outside the system's folders: its installation and its environment."""
    asked = subprocess.run(
        [python, "-c", "import sys; print(sys.prefix); print(sys.base_prefix)"],
        capture_output=True, text=True, check=True, env={"PATH": os.environ.get("PATH", "")},
    )  # fmt: skip
    folders = {Path(line) for line in asked.stdout.splitlines()}
    folders |= {Path(os.path.realpath(python)).parents[1]}
    return tuple(sorted(folder for folder in folders if not folder.is_relative_to("/usr")))


def _memory_file(name: str, content: bytes) -> int:
    descriptor = os.memfd_create(name, 0)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _namespaces(made_by: tuple[str, ...]) -> list[str]:
    return [
        *made_by, "--unshare-user", "--unshare-all", "--uid", "1000", "--gid", "1000", "--cap-add", "ALL",
        "--hostname", "sandbox", "--new-session", "--die-with-parent", "--clearenv",
    ]  # fmt: skip


def _system() -> list[str]:
    """The system's folders, and a few files of /etc."""
    argv = []
    for folder in _SYSTEM:
        if os.path.islink(folder):
            argv += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            argv += ["--ro-bind", folder, folder]
    for place in _FROM_ETC:
        if os.path.exists(place):
            argv += ["--ro-bind", place, place]
    return argv


def _unprivileged(argv: list[str], folders: list[str]) -> list[str]:
    """The same as a user without rights, where this is root."""
    if os.geteuid() != 0:
        return argv
    return [sys.executable, "-I", str(_AS_ROOT), str(_UNPRIVILEGED), *folders, "--", *argv]


def launch(
    made_by: tuple[str, ...],
    python: str,
    control: int,
    preload: tuple[str, ...],
    mounts: tuple[Path, ...],
    environment: Mapping[str, str],
) -> Launch:
    """The command of one worker; `control` is the descriptor on which it is asked to run programs."""
    as_root = os.geteuid() == 0
    descriptors: list[int] = []
    folders: list[str] = []

    def read_only(source: Path | str, target: Path | str) -> list[str]:
        folders.append(str(source))
        return ["--ro-bind", f"/tmp/{len(folders) - 1}" if as_root else str(source), str(target)]

    argv = _namespaces(made_by)
    for name, value in {**_ENVIRONMENT, **environment}.items():
        argv += ["--setenv", name, value]
    argv += _system()
    for place, content in (("/etc/passwd", _PASSWD), ("/etc/group", _GROUP), ("/etc/hosts", _HOSTS)):
        descriptors.append(_memory_file(place, content))
        argv += ["--ro-bind-data", str(descriptors[-1]), place]
    argv += ["--proc", "/proc", "--dev", "/dev", "--size", str(1 << 20), "--tmpfs", "/tmp"]
    shown = (*python_folders(python), *mounts)
    for folder in shown:
        argv += read_only(folder, folder)
    keep = ":".join(str(folder) for folder in shown if folder.is_relative_to("/tmp"))
    argv += read_only(INSIDE, "/sandbox/inside")
    argv += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]
    argv += ["--", python, "-s", "/sandbox/inside/zygote.py", str(control), keep, *preload]
    return Launch(tuple(_unprivileged(argv, folders)), tuple(descriptors))


def start(ready: Launch, control: int, errors: int) -> subprocess.Popen[bytes]:
    """Start a worker. Only the control connection and the descriptors of the mounts are passed on."""
    return subprocess.Popen(
        ready.argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
        pass_fds=(control, *ready.descriptors), env={}, cwd="/",
    )  # fmt: skip


def default_python() -> str:
    return sys.executable
