"""Which links are followed: those that stay in their folder, and those of the Hub's cache.

    models--NAME/
        blobs/HASH                                the files
        snapshots/REVISION/FILE -> ../../blobs/HASH

Whoever made a checkpoint chose where its links lead. A link to a key or a password of whoever reads
it would be read, and carried over, as part of the checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from mapengine.checkpoints import storage
from mapengine.errors import CheckpointError, Problem
from mapengine.locations import URL, Location

_HELP = "copy what it leads to into the folder; or follow every link, with --follow-links"


@dataclass(frozen=True, slots=True)
class SourceFolder:
    """A folder that is read, and whether the links in it may lead anywhere."""

    path: Location
    follow_links: bool = False

    def open(self, name: str) -> BinaryIO:
        """A file of it, for reading. Raises `CheckpointError`."""
        return open_file(self.path / name, self.follow_links)

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is not of this machine: then nothing of it is read twice without need."""
        return isinstance(self.path, URL)

    def size(self, name: str) -> int:
        """The bytes of a file of it. Raises `CheckpointError`, `OSError`."""
        if isinstance(self.path, URL):
            from mapengine.checkpoints.remote import connect

            return connect(self.path).entry(name).size
        return (self.path / name).stat().st_size

    def changed(self, name: str) -> int | None:
        """When a file of it last changed, in nanoseconds; None where nobody can tell."""
        if isinstance(self.path, URL):
            from mapengine.checkpoints.remote import connect

            return connect(self.path).entry(name).changed_ns
        status = (self.path / name).stat()
        return max(status.st_mtime_ns, status.st_ctime_ns)


def open_file(path: Location, follow_links: bool = False) -> BinaryIO:
    """A regular file, for reading; what the links of its folder may be is said above.

    Raises `CheckpointError`. Devices and pipes are refused before they are opened.
    """
    if isinstance(path, URL):
        from mapengine.checkpoints.remote import connect

        return cast(BinaryIO, connect(path.parent).open(path.name))
    if path.is_symlink():
        path = _followed(path, follow_links)
    return storage.open_file(path)


def check_links(folder: SourceFolder, names: Iterable[str]) -> Iterator[Problem]:
    """The links among the files of a folder that are not followed, whoever wants to read them."""
    if isinstance(folder.path, URL):
        return
    for path in (folder.path / name for name in sorted(names)):
        if path.is_symlink():
            try:
                _followed(path, folder.follow_links)
            except CheckpointError as error:
                yield from error.problems


def _followed(link: Path, follow_links: bool) -> Path:
    """Where a link leads in the end."""
    try:
        folder = Path(os.path.realpath(link.parent, strict=True))
        target = Path(os.path.realpath(link, strict=True))
    except OSError as error:
        message = f"{link} is a link that leads to nothing: {os.strerror(error.errno or 0)}"
        raise CheckpointError(Problem("ME501", message)) from None
    if follow_links or folder in target.parents or target.parent == _blobs(folder):
        return target
    message = f"{link} is a link that leads out of its folder, to {target}"
    raise CheckpointError(Problem("ME518", message, help=_HELP))


def _blobs(folder: Path) -> Path | None:
    """Where the Hub's cache has the files of a snapshot, if the folder lies in one."""
    for revision in (folder, *folder.parents):
        if revision.parent.name == "snapshots":
            return revision.parent.parent / "blobs"
    return None
