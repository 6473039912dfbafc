"""What an attempt printed. A requeued job's attempts share their log files; marks tell where each begins."""

from __future__ import annotations

from pathlib import Path

from manager.remedy import START_MARK, start_mark


class Section:
    """One attempt's part of one log file, read as it grows."""

    def __init__(self, path: Path, execution: str) -> None:
        self._path = path
        self._mark = start_mark(execution).encode() + b"\n"
        self._place: int | None = None
        self._ended = False

    def read(self) -> str:
        """What is new since the last call."""
        if self._ended:
            return ""
        try:
            with open(self._path, "rb") as stream:
                if self._place is None:
                    self._place = self._begin(stream.read())
                if self._place is None:
                    return ""
                stream.seek(self._place)
                text = stream.read()
        except FileNotFoundError:
            return ""
        following = text.find(START_MARK.encode())
        if following >= 0:  # the next attempt begins here
            text, self._ended = text[:following], True
        self._place += len(text)
        return text.decode(errors="replace")

    def _begin(self, text: bytes) -> int | None:
        """After this attempt's mark; at the start of a file that has no marks at all; else not yet."""
        found = text.find(self._mark)
        if found >= 0:
            return found + len(self._mark)
        return None if START_MARK.encode() in text else 0
