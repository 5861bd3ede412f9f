"""Commands in processes of their own, and what each one said and took.

A server forks them: see `server`. A hundred hostile files then take seconds.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 10
MEMORY = 768 * 2**20
"""What `--memory` allows, and 256 MiB: interpreter and libraries are in it."""


@dataclass(frozen=True)
class Done:
    """How a command ended, after how many seconds of a processor.

    `memory` is the most that its process had at any moment, in bytes.
    """

    status: int
    out: str
    err: str
    seconds: float
    memory: int


@cache
def _server() -> subprocess.Popen[str]:
    """It ends with this process, which closes its stdin."""
    return subprocess.Popen(
        [sys.executable, Path(__file__).with_name("server.py")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def mapengine(*words: object, cwd: Path, into: Path) -> Done:
    """`mapengine WORDS` in the folder `cwd`; its streams lie in the folder `into`."""
    server = _server()
    told = {"words": [*map(str, words)], "cwd": str(cwd), "into": str(into), "seconds": SECONDS}
    server.stdin.write(json.dumps(told) + "\n")
    server.stdin.flush()
    done = json.loads(server.stdout.readline())
    out, err = ((into / name).read_bytes().decode() for name in ("stdout", "stderr"))
    return Done(**done, out=out, err=err)


def refusal(done: Done) -> str:
    """What a command said that refused its input as it should: nothing else may have happened."""
    assert done.seconds < SECONDS, done
    assert done.status in (1, 2), done
    assert "Traceback" not in done.err and "internal error" not in done.err, done.err
    assert done.out == "" and 0 < len(done.err) < 5000, done
    assert all(line.isprintable() for line in done.err.splitlines()), done.err
    assert done.memory < MEMORY, f"{done.memory >> 20} MiB"
    return done.err


def sentence(done: Done) -> str:
    """What a refusal says is wrong, without the line it stands in and the way out."""
    lines = refusal(done).splitlines()
    beside = (n for n, line in enumerate(lines) if line.lstrip().startswith(("| ", "|", "= help")))
    return "\n".join(lines[: next(beside, len(lines))])
