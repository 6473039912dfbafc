"""Each attempt's own part of a log file that requeued attempts share."""

from __future__ import annotations

from pathlib import Path

from manager.logs import Section
from manager.remedy import start_mark


def test_each_attempt_has_its_part(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(f"before\n{start_mark('a.0')}\none\n{start_mark('a.1')}\ntwo\n")
    assert Section(path, "a.0").read() == "one\n"
    assert Section(path, "a.1").read() == "two\n"
    assert Section(path, "a.2").read() == "", "it has not begun"


def test_a_growing_log_is_read_once_and_not_into_the_next_attempt(tmp_path: Path) -> None:
    path = tmp_path / "log"
    section = Section(path, "a.0")
    assert section.read() == ""
    path.write_text(f"{start_mark('a.0')}\none\n")
    assert section.read() == "one\n"
    with open(path, "a") as stream:
        stream.write(f"two\n{start_mark('a.1')}\nthree\n")
    assert section.read() == "two\n"
    assert section.read() == ""


def test_a_log_without_marks_is_all_of_one_attempt(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\n")
    section = Section(path, "local.7.0")
    assert section.read() == "one\n"
    with open(path, "a") as stream:
        stream.write("two\n")
    assert section.read() == "two\n"
