"""Making a file at its final size before its data is known."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

_CANNOT_RESERVE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


def new_file(path: Path) -> BinaryIO:
    """A new file, its mode the umask's choice; refuses one that exists, and any symlink."""
    return path.open("x+b")


def reserve(file: BinaryIO, size: int) -> None:
    """Makes the file `size` bytes and claims the space, so that a full disk is noticed now."""
    file.flush()
    file.truncate(size)
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in _CANNOT_RESERVE:
            raise
