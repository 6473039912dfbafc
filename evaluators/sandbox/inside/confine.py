"""System calls that take rights away: namespaces, private mounts, capabilities, seccomp, resource limits.

Linux on x86-64 and aarch64. Every call is checked; a refusal is an OSError, never a weaker sandbox.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import resource
import socket
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_NEWIPC = 0x08000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC = 2, 4, 8, 4096, 16384
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 1, 4, 24
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 22, 38, 47, 4
_MIB = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def enter_namespace(descriptor: int, kind: int) -> None:
    _check(_libc.setns(descriptor, kind), "setns")


def mount(kind: str, target: str, flags: int, options: str = "") -> None:
    _check(
        _libc.mount(kind.encode(), target.encode(), kind.encode(), flags, options.encode()), f"mount {target}"
    )


def private_mounts(size_mb: int, *, executable: bool, keep: list[str]) -> None:
    """A new /tmp and /dev/shm of bounded size, and a /proc that shows the new pid namespace alone.

    `keep`: folders below /tmp that were mounted for the worker (a Python can be installed there).
    """
    flags = _MS_NOSUID | _MS_NODEV | (0 if executable else _MS_NOEXEC)
    kept = [(folder, os.open(folder, os.O_PATH)) for folder in keep]
    mount("tmpfs", "/tmp", flags, f"size={size_mb}m,nr_inodes=16384,mode=0777")
    for folder, descriptor in kept:
        os.makedirs(folder)
        source = f"/proc/self/fd/{descriptor}".encode()
        _check(_libc.mount(source, folder.encode(), None, _MS_BIND | _MS_REC, None), f"bind {folder}")
        os.close(descriptor)
    mount(
        "tmpfs", "/dev/shm", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, f"size={size_mb}m,nr_inodes=4096,mode=0777"
    )
    mount_proc()


def mount_proc() -> None:
    """A /proc that shows this pid namespace."""
    mount("proc", "/proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def loopback() -> None:
    """Bring up the only interface of this network namespace, so that a program can talk to itself."""
    request = struct.pack("16sH14s", b"lo", 1, b"")  # IFF_UP
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, request)  # SIOCSIFFLAGS


def forbid_user_namespaces() -> None:
    """Below this user namespace nobody makes another one (a second line behind the seccomp filter)."""
    with open("/proc/sys/user/max_user_namespaces", "w") as stream:
        stream.write("0")


def set_dumpable(allowed: bool) -> None:
    """Not dumpable: no process of the same user may trace it or open its memory, environment, descriptors."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, int(allowed), 0, 0, 0), "prctl(PR_SET_DUMPABLE)")


def die_with_parent() -> None:
    _check(_libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def drop_future_privileges() -> None:
    """For this process and all it forks: what no exec can bring back. What it has now stays."""
    capability = 0
    while _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:  # EINVAL past the kernel's last one
        capability += 1
    if capability < 38:
        raise OSError(f"could drop only {capability} capabilities from the bounding set")
    _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "prctl(PR_CAP_AMBIENT)")
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE):
        resource.setrlimit(limit, (0, 0))
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (256, 256))


def drop_privileges() -> None:
    """No capabilities, and the system-call filter. Future ones are dropped already."""
    _check(_libc.capset(ctypes.byref(_CAP_HEADER), ctypes.byref(_NO_CAPABILITIES)), "capset")
    _check(_libc.prctl(_PR_SET_SECCOMP, 2, ctypes.byref(_PROGRAM), 0, 0), "prctl(PR_SET_SECCOMP)")


