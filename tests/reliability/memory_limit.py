"""A conversion in less memory than it could want: `memory_limit.py [--limit MB] [--times N]`.

The source has `times` the bytes of the limit, which the system holds the process to: what goes
beyond it is killed (a memory cgroup, version 1; root makes one). Half of the tensors are turned.
The source is holes, so that it takes no room; the output is written.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from reliability import runs

GROUPS = Path("/sys/fs/cgroup/memory")
ROWS, COLUMNS = 4096, 2048
MAPPING = """\
mapengine: 1
name: large
source: {tensors: model.safetensors}
target: {tensors: model.safetensors}
dims: {i: %d}
tensors:
  - plain.{i}
  - turned.{i}: {ops: [{transpose: [0, 1]}]}
"""


def convert(home: Path, limit: int, times: int, memory: str = "64MB") -> int:
    """The exit status of a conversion under the limit: -9 where that is too little."""
    count = max(limit * times // (2 * ROWS * COLUMNS * 2), 1)
    (home / "large.yaml").write_text(MAPPING % count)
    _write_holes(home / "source", count)
    words = [sys.executable, "-m", "mapengine", "run", "large.yaml", "-s", "source", "-o", "out",
             "--memory", memory, "--quiet"]  # fmt: skip
    with _group(limit) as group:
        joined = f'echo $$ > {group}/cgroup.procs && exec "$@"'
        return subprocess.run(
            ["sh", "-c", joined, "sh", *words], cwd=home, env=runs.environment()
        ).returncode


@contextmanager
def _group(limit: int) -> Iterator[Path]:
    group = GROUPS / f"mapengine-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit))
        yield group
    finally:
        group.rmdir()


def _write_holes(source: Path, count: int) -> None:
    size, header = ROWS * COLUMNS * 2, {}
    for n in range(2 * count):
        key = f"{('plain', 'turned')[n % 2]}.{n // 2}"
        at = {"data_offsets": [n * size, (n + 1) * size]}
        header[key] = {"dtype": "BF16", "shape": [ROWS, COLUMNS], **at}
    text = json.dumps(header).encode()
    source.mkdir()
    with (source / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + 2 * count * size)


def is_possible() -> bool:
    """Whether a memory cgroup can be made here."""
    try:
        with _group(2**30):
            return True
    except OSError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=192, help="MiB: 192 by default")
    parser.add_argument("--times", type=int, default=20, help="the source's size, in limits")
    arguments = parser.parse_args()
    if not is_possible():
        sys.exit("a memory cgroup cannot be made here: it takes root and version 1")
    started, limit = time.monotonic(), arguments.limit * 2**20
    with tempfile.TemporaryDirectory() as home:
        status = convert(Path(home), limit, arguments.times)
    took = time.monotonic() - started
    print(f"{arguments.times} times {arguments.limit} MiB in {took:.0f} s: exit status {status}")


if __name__ == "__main__":
    main()
