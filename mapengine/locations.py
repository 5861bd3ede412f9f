"""Where a checkpoint is: a path of this machine, or a URL of another place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from mapengine.errors import CheckpointError, Problem

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::[A-Za-z][A-Za-z0-9+.-]*)*://")
_PASSWORD = re.compile(r"(://[^/@:]*):[^/@]*@")


@dataclass(frozen=True, slots=True)
class URL:
    """A folder or a file of another place. Joins, and is told, as a path is.

    What tells a secret is never in it: see `location`.
    """

    text: str

    def __truediv__(self, name: str) -> URL:
        return URL(f"{self.text}/{name}")

    def __str__(self) -> str:
        return self.text

    @property
    def scheme(self) -> str:
        return self.text.partition("://")[0].rpartition("::")[2].lower()

    @property
    def name(self) -> str:
        return self.text.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> URL:
        return URL(self.text.rpartition("/")[0])


Location = Path | URL


def is_url(text: str) -> bool:
    """Whether a text is a URL, and no path: `s3://bucket/folder`."""
    return _URL.match(text) is not None


def location(place: str | Path | URL) -> Location:
    """A path or URL from what a user says. Raises `CheckpointError`.

    A URL may hold no password and no query, which are where keys and signatures stand: they would
    be told on with it. The tools of each kind of place have places of their own for these.
    """
    if not isinstance(place, str):
        if not isinstance(place, Path | URL):  # None would be the folder in which we happen to be
            raise TypeError(f"a place is a path, or a URL as text, not {place!r}")
        return place
    if not is_url(place):
        return Path(place)
    if _PASSWORD.search(place) or "?" in place or "#" in place:
        shown = _PASSWORD.sub(r"\1@", re.split("[?#]", place)[0])
        message = f"{shown}: a URL holds no password, no query and no fragment"
        help = "credentials belong where the tools of the place look for them: see docs/remote.md"
        raise CheckpointError(Problem("ME520", message, help=help))
    if place.lower().startswith("file://"):
        return Path(unquote(urlsplit(place).path))
    if not place.partition("://")[2].strip("/"):
        raise CheckpointError(Problem("ME520", f"{place} names no folder"))
    return URL(place.rstrip("/"))
