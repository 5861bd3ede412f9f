"""Looking at files again when they change: the loop of `validate --watch`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

SECONDS = 0.3
"""Between two looks; an editor's save is seen at once, and polling costs nothing to speak of."""


def rest() -> bool:
    """Waits, and goes on."""
    time.sleep(SECONDS)
    return True


def watch(
    find: Callable[[], Iterable[Path]],
    tell: Callable[[list[Path]], None],
    wait: Callable[[], bool] = rest,
) -> None:
    """Calls `tell` with the files that are new or have changed, as long as `wait` says to go on.

    `find` is asked each time, so that new files of a folder are seen.
    """
    seen: dict[Path, tuple[int, ...] | None] = {}
    while True:
        now = {file: _stamp(file) for file in find()}
        there = {file for file, stamp in now.items() if stamp or file not in seen}
        changed = [file for file in now if file in there and seen.get(file, ()) != now[file]]
        seen |= {file: now[file] for file in there}  # what is away is just being replaced
        if changed:
            tell(changed)
        if not wait():
            return


def _stamp(file: Path) -> tuple[int, ...] | None:
    """What differs once a file has been written again; None while it is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
