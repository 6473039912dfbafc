"""Stands in for bubblewrap where it is not installed: the same options, the same namespaces and mounts.

Understands the options that launch.py gives, and no others. Works without rights, by user namespaces; every step is
checked, and a step that is refused ends it with one line. Run as a file, standard library only.

    rootless.py OPTION... -- COMMAND...
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

# user, mounts, pid, network, System V IPC, host name, cgroups
_NAMESPACES = 0x10000000 | 0x20000 | 0x20000000 | 0x40000000 | 0x8000000 | 0x4000000 | 0x2000000
_NOSUID, _NODEV, _NOEXEC, _BIND, _REC, _PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_AT_FDCWD, _AT_RECURSIVE, _MNT_DETACH = -100, 0x8000, 2
_MOUNT_SETATTR = 442  # on every machine; Linux 5.12
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _AMBIENT_RAISE = 1, 4, 38, 47, 2
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_OLD, _NEW = "/old", "/new"  # where the two roots are while the new one is made

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Box:
    """What the options ask for, in their order."""

    user: int = 0
    group: int = 0
    hostname: str = ""
    folder: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    steps: list[tuple[str, ...]] = field(default_factory=list)  # an option that makes a part of the root
    command: list[str] = field(default_factory=list)


_FLAGS = ("--unshare-user", "--unshare-all", "--new-session", "--die-with-parent", "--clearenv")  # always so
_STEPS = {"--symlink": 2, "--ro-bind": 2, "--ro-bind-data": 2, "--proc": 1, "--dev": 1, "--size": 1, "--tmpfs": 1,
          "--remount-ro": 1}  # fmt: skip


def parse(arguments: Sequence[str]) -> Box:
    """The options; an unknown one is refused, never left out."""
    box, rest = Box(), list(arguments)
    while rest:
        option = rest.pop(0)
        if option == "--":
            box.command = rest
            return box
        if option in _STEPS:
            box.steps.append((option, *(rest.pop(0) for _ in range(_STEPS[option]))))
        elif option == "--setenv":
            name = rest.pop(0)
            box.environment[name] = rest.pop(0)
        elif option == "--uid":
            box.user = int(rest.pop(0))
        elif option == "--gid":
            box.group = int(rest.pop(0))
        elif option == "--hostname":
            box.hostname = rest.pop(0)
        elif option == "--chdir":
            box.folder = rest.pop(0)
        elif option == "--cap-add":
            rest.pop(0)  # ALL: of the new user namespace
        elif option not in _FLAGS:
            raise ValueError(f"unknown option {option}")
    raise ValueError("no command after --")


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _prctl(*values: int) -> int:
    return int(_libc.prctl(*values, *([0] * (5 - len(values)))))


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind, options)]
    _check(_libc.mount(encoded[0], encoded[1], encoded[2], flags, encoded[3]), f"mount {target}")


class _Attributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace"))


def _restrict(target: str, attributes: int, *, below: bool = False) -> None:
    """The mount, and with `below` every mount under it: one that stayed writable would be a way out."""
    wanted, flags = _Attributes(set=attributes), _AT_RECURSIVE if below else 0
    place = target.encode()
    result = _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, place, flags, ctypes.byref(wanted), ctypes.sizeof(wanted))
    _check(result, f"restrict {target}")


def _pivot_root(new: str, old: str) -> None:
    number = _PIVOT_ROOT[os.uname().machine]
    _check(_libc.syscall(number, new.encode(), old.encode()), "pivot_root")


def _unshare(box: Box) -> None:
    """New namespaces of every kind, with this user as `box.user`."""
    user, group = os.geteuid(), os.getegid()
    # A process that was root before is not dumpable, and its files below /proc are root's.
    _check(_prctl(_PR_SET_DUMPABLE, 1), "prctl(PR_SET_DUMPABLE)")
    _check(_libc.unshare(_NAMESPACES), "no user namespace for this user: unshare")
    maps = (("setgroups", "deny"), ("uid_map", f"{box.user} {user} 1"), ("gid_map", f"{box.group} {group} 1"))
    for name, text in maps:
        with open(f"/proc/self/{name}", "w") as stream:
            stream.write(text)
    _check(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "prctl(PR_SET_NO_NEW_PRIVS)")


def _place(target: str, *, folder: bool) -> str:
    """The mount point in the new root."""
    place = _NEW + target
    os.makedirs(place if folder else os.path.dirname(place), mode=0o755, exist_ok=True)
    if not folder:
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    return place


def _bind(source: str, target: str) -> str:
    place = _place(target, folder=os.path.isdir(_OLD + source))
    _mount(_OLD + source, place, None, _BIND | _REC)
    return place


def _devices(target: str) -> None:
    place = _place(target, folder=True)
    _mount("tmpfs", place, "tmpfs", _NOSUID | _NOEXEC, "mode=0755,size=64k")
    for name in _DEVICES:
        _restrict(_bind(f"/dev/{name}", f"{target}/{name}"), _ATTR_NOSUID)
    for name, number in (("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2"), ("fd", "")):
        os.symlink(f"/proc/self/fd{number}", f"{place}/{name}")
    os.mkdir(f"{place}/shm", 0o755)
    os.mkdir(f"{place}/pts", 0o755)
    _mount("devpts", f"{place}/pts", "devpts", _NOSUID | _NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    os.symlink("pts/ptmx", f"{place}/ptmx")


def _make_root(box: Box) -> None:
    """Every step of the options, then nothing of the old root is left."""
    steps = [
        (step[0], os.path.realpath(step[1]), step[2]) if step[0] == "--ro-bind" else step for step in box.steps
    ]  # links of the old root lead nowhere once there is another
    _mount(None, "/", None, _PRIVATE | _REC)
    _mount("tmpfs", "/tmp", "tmpfs", _NOSUID | _NODEV, "mode=0755")
    for folder in (_OLD, _NEW):
        os.mkdir(f"/tmp{folder}", 0o755)
    _pivot_root("/tmp", f"/tmp{_OLD}")
    os.chdir("/")
    _mount("tmpfs", _NEW, "tmpfs", _NOSUID | _NODEV, "mode=0755")
    size = ""
    for option, *values in steps:
        if option == "--size":
            size = f",size={values[0]}"
        elif option == "--tmpfs":
            _mount("tmpfs", _place(values[0], folder=True), "tmpfs", _NOSUID | _NODEV, f"mode=0755{size}")
        elif option == "--symlink":
            os.symlink(values[0], _NEW + values[1])
        elif option == "--ro-bind":
            _restrict(_bind(values[0], values[1]), _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV, below=True)
        elif option == "--ro-bind-data":
            _write(int(values[0]), values[1])
        elif option == "--proc":
            _mount("proc", _place(values[0], folder=True), "proc", _NOSUID | _NODEV | _NOEXEC)
        elif option == "--dev":
            _devices(values[0])
        else:
            _restrict(_NEW + values[0], _ATTR_RDONLY | _ATTR_NOSUID)
    os.chdir(_NEW)
    _pivot_root(".", ".")  # the old root lies over the new one, and goes
    _check(_libc.umount2(b".", _MNT_DETACH), "umount of the old root")
    os.chdir(box.folder)


def _write(descriptor: int, target: str) -> None:
    place = _NEW + target
    os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
    with open(descriptor, "rb") as given, open(place, "wb") as stream:
        stream.write(given.read())
    os.chmod(place, 0o444)


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def _keep_capabilities() -> None:
    """Through the start of the command, which is not root in its namespace either: inheritable, then ambient."""
    header, sets = _CapHeader(0x20080522, 0), (ctypes.c_uint32 * 6)()  # twice effective, permitted, inheritable
    _check(_libc.capget(ctypes.byref(header), sets), "capget")
    sets[2], sets[5] = sets[1], sets[4]
    _check(_libc.capset(ctypes.byref(header), sets), "capset")
    capability = 0
    while _prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, capability) == 0:  # EINVAL past the kernel's last one
        capability += 1


def run(arguments: Sequence[str]) -> int:
    """Make the box and start the command in it; its exit code."""
    box = parse(arguments)
    _unshare(box)
    _end_with_parent()
    return _in_child(lambda: _first_process(box))


def _first_process(box: Box) -> int:
    """Makes the root, starts the command, and waits for it and for what it leaves behind."""
    socket.sethostname(box.hostname)
    _make_root(box)
    return _in_child(lambda: _become(box))


def _become(box: Box) -> int:
    _keep_capabilities()
    os.execve(box.command[0], box.command, {**box.environment, "PWD": box.folder})


def _in_child(body: Callable[[], int]) -> int:
    """The exit code of a child that runs `body` and is killed when this process ends."""
    child = os.fork()
    if child == 0:
        status = 125
        try:
            _end_with_parent()
            status = body()
        except (OSError, ValueError, KeyError) as error:
            _tell(error)
        finally:
            os._exit(status)
    while True:
        pid, status = os.wait()  # the first process of a namespace also gets its orphans
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end_with_parent() -> None:
    _check(_prctl(_PR_SET_PDEATHSIG, 9), "prctl(PR_SET_PDEATHSIG)")


def _tell(error: Exception) -> None:
    os.write(2, f"rootless sandbox: {error}\n".encode())


def main(arguments: Sequence[str]) -> int:
    try:
        os.setsid()
        return run(arguments)
    except (OSError, ValueError, KeyError) as error:
        _tell(error)
        return 125


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
