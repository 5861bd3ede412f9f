"""Where the contestants run: a work folder on a file system, its room, and its page cache."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mapengine.report.units import size_text

DISK = Path(__file__).parent / "scratch"
MEMORY = Path("/dev/shm")
_SPARE = 1.05
_DROP_CACHES = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True, slots=True)
class Place:
    """A fresh folder of ours, and the kind of file system it is on."""

    folder: Path
    filesystem: str
    name: str

    @property
    def in_memory(self) -> bool:
        return self.filesystem in ("tmpfs", "ramfs")

    def lacks(self, files: int, memory: int = 0) -> str | None:
        """Why so many more bytes of files, and of memory, do not fit here; None where they do."""
        free = shutil.disk_usage(self.folder).free
        if free < files * _SPARE:
            return f"no room: {size_text(free)} free, {size_text(round(files * _SPARE))} needed"
        needed = round((memory + self.in_memory * files) * _SPARE)
        if memory_available() < needed:
            available = size_text(memory_available())
            return f"no memory: {available} available, {size_text(needed)} needed"
        return None


@contextlib.contextmanager
def opened(folders: Sequence[Path]) -> Iterator[list[Place]]:
    """A fresh folder within each of these, gone again at the end, as are those it had to make."""
    with contextlib.ExitStack() as stack:
        places: list[Place] = []
        for folder in folders:
            if not folder.exists():
                folder.mkdir(parents=True)
                stack.callback(_remove_empty, folder)
            inside = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=folder))
            kind = filesystem(folder)
            alike = sum(place.filesystem == kind for place in places)
            name = f"{kind} {alike + 1}" if alike else kind
            places.append(Place(Path(inside), kind, name))
        yield places


def default_folders() -> list[Path]:
    """A folder on the disk, and the tmpfs where there is one."""
    return [DISK, MEMORY] if filesystem(MEMORY) == "tmpfs" else [DISK]


def filesystem(folder: Path) -> str:
    """Its type, as the kernel names it."""
    path = folder.resolve()
    kinds: dict[Path, str] = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted, kind, *_ = line.split()
        kinds[Path(mounted)] = kind  # the last mount on a path is the one that is seen
    above = [path, *path.parents]
    return next((kinds[parent] for parent in above if parent in kinds), "unknown")


def memory_available() -> int:
    """Bytes that can be had without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def may_drop_caches() -> bool:
    return os.access(_DROP_CACHES, os.W_OK)


def claim(size: int) -> None:
    """Takes memory and gives it back: a virtual machine's may be lent to its host, and slow to get.

    For some seconds it is the machine's own. Without this, whoever runs first pays for the next.
    """
    size = min(size, memory_available() * 3 // 4)
    mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def forget(folder: Path) -> None:
    """Takes a folder's files out of the page cache, and with leave everything else too."""
    os.sync()
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    if may_drop_caches():
        _DROP_CACHES.write_text("3")


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
