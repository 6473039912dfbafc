"""Started by root: shows chosen folders to an unprivileged user, becomes that user and starts what makes the box.

The folders are bound below a private /tmp in a mount namespace of this process, so that a Python installed
under root's home is reachable although the home is not. Run as a file, standard library only.

    as_root.py USER FOLDER... -- COMMAND...        (FOLDER number n appears as /tmp/n)

Our own rootless.py is run in this process: the user may not be able to read it, or the Python that runs it.
"""

from __future__ import annotations

import ctypes
import os
import sys

_CLONE_NEWNS, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x20000, 4096, 16384, 1 << 18


def main(arguments: list[str]) -> None:
    user, rest = int(arguments[0]), arguments[1:]
    folders, command = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import rootless  # now: later it may be covered

    libc = ctypes.CDLL(None, use_errno=True)

    def check(result: int, what: str) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")

    check(libc.unshare(_CLONE_NEWNS), "unshare")
    opened = [os.open(folder, os.O_PATH) for folder in folders]  # before /tmp is covered
    check(libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mount --make-rprivate /")
    check(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, b"size=1m,mode=0755"), "mount /tmp")
    for number, descriptor in enumerate(opened):
        target = f"/tmp/{number}"
        os.mkdir(target)
        check(
            libc.mount(
                f"/proc/self/fd/{descriptor}".encode(), target.encode(), None, _MS_BIND | _MS_REC, None
            ),
            f"bind {folders[number]}",
        )
        os.close(descriptor)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    if command[2:3] != [rootless.__file__]:
        os.execv(command[0], command)
    sys.exit(rootless.main(command[3:]))


if __name__ == "__main__":
    main(sys.argv[1:])
