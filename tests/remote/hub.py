"""A Hub on loopback: as much of the Hugging Face Hub's HTTP API as its own client asks for here.

Repositories with commits, ranges of files, and uploads: what is large goes to a store by its
SHA-256 first, and one commit then names it.
"""

import base64
import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import unquote

LARGE = 1000
"""Bytes from which a file does not go through git."""


@dataclass
class Repository:
    commits: list = field(default_factory=lambda: [{}])
    """The files of each: name to content. The first has none."""
    branches: dict = field(default_factory=dict)
    private: bool = False

    def __post_init__(self):
        self.branches.setdefault("main", len(self.commits) - 1)
        self.times = [now() for _ in self.commits]

    def push(self, branch, files):
        self.commits.append(files)
        self.times.append(now())
        self.branches[branch] = len(self.commits) - 1

    @staticmethod
    def sha(number):
        return f"{number:040x}"

    def number(self, revision):
        if revision in self.branches:
            return self.branches[revision]
        return next((n for n in range(len(self.commits)) if self.sha(n) == revision), None)


@dataclass
class Hub:
    """The application. `uploaded` counts what came of each SHA-256."""

    url: str = ""
    repositories: dict = field(default_factory=dict)
    stored: dict = field(default_factory=dict)
    uploaded: Counter = field(default_factory=Counter)
    tokens: set = field(default_factory=set)

    def __call__(self, environ, start_response):
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        self.tokens.add(environ.get("HTTP_AUTHORIZATION", ""))
        for pattern, verb, handler in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and verb == method:
                status, body, headers = handler(self, environ, *map(unquote, found.groups("")))
                break
        else:
            status, body, headers = 404, b"{}", {}
        headers = {"Content-Length": str(len(body)), **headers}
        start_response(f"{status} Said", [*headers.items()])
        return [b"" if method == "HEAD" else body]

    # -- reading

    def info(self, environ, name, revision="main"):
        repository = self.repositories.get(name)
        number = repository.number(revision or "main") if repository else None
        if number is None:
            code = "RevisionNotFound" if repository else "RepoNotFound"
            return 404, b"{}", {"X-Error-Code": code}
        files = [{"rfilename": one} for one in repository.commits[number]]
        told = {"id": name, "sha": repository.sha(number), "siblings": files, "private": False,
                "lastModified": repository.times[number], "tags": [], "_id": "1"}  # fmt: skip
        return said(told)

    def tree(self, environ, name, revision, below=""):
        repository = self.repositories.get(name)
        number = repository.number(revision) if repository else None
        if number is None:
            return 404, b"{}", {"X-Error-Code": "RevisionNotFound"}
        listed, folders = [], set()
        for path, data in repository.commits[number].items():
            inside = path.removeprefix(below).lstrip("/") if path.startswith(below) else None
            if inside is None:
                continue
            if "/" in inside:
                folders.add(f"{below}/{inside.partition('/')[0]}".lstrip("/"))
                continue
            entry = {"type": "file", "path": path, "size": len(data), "oid": git_oid(data)}
            if len(data) >= LARGE:
                entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 120}
            listed.append(entry)
        listed += [{"type": "directory", "path": one, "size": 0, "oid": "0" * 40}
                   for one in folders]  # fmt: skip
        return said(listed)

    def file(self, environ, name, revision, path):
        repository = self.repositories[name]
        data = repository.commits[repository.number(revision)].get(path)
        if data is None:
            return 404, b"", {"X-Error-Code": "EntryNotFound"}
        headers = {"ETag": f'"{sha256(data)}"', "X-Repo-Commit": revision}
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", environ.get("HTTP_RANGE", ""))
        if not asked:
            return 200, data, headers
        start, end = int(asked[1]), min(int(asked[2]) + 1, len(data))
        return 206, data[start:end], headers | {"Content-Range": f"bytes {start}-{end - 1}/*"}

    # -- writing

    def branch(self, environ, name, revision):
        repository = self.repositories[name]
        if revision in repository.branches:
            return 409, b"{}", {}
        repository.branches[revision] = repository.branches["main"]
        return said({})

    def create(self, environ):
        told = received(environ)
        name = "/".join(filter(None, (told.get("organization"), told["name"])))
        if name in self.repositories:
            return 409, json.dumps({"url": f"{self.url}/{name}", "id": name}).encode(), {}
        self.repositories[name] = Repository(
            private=told.get("private") or told.get("visibility") == "private"
        )
        return said({"url": f"{self.url}/{name}", "id": name, "name": name})

    def preupload(self, environ, name, revision):
        if name not in self.repositories:
            return 404, b"{}", {"X-Error-Code": "RepoNotFound"}
        return said({"files": [
            {"path": one["path"], "shouldIgnore": False,
             "uploadMode": "lfs" if one["size"] >= LARGE else "regular"}
            for one in received(environ)["files"]
        ]})  # fmt: skip

    def batch(self, environ, name):
        objects = []
        for one in received(environ)["objects"]:
            action = {"upload": {"href": f"{self.url}/store/{one['oid']}", "header": {}}}
            there = {} if one["oid"] in self.stored else {"actions": action}
            objects.append({"oid": one["oid"], "size": one["size"], **there})
        return said({"transfer": "basic", "objects": objects})

    def store(self, environ, oid):
        data = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        assert sha256(data) == oid
        self.stored[oid] = data
        self.uploaded[oid] += 1
        return 200, b"", {}

    def valid(self, environ):
        return said({"errors": [], "warnings": []})

    def commit(self, environ, name, revision):
        repository = self.repositories[name]
        files = dict(repository.commits[repository.number(revision)])
        lines = body(environ).decode().splitlines()
        head, *changes = [json.loads(line) for line in lines]
        parent = head["value"].get("parentCommit")
        if parent and repository.number(revision) != repository.number(parent):
            return 412, b"{}", {}
        for change in changes:
            value = change["value"]
            if change["key"] == "lfsFile":
                files[value["path"]] = self.stored[value["oid"]]
            elif change["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif change["key"] == "deletedFile":
                del files[value["path"]]
        repository.push(revision, files)
        sha = repository.sha(len(repository.commits) - 1)
        url = f"{self.url}/{name}/commit/{sha}"
        return said({"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})


def now():
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def said(value):
    return 200, json.dumps(value).encode(), {"Content-Type": "application/json"}


def body(environ):
    return environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))


def received(environ):
    return json.loads(body(environ))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def git_oid(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


_NAME, _PART = "([^/]+/[^/]+)", "([^/]+)"
ROUTES = [
    (f"/api/models/{_NAME}", "GET", Hub.info),
    (f"/api/models/{_NAME}/revision/{_PART}", "GET", Hub.info),
    (f"/api/models/{_NAME}/tree/{_PART}(?:/(.*))?", "GET", Hub.tree),
    (f"/{_NAME}/resolve/{_PART}/(.+)", "GET", Hub.file),
    ("/api/repos/create", "POST", Hub.create),
    (f"/api/models/{_NAME}/preupload/{_PART}", "POST", Hub.preupload),
    (f"/{_NAME}.git/info/lfs/objects/batch", "POST", Hub.batch),
    (f"/store/{_PART}", "PUT", Hub.store),
    (f"/api/models/{_NAME}/branch/{_PART}", "POST", Hub.branch),
    ("/api/validate-yaml", "POST", Hub.valid),
    (f"/api/models/{_NAME}/commit/{_PART}", "POST", Hub.commit),
]
