"""What is run in the sandbox and what comes back: programs, limits and verdicts. Plain values, no effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class VerdictKind(StrEnum):
    PASSED = "passed"  # every test passed; for a script without an expected output: ended with status 0
    FAILED_ASSERTION = "failed_assertion"
    WRONG_OUTPUT = "wrong_output"
    TIME_LIMIT = "time_limit"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    CRASHED = "crashed"  # ended by an exception, a signal or a status that is not 0
    FORBIDDEN = "forbidden"  # tried to change how it is judged
    MISSING_PACKAGE = "missing_package"  # an import failed; the scorer decides whose fault that is
    SANDBOX_ERROR = "sandbox_error"  # the sandbox or the tests are at fault, not the program


@dataclass(frozen=True)
class Limits:
    """Bounds of one run. Memory, time and processes hold for the program and all it starts together."""

    cpu_s: float = 30
    wall_s: float = 30
    memory_mb: int = 1024
    processes: int = 32
    file_mb: int = 64  # of one file, of /tmp and of /dev/shm
    open_files: int = 128
    output_kb: int = 8192


@dataclass(frozen=True)
class Script:
    """A Python script: standard input in, standard output out.

    `expected` never enters the sandbox; None: any output passes.
    """

    source: str
    stdin: str = ""
    expected: str | None = None
    argv: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    loopback: bool = False


@dataclass(frozen=True)
class Calls:
    """Tests that call functions of a Python program living in another process.

    The tests see `names` of the program and what `setup` defines. Instances of `classes` (defined by `setup`
    and by the program under the same name) travel by value.
    """

    source: str
    tests: tuple[str, ...]
    names: tuple[str, ...]
    setup: str = ""
    classes: tuple[str, ...] = ()
    call_wall_s: float | None = None  # of one call; None: as the whole run
    write_back: bool = True  # the tests see how their lists, dicts and sets were changed
    module: str = "solution"
    files: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    loopback: bool = False


@dataclass(frozen=True)
class UnitTests:
    """A `unittest` file run in the program's own process. `expected`: test class -> names of its tests.

    `test_modules`: modules that the tests import, name -> text.
    """

    source: str
    tests: str
    expected: Mapping[str, tuple[str, ...]]
    test_modules: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    loopback: bool = True


@dataclass(frozen=True)
class Step:
    argv: tuple[str, ...]
    wall_s: float


@dataclass(frozen=True)
class Command:
    """Programs of any language: commands one after another, until one fails, in one working directory.

    The last one reads `stdin`, which up to 64 KiB can be read once; the others read nothing.
    """

    steps: tuple[Step, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    take: tuple[str, ...] = ()  # files to bring back, relative to the working directory
    wall_s: float | None = None  # of all steps together; None: as long as the steps have
    limits: Limits = Limits(memory_mb=2048, processes=128, file_mb=512, open_files=1024)
    loopback: bool = False


Program = Script | Calls | UnitTests | Command


@dataclass(frozen=True)
class Verdict:
    """What became of one program. Outputs are bytes as they came, cut at the limit."""

    kind: VerdictKind
    detail: str = ""
    stdout: bytes = b""
    stderr: bytes = b""
    exit_code: int | None = None
    signal: int | None = None
    step: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    memory_mb: float = 0.0
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.kind is VerdictKind.PASSED
