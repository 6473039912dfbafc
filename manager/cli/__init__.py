"""The command line: the only place that prints or exits. Heavy libraries are imported inside commands."""

from __future__ import annotations

import os
import sys


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
    except KeyboardInterrupt:
        sys.exit(130)
