"""Files are whole or absent, whatever kills the writer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from manager.atomic import JsonlWriter, read_json, read_jsonl, write_json


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"v": 1})
    loop: dict[str, object] = {}
    loop["loop"] = loop
    with pytest.raises(ValueError, match="Circular"):
        write_json(path, loop)
    assert read_json(path) == {"v": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)], check=True)
    try:
        write_json(mount / "a.json", {"v": 1})
        with pytest.raises(OSError, match="No space"):
            write_json(mount / "a.json", {"v": "x" * 200_000})
        assert read_json(mount / "a.json") == {"v": 1}
        assert os.listdir(mount) == ["a.json"]
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_readers_never_see_a_part_while_a_writer_is_killed_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"v": "start"})
    code = (
        "import sys; from pathlib import Path; from manager.atomic import write_json\n"
        "while True: write_json(Path(sys.argv[1]), {'v': 'x' * 300_000}); print('w', flush=True)"
    )
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(20):
            writer.stdout.readline()
            assert read_json(path)["v"] in ("start", "x" * 300_000)
        writer.kill()
        writer.wait()
        assert read_json(path)["v"] == "x" * 300_000


def test_a_line_cut_off_by_a_kill_is_left_out_and_then_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": 2}\n{"n": 3, "text": "cut o')
    assert [record["n"] for record in read_jsonl(path)] == [1, 2]
    writer = JsonlWriter(path)
    writer.write({"n": 4})
    writer.close()
    assert [json.loads(line)["n"] for line in path.read_text().splitlines()] == [1, 2, 4]


def test_a_first_line_cut_off_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b"x" * 10_000)
    JsonlWriter(path).close()
    assert path.read_bytes() == b""
    assert list(read_jsonl(tmp_path / "absent.jsonl")) == []
