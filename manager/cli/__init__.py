"""The command line: the only place that prints or exits. Heavy libraries are imported inside commands.

This file must be understood by old Pythons as well (3.6 is still the system's on some clusters), so that they
are told what is needed: nothing newer than f-strings in it.
"""

import errno
import os
import sys

_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
_FULL = (errno.ENOSPC, errno.EDQUOT)


def main() -> None:
    """The console script. A user's mistake is one line and exit 1; only a bug shows a traceback."""
    if sys.version_info < (3, 11):  # noqa: UP036  pip refuses too; this is for a checkout run by hand
        sys.exit(f"manager needs Python 3.11 or newer; this is {sys.version.split()[0]}")
    from manager.cli.app import app
    from manager.errors import UserError

    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # `manager status | head`: the reader has left; that is no error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in _NOT_WRITABLE + _FULL:
            raise
        print(f"error: {_disk_trouble(error)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _disk_trouble(error: OSError) -> str:
    """One line about a disk that takes nothing. Files are written whole or not at all, so nothing is lost."""
    what = f"{error.filename or 'the disk of the store'}: {error.strerror}"
    if error.errno in _FULL:
        return f"{what}; nothing is lost: make room (`manager clean`), then run the same command again"
    return f"{what}; this command has to write there: make it writable, or name another folder with --store"
