"""What a supervisor keeps of a run: the pipes out of it, and the time and memory of its processes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

_TICKS = os.sysconf("SC_CLK_TCK")
POLL_MS = 20
REPORT_BYTES = 1 << 20


@dataclass
class Stream:
    """One pipe out of the run, kept up to a bound."""

    name: str
    descriptor: int
    most: int
    data: bytearray = field(default_factory=bytearray)
    seen: int = 0


class Streams:
    """The pipes out of a run. `limit` is for each: a program that prints more is ended."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.all: list[Stream] = []

    def pipe(self, name: str, most: int) -> int:
        """A new pipe that is read here; the writing end comes back."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self.all.append(Stream(name, reader, most))
        return writer

    def read(self) -> bool:
        """Take what is there; False when one has brought more than the limit."""
        for stream in self.all:
            while True:
                try:
                    part = os.read(stream.descriptor, 1 << 16)
                except BlockingIOError:
                    break
                if not part:
                    break
                stream.seen += len(part)
                stream.data += part[: stream.most - len(stream.data)]
                if stream.seen > max(stream.most, self.limit):
                    return False
        return True

    def taken(self, name: str) -> bytes:
        return b"".join(bytes(stream.data) for stream in self.all if stream.name == name)

    def close(self) -> None:
        for stream in self.all:
            os.close(stream.descriptor)


def other_processes(known: set[int]) -> list[int]:
    """The processes that /proc shows, without the known ones."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in known]


def cpu_s(pid: int) -> float:
    """CPU time of a process and of its children that it has waited for."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            values = stream.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(value) for value in values[11:15]) / _TICKS


def resident_kb(pid: int) -> int:
    """Anonymous and shared memory of one process; pages of files are the page cache's."""
    return _sum_kb(f"/proc/{pid}/status", (b"RssAnon", b"RssShmem"))


def proportional_kb(pid: int) -> int:
    """The same, a page shared by several processes counted once among them."""
    return _sum_kb(f"/proc/{pid}/smaps_rollup", (b"Pss_Anon", b"Pss_Shmem"))


def _sum_kb(path: str, names: tuple[bytes, ...]) -> int:
    try:
        with open(path, "rb") as stream:
            return sum(int(line.split()[1]) for line in stream if line.startswith(names))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0  # gone, or the tests' process, which has its own limit


def over_memory(pids: list[int], base_kb: int, most_kb: float) -> int | None:
    """How much memory the processes have when it is more than allowed. `base_kb`: what a fork starts with."""
    if sum(map(resident_kb, pids)) - base_kb <= most_kb:
        return None
    # pages shared with the warm interpreter were counted once a process: count exactly
    exact_kb = sum(map(proportional_kb, pids))
    return exact_kb if exact_kb - base_kb / 2 > most_kb else None


def input_file(content: bytes) -> int:
    """A descriptor that reads `content`; in memory, so that no pipe has to be pumped."""
    writer = os.memfd_create("input")
    with open(writer, "wb", closefd=False) as stream:
        stream.write(content)
    reader = os.open(f"/proc/self/fd/{writer}", os.O_RDONLY | os.O_CLOEXEC)
    os.close(writer)
    return reader
