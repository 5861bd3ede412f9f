"""Run a plan into a repository of the Hub: files as they become whole, then one commit of them all.

What is sent belongs to no revision until the commit: that is there with all of it, or not at all.
So a repository can be replaced at once too. And bytes that were sent are not sent again by the next
run, for the Hub knows them by their SHA-256.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mapengine.checkpoints.finished import finished
from mapengine.checkpoints.journal import Finished
from mapengine.checkpoints.links import SourceFolder
from mapengine.checkpoints.refusals import refusing
from mapengine.checkpoints.remote import connect
from mapengine.checkpoints.retries import retried
from mapengine.errors import OutputError, Problem
from mapengine.locations import URL
from mapengine.planning.plan import Plan
from mapengine.specs import RECEIPT

_REPOSITORY = re.compile(r"hf://([^/@]+/[^/@]+)(?:@([^/@]+))?")
_MAIN = "main"
_GIT = {".gitattributes"}
"""What the Hub itself puts into a repository."""


@dataclass
class HubPlace:
    """Where a commit is made: the files here, what was sent of them, and what they go on top of."""

    url: URL
    scratch: Path
    overwrite: bool
    repository: str
    revision: str
    api: Any
    kept: dict[str, Finished] = field(default_factory=dict)
    made: dict[str, Finished] = field(default_factory=dict)
    sync: bool = False
    _sent: dict[str, Any] = field(default_factory=dict)
    _parent: str = ""
    _there: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.parts.mkdir()
        self.new.mkdir()

    @property
    def parts(self) -> Path:
        return self.scratch / "parts"

    @property
    def new(self) -> Path:
        return self.scratch / "new"

    def finished(
        self, source: SourceFolder, plan: Plan, of_run: Mapping[str, str]
    ) -> dict[str, int] | None:
        """The files of an output of this very run, where it is there."""
        self._parent, self._there = self._head()
        if RECEIPT not in self._there:
            return None
        return finished(URL(f"hf://{self.repository}@{self._parent}"), source, plan, of_run)

    def resume(self, plan: Plan, identity: Mapping[str, str], restart: bool) -> None:
        """Sees that there is a repository that may be written. Raises `OutputError`."""
        strange, ours = sorted(self._there - _GIT), RECEIPT in self._there
        if strange and not (ours and self.overwrite):
            help = f"name another{', or replace it with --overwrite' if ours else ''}"
            message = f"{self.url} is not empty: it holds {strange[0]}"
            raise OutputError(Problem("ME611", message, help=help))
        if self._parent:
            return
        with refusing(self.url):
            retried(lambda: self.api.create_repo(self.repository, private=True, exist_ok=True))
            if self.revision != _MAIN:
                retried(
                    lambda: self.api.create_branch(
                        self.repository, branch=self.revision, exist_ok=True
                    )
                )
        self._parent, self._there = self._head()

    def add(self, name: str, finished: Finished) -> None:
        """Sends a file of `parts`, and removes it here; one that git itself takes stays."""
        from huggingface_hub import CommitOperationAdd

        path = self.parts / name
        operation = CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(path))
        with refusing(self.url / name):
            retried(
                lambda: self.api.preupload_lfs_files(
                    self.repository, additions=[operation], revision=self.revision
                )
            )
        if operation.path_or_fileobj == b"":  # it was sent, and is known by its digest
            self._sent[name] = operation
            path.unlink()
        else:
            path.rename(self.new / name)
        self.made[name] = finished

    def publish(self) -> dict[str, int]:
        """Makes the commit; all files of the output and their sizes. Raises `OutputError`."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        added = [
            CommitOperationAdd(path_in_repo=path.name, path_or_fileobj=str(path))
            for path in sorted(self.new.iterdir())
        ]
        names = {*self._sent, *(one.path_in_repo for one in added)}
        removed = [CommitOperationDelete(path_in_repo=n) for n in self._there - names - _GIT]
        operations = [*self._sent.values(), *added, *removed]
        with refusing(self.url):
            try:
                self.api.create_commit(
                    self.repository, operations, commit_message="Convert with mapengine",
                    revision=self.revision, parent_commit=self._parent,
                )  # fmt: skip
            except Exception:
                if not self._is_made():
                    raise
        sizes = {path.name: path.stat().st_size for path in self.new.iterdir()}
        return dict(sorted({**sizes, **{n: one.size for n, one in self.made.items()}}.items()))

    def _is_made(self) -> bool:
        """Whether the commit is there though its answer did not come."""
        commit, names = self._head()
        if commit == self._parent or RECEIPT not in names:
            return False
        made = connect(URL(f"hf://{self.repository}@{commit}")).open(RECEIPT).read()
        return bool(made == (self.new / RECEIPT).read_bytes())

    def _head(self) -> tuple[str, frozenset[str]]:
        """The commit of the revision now, and its files; nothing where there is none."""
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        with refusing(self.url):
            try:
                info = retried(lambda: self.api.repo_info(self.repository, revision=self.revision))
            except (RepositoryNotFoundError, RevisionNotFoundError):
                return "", frozenset()
        return str(info.sha), frozenset(one.rfilename for one in info.siblings or ())


@contextlib.contextmanager
def hub_place(url: URL, scratch: Path, restart: bool, overwrite: bool) -> Iterator[HubPlace]:
    """A place to make a commit in. Raises `OutputError` where it can have none."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    found = _REPOSITORY.fullmatch(url.text)
    if found is None:
        message = f"{url} is no repository"
        raise OutputError(Problem("ME612", message, help="hf://ORG/REPO, or hf://ORG/REPO@BRANCH"))
    disable_progress_bars()
    place = HubPlace(url, scratch, overwrite, found[1], found[2] or _MAIN, HfApi())
    try:
        yield place
    except BaseException as error:
        sent = "what was sent is not sent again" if place.made else "nothing is left behind"
        error.add_note(sent)
        raise
