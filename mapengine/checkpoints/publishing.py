"""One folder in the place of another, so that at no moment there is a half of either."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}


def publish(new: Path, output: Path, old: Path) -> None:
    """Gives `new` the name `output`. A folder that has it, and is not empty, becomes `old`.

    In one step where the system can exchange two names; else `output` is absent for a moment. What
    was not done to the end shows in `old`: see `recover`. Raises `OSError`.
    """
    if not (output.is_dir() and any(output.iterdir())):
        new.rename(output)  # which fails on a folder that is not empty any more
    elif _exchange(new, output):
        new.rename(old)
    else:
        output.rename(old)
        try:
            new.rename(output)
        except OSError:
            recover(output, old)
            raise


def recover(output: Path, old: Path) -> None:
    """Puts back what `publish` took away and could not replace. Raises `OSError`."""
    if old.is_dir() and not os.path.lexists(output):
        old.rename(output)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two names at once; False where the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    if rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))
