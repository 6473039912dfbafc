"""Runs model-written code where it can do no harm and cannot forge its verdict. See docs/sandbox.md."""

from evaluators.sandbox.pool import STANDARD, Sandbox, close_shared, shared
from evaluators.sandbox.program import (
    Calls,
    Command,
    Limits,
    Program,
    Script,
    Step,
    UnitTests,
    Verdict,
    VerdictKind,
)

__all__ = [
    "STANDARD",
    "Calls",
    "Command",
    "Limits",
    "Program",
    "Sandbox",
    "Script",
    "Step",
    "UnitTests",
    "Verdict",
    "VerdictKind",
    "close_shared",
    "shared",
]
