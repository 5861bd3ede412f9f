"""All that touches files that are read or written: open, list, read and copy ranges, sync."""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import shutil
import stat
from pathlib import Path
from typing import BinaryIO, Protocol

from mapengine.checkpoints.ranges import RangedFile
from mapengine.errors import CheckpointError, OutputError, Problem, suggest
from mapengine.locations import URL, Location
from mapengine.planning.budget import CHUNK
from mapengine.specs import RECEIPT

LARGEST_TEXT = 64 * 2**20
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
}


class Elsewhere(Protocol):
    """A file that is not on this machine."""

    def read_at(self, at: int, data: memoryview) -> None:
        """Fills `data` from an offset."""


Source = int | Elsewhere
"""What is read from by offset: the descriptor of a file, where it has one."""


class ReadError(Exception):
    """A source file cannot be read, or not as far as it should; the message is the reason."""


def list_files(folder: Location) -> frozenset[str]:
    """The names of all in a folder but the folders in it. Raises `CheckpointError`.

    Pipes, and links to nothing, are among them: who wants to read one is told what it is.
    """
    if isinstance(folder, URL):
        from mapengine.checkpoints.remote import connect

        return frozenset(connect(folder).entries())
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if not _is_folder(entry))
    except NotADirectoryError:
        message = f"{folder} is a file, where the folder of a checkpoint is wanted"
        help = f"name its folder: {folder.parent}"
        raise CheckpointError(Problem("ME501", message, help=help)) from None
    except FileNotFoundError as error:
        raise CheckpointError(
            Problem("ME501", _reason(error, folder), help=_elsewhere(folder))
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(Problem("ME501", _reason(error, folder))) from None


def _elsewhere(folder: Path) -> str:
    """Where a folder that is not there may be: beside, or on the Hub."""
    try:
        near = suggest(folder.name, [one.name for one in folder.parent.iterdir() if one.is_dir()])
    except OSError:
        near = ""
    parts = folder.parts
    hub = f"of the Hub it is hf://{folder}" if len(parts) == 2 and parts[0] not in "./.." else ""
    return near or hub or f"{folder.absolute()} is where it was looked for"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, say
        return False


def open_file(path: Path) -> BinaryIO:
    """A regular file, for reading. Raises `CheckpointError`; links, devices, pipes are refused.

    They are refused before they are opened, for that can be an act: it winds a tape back.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        _check_regular(path, os.lstat(path))
        file = os.fdopen(os.open(path, flags), "rb")
    except (OSError, ValueError) as error:  # a zero byte in a name is a ValueError
        raise CheckpointError(Problem("ME501", _reason(error, path))) from None
    try:
        _check_regular(path, os.fstat(file.fileno()))  # it may have been replaced in between
    except CheckpointError:
        file.close()
        raise
    return file


def _check_regular(path: Path, status: os.stat_result) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        message = f"{path} is not a regular file: it is {_KINDS.get(kind, 'of another kind')}"
        raise CheckpointError(Problem("ME501", message))


def stamp(file: BinaryIO) -> tuple[int | str, ...]:
    """What tells an open file from another, and from itself after a change."""
    if isinstance(file, RangedFile):
        return file.stamp
    status = os.fstat(file.fileno())
    times = status.st_mtime_ns, status.st_ctime_ns
    return status.st_dev, status.st_ino, status.st_size, *times


def size_and_time(file: BinaryIO) -> tuple[int, int]:
    """Bytes, and nanoseconds of the last change to them."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def read_text(file: BinaryIO, path: Location) -> str:
    """The whole of a small text file. Raises `CheckpointError` for a large or non-UTF-8 one."""
    size = file.size if isinstance(file, RangedFile) else os.fstat(file.fileno()).st_size
    if size > LARGEST_TEXT:
        raise CheckpointError(Problem("ME501", f"{path} is larger than {LARGEST_TEXT:,} bytes"))
    raw = file.read(size + 1)  # and no more: some files of the system say 0, and have no end
    if len(raw) > size:
        raise CheckpointError(Problem("ME501", f"{path} is larger than it says"))
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(Problem("ME501", f"{path} is not UTF-8: {error}")) from None


def read_at(source: Source, at: int, data: memoryview) -> None:
    """Fills `data` from an offset, however many calls it takes. Raises `ReadError`."""
    if not isinstance(source, int):
        source.read_at(at, data)
        return
    while len(data):
        done = _read(source, at, data)
        data, at = data[done:], at + done


def _read(source: int, at: int, data: memoryview) -> int:
    try:
        done = os.preadv(source, [data], at)
    except OSError as error:
        raise ReadError(_why(error)) from error
    if done == 0:
        raise ReadError("it has become shorter")
    return done


def copy_range(source: Source, at: int, target: int, to: int, count: int, room: memoryview) -> None:
    """Copies bytes from file to file. Raises `ReadError` for the source, `OSError` for the target.

    Where the pages of the two line up, the kernel does it, and some file systems only note that
    they share them. Where they do not, it is slower at that than reading into `room` and writing.
    That is done too where the kernel cannot, for whatever reason: it tells which file is to blame.
    """
    if not isinstance(source, int):
        _copy_here(source, at, target, to, count, room)
        return
    in_kernel = (at - to) % mmap.PAGESIZE == 0 and hasattr(os, "copy_file_range")
    while count:
        done = 0
        if in_kernel:
            with contextlib.suppress(OSError):
                done = os.copy_file_range(source, target, count, at, to)
            in_kernel = done > 0
        if not in_kernel:
            data = room[: min(count, _to_boundary(to))]
            done = _read(source, at, data)
            write_at(target, to, data[:done])
        at, to, count = at + done, to + done, count - done


def _copy_here(
    source: Elsewhere, at: int, target: int, to: int, count: int, room: memoryview
) -> None:
    for done in range(0, count, len(room)):
        data = room[: min(len(room), count - done)]
        source.read_at(at + done, data)
        write_at(target, to + done, data)


def write_at(target: int, to: int, data: memoryview) -> None:
    """Writes all of `data` at an offset, however many calls it takes."""
    while len(data):
        done = os.pwrite(target, data[: _to_boundary(to)], to)
        data, to = data[done:], to + done


def _to_boundary(to: int) -> int:
    """The bytes until the next place in a file where a write had better end."""
    return CHUNK - to % CHUNK


def start_writing(target: int, start: int, length: int) -> None:
    """Has the system begin to write a range to the disk, so that syncing waits less at the end.

    On Linux that is what advising against keeping the range does while it is not yet written.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(target, start, length, os.POSIX_FADV_DONTNEED)


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_output(output: Path, source: Location | None, overwrite: bool) -> None:
    """Raises `OutputError` unless a folder can be published at `output`.

    Of an output that a run has written the next one decides: it may be the same, and finished.
    """
    parent = output.absolute().parent
    problem = _unnameable(output) or _nested(output, source)
    problem = problem or occupied(output, overwrite, unless_ours=True)
    if not problem and not parent.is_dir():
        problem = Problem("ME612", f"{parent} is not a folder", help="create it first")
    if not problem and not os.access(parent, os.W_OK | os.X_OK):
        problem = Problem("ME612", f"{parent} cannot be written to")
    if problem:
        raise OutputError(problem)


def check_url(output: URL, source: Location | None) -> None:
    """Raises `OutputError` where a URL cannot be written because of where the source is."""
    if isinstance(source, URL) and f"{output}/".startswith(f"{source}/"):
        message = f"the output {output} and the source {source} lie one within the other"
        raise OutputError(Problem("ME611", message, help="name a folder beside the source"))


def check_space(folder: Path, needed: int) -> None:
    """Raises `OutputError` unless there is room for `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        left = f"{needed - free:,} are missing"
        message = f"{folder} has {free:,} bytes free, {needed:,} are needed: {left}"
        raise OutputError(Problem("ME613", message, help="make room, or name another output"))


def check_file_size(name: str, needed: int) -> None:
    """Raises `OutputError` where the system lets this process write no file of so many bytes."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit != resource.RLIM_INFINITY and limit < needed:
        message = f"{name} is to be {needed:,} bytes, and no file may be larger than {limit:,}"
        help = "`ulimit -f` is that limit; or take a smaller --max-shard-size"
        raise OutputError(Problem("ME613", message, help=help))


def _unnameable(output: Path) -> Problem | None:
    if "\0" in str(output) or not output.absolute().name:
        return Problem("ME612", f"{str(output)!r} is not a path for a folder")
    return None


def occupied(output: Path, overwrite: bool, unless_ours: bool = False) -> Problem | None:
    """What stands at `output` and may not be replaced, if anything does.

    With `unless_ours` what a run has written is passed over.
    """
    if not os.path.lexists(output):
        return None
    if output.is_symlink() or not output.is_dir():
        return Problem("ME611", f"{output} is there and is not a folder", help="name another path")
    entries = {entry.name for entry in output.iterdir()}
    if not entries or (unless_ours and RECEIPT in entries):
        return None
    if not overwrite:
        ours = ", or replace it with --overwrite" if RECEIPT in entries else ""
        return Problem("ME611", f"{output} is not empty", help=f"name another path{ours}")
    if RECEIPT not in entries:
        message = f"{output} was not written by mapengine (it holds no {RECEIPT})"
        return Problem("ME611", message, help="remove it yourself, or name another path")
    return None


def _nested(output: Path, source: Location | None) -> Problem | None:
    if source is None or isinstance(source, URL):
        return None
    inside, outside = (Path(os.path.realpath(path)) for path in (output, source))
    if inside == outside or inside in outside.parents or outside in inside.parents:
        message = f"the output {output} and the source {source} lie one within the other"
        return Problem("ME611", message, help="name a path beside the source")
    return None


def _reason(error: OSError | ValueError, path: Path) -> str:
    return f"{path}: {_why(error)}"


def _why(error: OSError | ValueError) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else str(error)
