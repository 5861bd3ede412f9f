"""The folder beside an output in which it is made: locked, journaled, published by one rename.

    .OUTPUT.mapengine/
        lock        of the process at work
        journal     the files that are whole
        parts/      the files that are not
        new/        the output, as far as it is whole; this is what is published
        old/        what was there before, on its way out
        dropped/    unfinished files on their way out

An output that a kill or a power cut left unfinished is gone on with from there. Where several
processes share the work, each has a folder of its own within `parts/`: see `part_place`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mapengine.checkpoints import storage
from mapengine.checkpoints.journal import JOURNAL, Finished, Journal, Told
from mapengine.checkpoints.locks import LOCK, locked
from mapengine.checkpoints.publishing import publish, recover
from mapengine.errors import OutputError, PlanError, Problem, SourceChangedError
from mapengine.locations import Location

Whole = Callable[[Path, Sequence[Finished]], Iterable[Finished]]
"""Those of the files of a folder that are still what the journal says."""
JOB = "plan.json"
"""What the parts of an output have in common, for who publishes them."""
_FOLDERS = {"parts", "new", "old", "dropped"}
_OURS = {LOCK, JOURNAL, f"{JOURNAL}.new", JOB, f"{JOB}.new", *_FOLDERS}
_RESTART = "`run --restart`, without a part, discards what it left, and begins anew"
_LONGEST = 200  # bytes of a name of which that of the folder is made; most systems allow 255


@dataclass
class Workspace:
    """A folder in which an output is made. `kept` are files of an earlier run that are whole."""

    path: Path
    output: Path
    overwrite: bool
    sync: bool
    kept: Mapping[str, Finished] = field(default_factory=dict)
    has_begun: bool = False

    @property
    def parts(self) -> Path:
        return self.path / "parts"

    @property
    def new(self) -> Path:
        return self.path / "new"

    @property
    def made(self) -> Mapping[str, Finished]:
        """The files that are whole by now."""
        told = self.journal.read()
        return told.finished if told else {}

    @property
    def journal(self) -> Journal:
        return Journal(self.path / JOURNAL)

    def told(self) -> list[Told]:
        """What all journals of the place say: its own, and those of its parts."""
        folders = [
            one for one in self.path.glob("parts/*") if one.is_dir() and not one.is_symlink()
        ]
        journals = [self.path, *sorted(folders)]
        told = [Journal(folder / JOURNAL).read() for folder in journals]
        return [one for one in told if one is not None]

    def resume(self, identity: Mapping[str, Any], whole: Whole) -> None:
        """Keeps what earlier runs of the same `identity` left, as far as it is still `whole`.

        Raises `OutputError` where what they left is of another identity.
        """
        told = self.of_identity(identity)
        candidates = [one for each in told for one in each.finished.values()]
        self.kept = {one.name: one for one in map(self.synced, whole(self.new, candidates))}
        self.journal.begin(identity, list(self.kept.values()))
        self.has_begun = True
        self.clear(self.kept)
        if not told:
            discard(self.path / JOB)  # of parts that have left nothing

    def synced(self, one: Finished) -> Finished:
        """A whole file, on the disk if that is wanted."""
        if not self.sync or one.synced:
            return one
        storage.sync_file(self.new / one.name)
        return replace(one, synced=True)

    def of_identity(self, identity: Mapping[str, Any]) -> list[Told]:
        """What journals of that identity say. Raises `OutputError` where one of another counts."""
        told = self.told()
        for one in told:
            if one.identity != identity and one.finished:
                raise OutputError(foreign(self.output, one.identity, identity))
        return [one for one in told if one.identity == identity]

    def clear(self, kept: Container[str]) -> None:
        """Removes all that is not whole, even from under a process that has been given up."""
        dropped = self.path / "dropped"
        discard(dropped)
        with contextlib.suppress(FileNotFoundError):
            self.parts.rename(dropped)
            discard(dropped)
        for path in self.new.iterdir() if self.new.is_dir() else ():
            if path.name not in kept:
                discard(path)
        for folder in (self.parts, self.new):
            folder.mkdir(exist_ok=True)

    def add(self, name: str, finished: Finished) -> None:
        """Takes a file from `parts` as whole."""
        self.take(self.parts / name, finished)

    def take(self, path: Path, finished: Finished) -> None:
        """Takes a file that is whole, wherever on this file system it is."""
        path.rename(self.new / finished.name)
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
            discard(self.path / name)
        discard(self.path / LOCK)
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
    refuse_foreign(path)
    with locked(path):
        place = Workspace(path, output, overwrite, sync)
        recover(output, path / "old")
        discard(path / "old")
        try:
            if restart:
                discard(path / JOURNAL)
                place.clear(())
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
        if finished := {name for told in place.told() for name in told.finished}:
            if place.has_begun:  # else parts have what is whole, and it is left to them
                place.clear(finished)
            error.add_note("the same command goes on from here")
            return
        place.remove()
        error.add_note("nothing is left behind")


def refuse_foreign(path: Path) -> None:
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


def foreign(output: Location, told: Mapping[str, Any], wanted: Mapping[str, Any]) -> Problem:
    """Says in what an interrupted run was another one."""
    other = [name for name in wanted if told.get(name) != wanted[name]]
    message = f"an unfinished run into {output} was another one: {', '.join(other)} changed"
    return Problem("ME617", message, help=_RESTART)


def discard(path: Path) -> None:
    """Removes a file, a link, or a folder and all in it; nothing where nothing is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