# name: (x86-64, aarch64). None: the call does not exist there.
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438), "kcmp": (312, 272), "process_madvise": (440, 440),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "unshare": (272, 97), "setns": (308, 268),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "memfd_create": (319, 279), "memfd_secret": (447, 447),  # memory outside every limit set here
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186),  # outlive the program
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224),
    "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60), "syslog": (103, 116),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "sethostname": (170, 161), "setdomainname": (171, 162), "modify_ldt": (154, None),
    "iopl": (172, None), "ioperm": (173, None), "mbind": (237, 235), "move_pages": (279, 239),
}  # fmt: skip
_CLONE, _CLONE3, _SOCKET, _PRCTL_ARCH = (56, 220), (435, 435), (41, 198), (0xC000003E, 0xC00000B7)
_NEW_NAMESPACE = 0x7E020080  # every CLONE_NEW* flag
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
_KILL, _ALLOW, _ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97


def _filter_program() -> list[tuple[int, int, int, int]]:
    """Berkeley packet filter (code, jump if true, jump if false, constant) over struct seccomp_data."""
    machine = {"x86_64": 0, "aarch64": 1}.get(platform.machine())
    if machine is None:
        raise OSError(f"no system-call filter for {platform.machine()}; there are x86_64 and aarch64")
    program = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, _PRCTL_ARCH[machine]),  # 32-bit calls have other numbers
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 0, 1, 0x40000000),  # the x32 table
        (_RETURN, 0, 0, _KILL),
    ]
    for numbers in _DENIED.values():
        number = numbers[machine]
        if number is not None:
            program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    # clone3 hides its flags behind a pointer: told as absent, so that libc uses clone
    program += [(_EQUAL, 0, 1, _CLONE3[machine]), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    program += [
        (_EQUAL, 0, 4, _CLONE[machine]),
        (_LOAD, 0, 0, 16),
        (_ANY_BIT, 0, 1, _NEW_NAMESPACE),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    program += [(_EQUAL, 0, 2 + len(_FAMILIES), _SOCKET[machine]), (_LOAD, 0, 0, 16)]
    for position, family in enumerate(_FAMILIES):
        program.append((_EQUAL, len(_FAMILIES) - position, 0, int(family)))
    program += [(_RETURN, 0, 0, _ERRNO | _EAFNOSUPPORT), (_RETURN, 0, 0, _ALLOW)]
    return program


class _SockFprog(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


# made once: every page that a forked process touches is copied first
_FILTER = b"".join(struct.pack("HBBI", *instruction) for instruction in _filter_program())
_PROGRAM = _SockFprog(len(_FILTER) // 8, _FILTER)
_CAP_HEADER = _CapHeader(0x20080522, 0)
_NO_CAPABILITIES = (_CapData * 2)()


def set_limits(limits: dict[str, float], *, address_space: bool) -> None:
    """Hard resource limits of one process. `address_space` counts from what is mapped already."""
    cpu_s = max(1, int(limits["cpu_s"] + 0.999))
    # the first process of a namespace does not get the soft limit's signal, only the hard limit's end
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s if address_space else cpu_s + 1))
    file_bytes = int(limits["file_mb"] * _MIB)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(limits["open_files"]),) * 2)
    # a forked interpreter's threads keep their size; those of a new program get what is set here
    stack = min(256 if address_space else 8, int(limits["memory_mb"])) * _MIB
    hard_stack = resource.getrlimit(resource.RLIMIT_STACK)[1]
    stack = stack if hard_stack == resource.RLIM_INFINITY else min(stack, hard_stack)
    resource.setrlimit(resource.RLIMIT_STACK, (stack, stack))
    if address_space:
        with open("/proc/self/statm") as stream:
            mapped = int(stream.read().split()[0]) * resource.getpagesize()
        most = mapped + int(limits["memory_mb"] * _MIB)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    else:
        # Runtimes reserve address space and stacks that they do not use: what is writable and private counts,
        # generously; the supervisor watches what is really used.
        most = 4 * int(limits["memory_mb"] * _MIB)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    # last: the user's processes outside count from the same number only on kernels before 5.14
    processes = int(limits["processes"]) + 6  # the sandbox's own: bwrap, its init, zygote, supervisor, tester
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))


def first_to_go() -> None:
    """Where the machine itself runs out of memory, this process is ended first."""
    with open("/proc/self/oom_score_adj", "w") as stream:
        stream.write("1000")
