"""The language of mini_code: arithmetic expressions in x, parsed and executed by a restricted interpreter.

Digits, x, + - * and parentheses. No names, no calls, no powers; length, depth, steps and the size of numbers
are bounded, so that no program can hang or eat memory. Python's own eval is never involved.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_CHARACTERS = 64
MAX_STEPS = 200
MAX_DEPTH = 12
MAX_MAGNITUDE = 10**9


class ProgramError(Exception):
    """The program does not parse, or ran into a limit."""


@dataclass
class _Machine:
    """One execution: recursive descent over the text, evaluated as it is read."""

    text: str
    x: int
    place: int = 0
    steps: int = 0
    depth: int = 0

    def run(self) -> int:
        value = self.sum()
        if self.place != len(self.text):
            raise ProgramError(f"unexpected {self.text[self.place]!r} at {self.place}")
        return value

    def peek(self) -> str:
        return self.text[self.place] if self.place < len(self.text) else ""

    def take(self) -> str:
        character = self.peek()
        self.place += 1
        return character

    def bounded(self, value: int) -> int:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise ProgramError("too many steps")
        if abs(value) > MAX_MAGNITUDE:
            raise ProgramError("number too large")
        return value

    def sum(self) -> int:
        value = self.product()
        while self.peek() in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            value = self.bounded(value + sign * self.product())
        return value

    def product(self) -> int:
        value = self.atom()
        while self.peek() == "*":
            self.take()
            value = self.bounded(value * self.atom())
        return value

    def atom(self) -> int:
        character = self.take()
        if character == "x":
            return self.bounded(self.x)
        if character == "(":
            return self.group()
        if character == "-":
            return self.bounded(-self.atom())
        if not ("0" <= character <= "9"):
            raise ProgramError(f"unexpected {character!r}" if character else "unexpected end")
        digits = character
        while "0" <= self.peek() <= "9":
            digits += self.take()
        return self.bounded(int(digits))

    def group(self) -> int:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ProgramError("too deep")
        value = self.sum()
        if self.take() != ")":
            raise ProgramError("missing )")
        self.depth -= 1
        return value


def execute(program: str, x: int) -> int:
    """The value of the program for x; ProgramError where it has none."""
    text = program.replace(" ", "")
    if len(text) > MAX_CHARACTERS:
        raise ProgramError(f"longer than {MAX_CHARACTERS} characters")
    return _Machine(text, x).run()
