"""One run at a time at an output elsewhere: an object that only one can make, and must keep alive.

Locks of the system end at the machine. So a run writes an object that must be new, and writes it
again every now and then; one that was not written for long is that of a run that was killed.
Whoever takes it over replaces just the one that he has seen, so that two cannot.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from mapengine.checkpoints.uploads import Uploads
from mapengine.errors import OutputError, Problem, one_line

LEASE = "lease.json"
BEAT, DEAD = 20.0, 120.0
"""Seconds between two signs of life, and of silence after which nobody is there."""


class Lease:
    """What this run holds. `check` raises once another has taken it over."""

    def __init__(self, uploads: Uploads, name: str, told: Mapping[str, Any]) -> None:
        self._uploads = uploads
        self._name = name
        self._told = {**told, "token": uuid.uuid4().hex}
        self._tag = ""
        self.is_lost = False
        self._end = threading.Event()

    def take(self, instead_of: str | None = None) -> None:
        """Makes it, or replaces the one with a tag, which is empty where the place has no tags.

        Raises `FileExistsError` where another has it, or has taken it since.
        """
        data, new = json.dumps(self._told).encode(), instead_of is None
        self._tag = self._uploads.put(self._name, data, new=new, instead_of=instead_of or "")

    def check(self) -> None:
        if self.is_lost:
            message = f"{self._uploads.folder.url} was taken over by another run"
            raise OutputError(Problem("ME616", message, help="let one run at a time write it"))

    def keep(self) -> None:
        """Gives signs of life until the end."""
        while not self._end.wait(BEAT):
            try:
                self.take(self._tag)
            except FileExistsError:
                self.is_lost = True
                return
            except Exception:
                continue

    def give_back(self) -> None:
        if not self.is_lost:
            self._uploads.remove([self._name])

    def stop(self) -> None:
        self._end.set()


@contextlib.contextmanager
def leased(uploads: Uploads, below: str, restart: bool) -> Iterator[Lease]:
    """The output for this run alone. Raises `OutputError` where another is at work there.

    With `restart` whoever holds it is believed to be dead.
    """
    name = f"{below}/{LEASE}"
    here = {"process": os.getpid(), "host": socket.gethostname()}
    lease = Lease(uploads, name, here)
    try:
        lease.take()
    except FileExistsError:
        _take_over(uploads, name, lease, restart)
    beating = threading.Thread(target=lease.keep, daemon=True)
    beating.start()
    try:
        yield lease
    finally:
        lease.stop()
        beating.join()
        lease.give_back()


def _take_over(uploads: Uploads, name: str, lease: Lease, restart: bool) -> None:
    told, tag, silent = _seen(uploads, name)
    if restart or silent > DEAD or _is_gone(told):
        with contextlib.suppress(FileExistsError):
            lease.take(tag)
            return
        told, tag, silent = _seen(uploads, name)
    who = one_line(f"process {told.get('process')} on {told.get('host')}")
    message = f"{uploads.folder.url} is at work for {who}, last heard of {silent:.0f} s ago"
    help = f"wait for it; after {DEAD:.0f} s of silence, or with --restart, it counts as dead"
    raise OutputError(Problem("ME616", message, help=help))


def _seen(uploads: Uploads, name: str) -> tuple[dict[str, Any], str, float]:
    """Who holds it, its tag, and for how long it was silent, by the clock of the place."""
    entry = uploads.entry(name)
    if entry is None:  # given back in between
        return {}, "", DEAD + 1
    return uploads.read(name), entry.tag or "", uploads.silence(name)


def _is_gone(told: Mapping[str, Any]) -> bool:
    """Whether the holder was a process of this machine that is there no more."""
    if told.get("host") != socket.gethostname() or type(told.get("process")) is not int:
        return False
    try:
        os.kill(told["process"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
