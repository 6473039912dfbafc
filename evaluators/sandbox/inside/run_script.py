"""Runs a Python program as a script in the forked interpreter: standard input to standard output."""

from __future__ import annotations

import atexit
import gc
import linecache
import sys
import traceback
import types


def new_main(source: bytes, name: str, filename: str) -> tuple[types.ModuleType, str]:
    """A fresh module registered as `name`, with the source known to tracebacks and `inspect`."""
    module = types.ModuleType(name)
    module.__file__ = filename
    sys.modules[name] = module
    text = source.decode("utf-8", "surrogatepass")
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
    return module, text


def forget_harness() -> None:
    """The program finds no module of the sandbox among those loaded."""
    for name in [name for name in sys.modules if name == "inside" or name.startswith("inside.")]:
        del sys.modules[name]
    gc.enable()


def open_standard_streams() -> None:
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1)  # noqa: SIM115
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr


def exit_status(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def main(source: bytes, argv: list[str]) -> int:
    """What `python program.py` does, ending threads and exit functions included; the exit status."""
    forget_harness()
    sys.argv = [
        "program.py",
        *argv,
    ]  # the streams of the zygote are unused: they read and write what is at 0 to 2
    status = 0
    try:
        module, text = new_main(source, "__main__", "program.py")
        exec(compile(text, "program.py", "exec", dont_inherit=True), module.__dict__)
    except SystemExit as error:
        status = exit_status(error)
    except BaseException:  # noqa: BLE001  (any error of the program is its traceback and status 1)
        traceback.print_exc()
        status = 1
    try:
        # Not imported here: it makes every fork dearer. Threads that are no daemons are waited for.
        if threading := sys.modules.get("threading"):
            threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BrokenPipeError:
        status = status or 120
    return status
