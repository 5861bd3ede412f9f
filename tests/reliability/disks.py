"""Small disks in memory, for who may mount them."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path


@contextmanager
def disk(at: Path, size: int, *options: str) -> Iterator[Path]:
    """A file system of so many bytes, mounted at a folder that is made."""
    at.mkdir(exist_ok=True)
    told = ",".join([f"size={size}", *options])
    subprocess.run(["mount", "-t", "tmpfs", "-o", told, "tmpfs", at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


def remount(at: Path, *options: str) -> None:
    subprocess.run(["mount", "-o", ",".join(["remount", *options]), at], check=True)


@cache
def is_possible() -> bool:
    if os.geteuid():
        return False
    with tempfile.TemporaryDirectory() as home:
        try:
            with disk(Path(home, "disk"), 4096):
                return True
        except subprocess.CalledProcessError:
            return False
