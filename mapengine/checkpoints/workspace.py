"""The folder beside an output in which it is made: locked, journaled, published by one rename.

    .OUTPUT.mapengine/
        lock        of the process at work
        journal     the files that are whole
        parts/      the files that are not
        new/        the output, as far as it is whole; this is what is published
        old/        what was there before, on its way out

An output that a kill or a power cut left unfinished is gone on with from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mapengine.checkpoints import storage
from mapengine.checkpoints.journal import JOURNAL, Finished, Journal
from mapengine.checkpoints.locks import LOCK, locked
from mapengine.checkpoints.publishing import publish, recover
from mapengine.errors import OutputError, PlanError, Problem, SourceChangedError

Whole = Callable[[Path, Sequence[Finished]], Iterable[Finished]]
"""Those of the files of a folder that are still what the journal says."""
_FOLDERS = {"parts", "new", "old"}
_OURS = {LOCK, JOURNAL, f"{JOURNAL}.new", *_FOLDERS}
_LONGEST = 200  # bytes of a name of which that of the folder is made; most systems allow 255


@dataclass
class Workspace:
    """A folder in which an output is made. `kept` are files of an earlier run that are whole."""

    path: Path
    output: Path
    overwrite: bool
    sync: bool
    kept: Mapping[str, Finished] = field(default_factory=dict)

    @property
    def parts(self) -> Path:
        return self.path / "parts"

    @property
    def new(self) -> Path:
        return self.path / "new"

    @property
    def journal(self) -> Journal:
        return Journal(self.path / JOURNAL)

    def resume(self, identity: Mapping[str, Any], whole: Whole) -> None:
        """Keeps what an earlier run of the same `identity` left, as far as it is still `whole`.

        Raises `OutputError` where what it left is of another identity.
        """
        told = self.journal.read()
        if told is not None and told.identity != identity and told.finished:
            raise OutputError(_foreign(self.output, told.identity, identity))
        candidates = list(told.finished.values()) if told and told.identity == identity else []
        self.kept = {one.name: one for one in whole(self.new, candidates)}
        self.clear(self.kept)
        self.journal.begin(identity, list(self.kept.values()))

    def clear(self, kept: Mapping[str, Finished]) -> None:
        """Removes all that is not whole."""
        _remove(self.parts)
        for path in self.new.iterdir() if self.new.is_dir() else ():
            if path.name not in kept:
                _remove(path)
        for folder in (self.parts, self.new):
            folder.mkdir(exist_ok=True)

    def add(self, name: str, finished: Finished) -> None:
        """Takes a file from `parts` as whole."""
        (self.parts / name).rename(self.new / name)
        self.journal.record(finished)

    def publish(self) -> None:
        """Gives the new folder the output's name, at once. Raises `OutputError`, `OSError`."""
        if self.sync:
            storage.sync_file(self.new)
        if problem := storage.occupied(self.output, self.overwrite):
            raise OutputError(problem)
        publish(self.new, self.output, self.path / "old")
        if self.sync:
            storage.sync_file(self.output.parent)

    def remove(self) -> None:
        """Removes the folder, the lock last, for that is what others wait for."""
        recover(self.output, self.path / "old")
        for name in sorted(_OURS - {LOCK}):
            _remove(self.path / name)
        _remove(self.path / LOCK)
        with contextlib.suppress(OSError):  # another process has come for it already
            self.path.rmdir()


def place_of(output: Path) -> Path:
    """Where an output is made: beside it, so that a rename can publish it."""
    output, name = output.absolute(), output.absolute().name
    if len(os.fsencode(name)) > _LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return output.with_name(f".{name}.mapengine")


@contextlib.contextmanager
def workspace(
    output: Path,
    identity: Mapping[str, Any] | None = None,
    *,
    whole: Whole = lambda folder, files: (),
    overwrite: bool = False,
    sync: bool = True,
    restart: bool = False,
) -> Iterator[Workspace]:
    """A place to make `output` in, for this process alone; gone when the context ends well.

    What an earlier run of the same `identity` left is kept as far as it is still `whole`, unless it
    is to `restart`. And what is whole in the end stays for the next run, unless it is of no use to
    any. `output` is what it was until it is published.

    Raises `OutputError` where another process is at work on it, or a run of another identity was.
    """
    output, path = output.absolute(), place_of(output)
    _refuse_foreign(path)
    with locked(path):
        place = Workspace(path, output, overwrite, sync)
        recover(output, path / "old")
        _remove(path / "old")
        if restart:
            _remove(path / JOURNAL)
        try:
            place.resume(identity or {}, whole)
        except OSError as error:
            _leave(place, error)
            raise
        try:
            yield place
        except (PlanError, SourceChangedError):
            place.remove()
            raise
        except BaseException as error:
            _leave(place, error)
            raise
        place.remove()


def _leave(place: Workspace, error: BaseException) -> None:
    """Keeps what is whole, if anything is, and says so in a note to the error."""
    with contextlib.suppress(OSError):
        told = place.journal.read()
        if told and told.finished:
            place.clear(told.finished)
            error.add_note("the same command goes on from here")
            return
        place.remove()
        error.add_note("nothing is left behind")


def _refuse_foreign(path: Path) -> None:
    if not os.path.lexists(path):
        return
    is_folder = path.is_dir() and not path.is_symlink()
    inside = {entry.name for entry in path.iterdir()} if is_folder else {""}
    strange = sorted(inside - _OURS) or [name for name in inside if not _is_as_made(path / name)]
    if strange:
        what = f"it holds {min(strange)!r}" if min(strange) else "it is no folder"
        message = f"{path} is in the way: {what}, and no run of mapengine made that"
        raise OutputError(Problem("ME612", message, help="move it away"))


def _is_as_made(path: Path) -> bool:
    """Whether one of our names is a folder or a file of its own: a link leads elsewhere."""
    try:
        status = path.lstat()
    except FileNotFoundError:  # whose run is just coming to its end
        return True
    if path.name in _FOLDERS:
        return stat.S_ISDIR(status.st_mode)
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def _foreign(output: Path, told: Mapping[str, Any], wanted: Mapping[str, Any]) -> Problem:
    """Says in what an interrupted run was another one."""
    other = [name for name in wanted if told.get(name) != wanted[name]]
    message = f"an unfinished run into {output} was another one: {', '.join(other)} changed"
    return Problem("ME617", message, help="`--restart` discards what it left, and begins anew")


def _remove(path: Path) -> None:
    """Removes a file, a link, or a folder and all in it; nothing where nothing is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
