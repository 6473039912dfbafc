"""A hub of data sets on loopback that speaks enough of the real one's protocol for `huggingface_hub` and `datasets`.

Holds the files of data sets at commits; can cut an answer off in the middle, be out of order, and be counted.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

_API = re.compile(
    r"/api/datasets/(?P<repo>[^/]+/[^/]+)"
    r"(?:/(?P<what>revision|tree|paths-info)/(?P<revision>refs/convert/parquet|[^/]+)/?(?P<path>.*))?"
)
_FILE = re.compile(
    r"/datasets/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>refs/convert/parquet|[^/]+)/(?P<path>.+)"
)


@dataclass
class Hub:
    """Data sets: their commits in order, each with its files. `main` is the last one that is not a Parquet copy."""

    repos: dict[str, dict[str, Mapping[str, bytes]]] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)  # data set -> the commit of its refs/convert/parquet
    asked: list[str] = field(default_factory=list)
    cut: set[str] = field(default_factory=set)  # paths whose next answer ends in the middle
    broken: bool = False  # answers 500 to everything
    address: str = ""

    def commit(self, repo: str, revision: str | None) -> str | None:
        commits = list(self.repos.get(repo, ()))
        if revision == "refs/convert/parquet":
            return self.copies.get(repo)
        if revision in (None, "main"):
            return next((commit for commit in reversed(commits) if commit != self.copies.get(repo)), None)
        return revision if revision in commits else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def _answer(self, status: int, body: bytes = b"", sent: bytes | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", headers.pop("length", str(len(body))))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if sent is None else sent)
        if sent is not None:
            self.close_connection = True

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def _missing(self, code: str) -> None:
        self._answer(404, b"{}", X_Error_Code=code, X_Error_Message="not here", Content_Type="application/json")

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        if self.hub.broken:
            self._answer(500)
        elif found := _FILE.fullmatch(path):
            self._file(found["repo"], found["revision"], found["path"])
        elif found := _API.fullmatch(path):
            self._api(found["repo"], found["what"], found["revision"], found["path"] or "", body)
        else:
            self._missing("EntryNotFound")

    def _api(self, repo: str, what: str | None, revision: str | None, path: str, body: bytes) -> None:
        commit = self.hub.commit(repo, revision)
        if repo not in self.hub.repos or commit is None:
            self._missing("RevisionNotFound" if repo in self.hub.repos else "RepoNotFound")
            return
        files = self.hub.repos[repo][commit]
        if what in (None, "revision"):
            self._json({"id": repo, "sha": commit, "private": False, "gated": False, "disabled": False, "tags": [],
                        "downloads": 0, "likes": 0, "siblings": [{"rfilename": name} for name in files]})  # fmt: skip
        elif what == "tree":
            self._tree(files, path)
        else:
            form = unquote(body.decode())
            asked = json.loads(form)["paths"] if form.startswith("{") else re.findall(r"paths=([^&]+)", form)
            self._json([entry for name in asked for entry in _entries(files, name) if entry["path"] == name])

    def _tree(self, files: Mapping[str, bytes], path: str) -> None:
        below = [entry for entry in _entries(files, path) if entry["path"] != path]
        if path and not below:
            self._missing("EntryNotFound")
        else:
            self._json(below)

    def _file(self, repo: str, revision: str, path: str) -> None:
        commit = self.hub.commit(repo, revision)
        content = self.hub.repos[repo][commit].get(path) if commit and repo in self.hub.repos else None
        if content is None or commit is None:
            self._missing("EntryNotFound")
            return
        headers = {"ETag": f'"{_oid(content)}"', "X_Repo_Commit": commit, "Accept_Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        status, part = 200, content
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
            part, status = content[first : last + 1], 206
            headers["Content_Range"] = f"bytes {first}-{last}/{len(content)}"
        cut = self.command == "GET" and path in self.hub.cut
        self.hub.cut.discard(path if cut else "")
        self._answer(status, part, part[: len(part) // 2] if cut else None, **headers)


def _oid(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def _entries(files: Mapping[str, bytes], path: str) -> list[dict[str, Any]]:
    """The files and folders at or below `path`, as the hub lists them."""
    folders = sorted({str(above) for name in files for above in PurePosixPath(name).parents} - {"."})
    listed: list[dict[str, Any]] = [
        {"type": "directory", "oid": _oid(name.encode()), "size": 0, "path": name} for name in folders
    ]
    listed += [{"type": "file", "oid": _oid(text), "size": len(text), "path": name} for name, text in files.items()]
    return [entry for entry in listed if not path or entry["path"] == path or entry["path"].startswith(f"{path}/")]


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """The hub at a free port of loopback, named in `hub.address`."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
