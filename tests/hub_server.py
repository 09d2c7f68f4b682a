"""The few endpoints of the Hugging Face hub that its library asks for to fetch and upload a model, on this machine.

Run as a program it serves until its standard input ends: `python tests/hub_server.py` prints the address.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import sys
import urllib.parse
from dataclasses import dataclass, field

from file_server import LocalServer

TOKEN = "hf_of_a_test"


@dataclass
class Repository:
    """Files of a repository, and who may see them."""

    files: dict[str, bytes] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    messages: list[str] = field(default_factory=list)

    @property
    def commit(self) -> str:
        """Return the name of the state that the files are in."""
        return hashlib.sha1(b"".join(name.encode() + body for name, body in sorted(self.files.items()))).hexdigest()


class HubServer(LocalServer):
    """Holds `repositories`; whoever gives `TOKEN` may write, and read private ones."""

    def __init__(self) -> None:
        super().__init__()
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        path = urllib.parse.unquote(urllib.parse.urlsplit(handler.path).path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.requests.append((handler.command, path))
        if handler.command == "PUT":
            self.stored[path.rpartition("/")[2]] = body
            return self._json(handler, {})
        if path in ("/api/repos/create", "/api/validate-yaml"):
            return self._made(handler, path, json.loads(body))
        found = re.match(r"/(?:api/models/)?([^/]+/[^/]+?)(?:\.git)?(?:/(.*))?$", path)
        repository = self.repositories.get(found[1]) if found else None
        if found is None or repository is None or (repository.private and not self._knows(handler)):
            return self._refused(handler, 401, "RepoNotFound")
        rest = found[2] or ""
        if handler.command == "POST":
            return self._written(handler, repository, rest, body)
        return self._read(handler, repository, found[1], rest)

    def _knows(self, handler: http.server.BaseHTTPRequestHandler) -> bool:
        return handler.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _made(self, handler: http.server.BaseHTTPRequestHandler, path: str, asked: dict) -> None:
        if path == "/api/validate-yaml":
            return self._json(handler, {"errors": [], "warnings": []})
        if not self._knows(handler):
            return self._refused(handler, 401, "")
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        exists = name in self.repositories
        if not exists:
            self.repositories[name] = Repository(private=asked.get("private") or asked.get("visibility") == "private")
        return self._json(handler, {"url": f"{self.base}/{name}"}, 409 if exists else 200)

    def _read(self, handler: http.server.BaseHTTPRequestHandler, repository: Repository, name: str, rest: str) -> None:
        if rest.startswith("resolve/"):
            _, revision, file = rest.split("/", 2)
            if repository.gated:
                return self._refused(handler, 403, "GatedRepo")
            if revision not in ("main", repository.commit):
                return self._refused(handler, 404, "RevisionNotFound")
            if file not in repository.files:
                return self._refused(handler, 404, "EntryNotFound")
            return self._file(handler, repository, repository.files[file])
        revision = rest.rpartition("/")[2] if rest.startswith("revision/") else "main"
        if revision not in ("main", repository.commit):
            return self._refused(handler, 404, "RevisionNotFound")
        if rest.startswith("tree/"):
            tree = [
                {"type": "file", "path": path, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                for path, body in repository.files.items()
            ]
            return self._json(handler, tree)
        siblings = [{"rfilename": path} for path in sorted(repository.files)]
        about = {"private": repository.private, "tags": [], "downloads": 0, "likes": 0}
        return self._json(handler, {"id": name, "sha": repository.commit, "siblings": siblings, **about})

    def _written(
        self, handler: http.server.BaseHTTPRequestHandler, repository: Repository, rest: str, body: bytes
    ) -> None:
        if not self._knows(handler):
            return self._refused(handler, 403, "")
        if rest.startswith("preupload/"):
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                    "oid": None,
                }
                for file in json.loads(body)["files"]
            ]
            return self._json(handler, {"files": files})
        if rest.startswith("info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.base}/store/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self._json(handler, {"transfer": "basic", "objects": objects})
        assert rest.startswith("commit/"), rest
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                repository.messages.append(value["summary"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.stored[value["oid"]]
            elif line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
        address = f"{self.base}/me/x/commit/{repository.commit}"
        return self._json(handler, {"commitUrl": address, "commitOid": repository.commit})

    def _file(self, handler: http.server.BaseHTTPRequestHandler, repository: Repository, body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        handler.send_header("X-Repo-Commit", repository.commit)
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)

    def _json(self, handler: http.server.BaseHTTPRequestHandler, content: object, status: int = 200) -> None:
        text = json.dumps(content).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(text)

    def _refused(self, handler: http.server.BaseHTTPRequestHandler, status: int, code: str) -> None:
        handler.send_response(status)
        if code:
            handler.send_header("X-Error-Code", code)
        handler.send_header("Content-Length", "0")
        handler.end_headers()


if __name__ == "__main__":
    with HubServer().running() as server:
        print(server.base, flush=True)
        sys.stdin.read()
