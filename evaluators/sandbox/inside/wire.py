"""Frames between the host and the sandbox: a JSON header and raw blobs, each with its length in front.

Owns the byte layout only. The reader trusts nothing: lengths are bounded before memory is taken.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

LARGEST_FRAME = 1 << 30
_HEAD = struct.Struct(">QI")  # bytes of everything that follows, bytes of the header


class FrameError(Exception):
    """The other side closed the connection or sent something that is no frame."""


def send_frame(connection: socket.socket, header: dict[str, Any], *blobs: bytes) -> None:
    head = json.dumps({**header, "blobs": [len(blob) for blob in blobs]}).encode()
    total = len(head) + sum(len(blob) for blob in blobs)
    connection.sendall(b"".join((_HEAD.pack(total, len(head)), head, *blobs)))


def receive_exactly(connection: socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            raise FrameError("connection closed")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def receive_frame(connection: socket.socket) -> tuple[dict[str, Any], list[bytes]]:
    total, head_size = _HEAD.unpack(receive_exactly(connection, _HEAD.size))
    if total > LARGEST_FRAME or head_size > total:
        raise FrameError(f"frame of {total} bytes")
    data = receive_exactly(connection, total)
    header = json.loads(data[:head_size])
    blobs: list[bytes] = []
    position = head_size
    for size in header.pop("blobs"):
        blobs.append(data[position : position + size])
        position += size
    return header, blobs
