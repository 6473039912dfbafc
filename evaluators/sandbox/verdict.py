"""From a program to the request its supervisor gets, and from the supervisor's answer to a verdict. Pure."""

from __future__ import annotations

import dataclasses
import json
import signal
from typing import Any

from evaluators.sandbox.output import same_output
from evaluators.sandbox.program import (
    Calls,
    Command,
    Limits,
    Program,
    Script,
    UnitTests,
    Verdict,
    VerdictKind,
)

_MODES = {Script: "script", Calls: "calls", UnitTests: "unit_tests", Command: "command"}
_OUT_OF_MEMORY = (
    b"MemoryError",
    b"Cannot allocate memory",
    b"std::bad_alloc",
    b"OutOfMemoryError",
    b"heap out of memory",
    b"memory allocation of",
)


def request_of(program: Program) -> tuple[dict[str, Any], list[bytes], float]:
    """Header and blobs of the first frame, and the longest that the run may take in seconds."""
    limits = dataclasses.asdict(program.limits)
    wall_s = program.limits.wall_s
    header: dict[str, Any] = {
        "mode": _MODES[type(program)],
        "limits": limits,
        "loopback": program.loopback,
        "files": list(program.files),
        "take": [],
    }
    source, stdin = b"", b""
    if isinstance(program, Command):
        header["steps"] = [{"argv": list(step.argv), "wall_s": step.wall_s} for step in program.steps]
        header["environment"] = dict(program.environment)
        header["take"] = list(program.take)
        stdin = _bytes(program.stdin)
        wall_s = sum(step.wall_s for step in program.steps)
        wall_s = header["wall_s"] = wall_s if program.wall_s is None else min(wall_s, program.wall_s)
    else:
        source = _bytes(program.source)
    if isinstance(program, Script):
        header["argv"] = list(program.argv)
        stdin = _bytes(program.stdin)
    elif isinstance(program, Calls):
        header["module"] = program.module
    elif isinstance(program, UnitTests):
        header["tests"] = program.tests
        header["test_modules"] = dict(program.test_modules)
        header["test_class"] = {name: list(tests) for name, tests in program.expected.items()}
    return header, [source, stdin, *(_bytes(content) for content in program.files.values())], wall_s


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def tests_of(program: Program) -> dict[str, Any] | None:
    """The second frame: what the program's process must never hold."""
    if not isinstance(program, Calls):
        return None
    return {
        "setup": program.setup,
        "tests": list(program.tests),
        "names": list(program.names),
        "classes": list(program.classes),
        "write_back": program.write_back,
        "call_wall_s": program.call_wall_s or program.limits.wall_s + 60,
    }


def verdict_of(program: Program, answer: dict[str, Any], blobs: list[bytes]) -> Verdict:
    stdout, stderr, report, judged, *files = blobs
    kind, detail = _kind(program, answer, stdout, stderr, report, judged)
    names = program.take if isinstance(program, Command) else ()
    return Verdict(
        kind, detail, stdout, stderr, answer["exit_code"], answer["signal"], answer["step"],
        answer["cpu_s"], answer["wall_s"], answer["memory_mb"], dict(zip(names, files, strict=True)),
    )  # fmt: skip


def _kind(
    program: Program, answer: dict[str, Any], stdout: bytes, stderr: bytes, report: bytes, judged: bytes
) -> tuple[VerdictKind, str]:
    limits = program.limits
    ended = {
        "wall": (VerdictKind.TIME_LIMIT, f"more than {_wall_s(program, answer['step']):g} s"),
        "cpu": (VerdictKind.TIME_LIMIT, f"more than {limits.cpu_s:g} s of CPU"),
        "memory": (VerdictKind.MEMORY_LIMIT, f"more than {limits.memory_mb} MB"),
        "output": (VerdictKind.OUTPUT_LIMIT, f"more than {limits.output_kb} kB of output"),
    }
    if answer["end"] in ended:
        return ended[answer["end"]]
    if isinstance(program, UnitTests):
        forbidden = _forbidden(report)
        if forbidden is not None:
            return VerdictKind.FORBIDDEN, forbidden
        message = _reported(report, answer["secret"])
        if message is not None:
            return _unit_tests(program, message)
    if isinstance(program, Calls) and judged:
        message = json.loads(judged)
        kind = VerdictKind(message["kind"])
        lost = kind is VerdictKind.CRASHED and message["detail"].startswith("the program ended")
        if not lost:
            return kind, message["detail"]
    bad = _bad_end(limits, answer, stderr)
    if bad is not None:
        return bad
    if not isinstance(program, (Script, Command)):
        return VerdictKind.CRASHED, "the program ended before its tests did"
    if isinstance(program, Script) and program.expected is not None:
        return _compared(stdout, program.expected)
    return VerdictKind.PASSED, ""


def _wall_s(program: Program, step: int) -> float:
    return program.steps[step].wall_s if isinstance(program, Command) else program.limits.wall_s


def _bad_end(limits: Limits, answer: dict[str, Any], stderr: bytes) -> tuple[VerdictKind, str] | None:
    """The verdict on a process that did not end with status 0."""
    number = answer["signal"]
    # The kernel counts its limit in ticks: on a busy machine up to some 5 % off the time that it reports.
    if number in (signal.SIGXCPU, signal.SIGKILL) and answer["cpu_s"] >= limits.cpu_s - max(0.1, limits.cpu_s / 10):
        return VerdictKind.TIME_LIMIT, f"more than {limits.cpu_s:g} s of CPU"
    last = stderr.strip().splitlines()[-1:] or [b""]
    text = last[0].decode(errors="replace")[:500]
    if (number or answer["exit_code"]) and any(sign in stderr[-2000:] for sign in _OUT_OF_MEMORY):
        return VerdictKind.MEMORY_LIMIT, text or f"more than {limits.memory_mb} MB"
    if number:
        return VerdictKind.CRASHED, f"killed by {signal.Signals(number).name if number < 32 else number}"
    if answer["exit_code"]:
        return VerdictKind.CRASHED, f"status {answer['exit_code']}: {text}"
    return None


def _forbidden(report: bytes) -> str | None:
    """Told without the secret: a program can only do itself harm with it."""
    for line in report.splitlines():
        if line.startswith(b'{"forbidden"'):
            return f"the program reached for the interpreter's insides: {line.decode(errors='replace')[:200]}"
    return None


def _reported(report: bytes, secret: str) -> dict[str, Any] | None:
    for line in report.splitlines():
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict) and message.get("secret") == secret:
            return message
    return None


def _unit_tests(program: UnitTests, message: dict[str, Any]) -> tuple[VerdictKind, str]:
    kind = VerdictKind(message["kind"])
    wanted = {f"{name}.{test}" for name, tests in program.expected.items() for test in tests}
    if kind is VerdictKind.PASSED and (not wanted or set(message["passed"]) != wanted):
        return VerdictKind.SANDBOX_ERROR, "the report does not name every test"
    return kind, str(message["detail"])


def _compared(stdout: bytes, expected: str) -> tuple[VerdictKind, str]:
    text = stdout.decode("utf-8", "replace")
    if same_output(text, expected):
        return VerdictKind.PASSED, ""
    return VerdictKind.WRONG_OUTPUT, f"printed {text[:200]!r}, expected {expected[:200]!r}"
