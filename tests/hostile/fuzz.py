"""Inputs at random for as long as one likes: `make fuzz FUZZ_MINUTES=10`.

Each target has its turn a second at a time. What crashes one, hangs, or takes the memory is kept in
`crashers/`, where the tests try it again; the table in the end says how much was tried.
"""

import argparse
import contextlib
import hashlib
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hostile.targets import TARGETS, Input
from mapengine.errors import MapengineError

CRASHERS = Path(__file__).parent / "crashers"
SECONDS = 10
MEMORY = 2 * 2**30


class Hang(BaseException):
    """An input takes longer than any may."""


def is_read(target: str, given: Input) -> bool:
    """Whether an input is read; raises whatever is no `MapengineError`."""
    try:
        with _in_time():
            TARGETS[target].attempt(given)
    except MapengineError:
        return False
    return True


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Hang(f"more than {SECONDS} seconds")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of a processor: the machine may be busy
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def crashers() -> list[Path]:
    """The inputs that once were not taken as they should: a folder for each target."""
    return sorted(CRASHERS.glob("*/*.txt"))


def read_crasher(path: Path) -> Input:
    """A text as it is, bytes as the text of their hexadecimal digits."""
    text = path.read_bytes().decode(errors="surrogateescape")
    return bytes.fromhex(text[4:]) if text.startswith("hex:") else text


def _keep(target: str, given: Input) -> Path:
    raw = given if isinstance(given, bytes) else given.encode(errors="surrogateescape")
    path = CRASHERS / target / f"{hashlib.sha256(raw).hexdigest()[:8]}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"hex:" + raw.hex(" ", 40).encode() if isinstance(given, bytes) else raw)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    parser.add_argument("targets", nargs="*", default=list(TARGETS))
    options = parser.parse_args()
    tried, read, crashed = Counter[str](), Counter[str](), Counter[str]()
    taken = Counter[str]()
    for target in options.targets:  # what they make once does not count
        is_read(target, TARGETS[target].make(random.Random(0)))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    print(f"seed {options.seed}", flush=True)
    end = time.monotonic() + 60 * options.minutes
    while time.monotonic() < end:
        for target in options.targets:
            started = time.monotonic()
            while time.monotonic() < started + 1:
                chance = random.Random(f"{options.seed} {target} {tried[target]}")
                given = TARGETS[target].make(chance)
                tried[target] += 1
                try:
                    read[target] += is_read(target, given)
                except (Exception, Hang) as error:
                    crashed[target] += 1
                    said = f"{type(error).__name__}: {error}"[:200]
                    print(f"{target}: {said}; kept in {_keep(target, given)}", flush=True)
            taken[target] += time.monotonic() - started
    print(f"{'target':16} {'inputs':>10} {'a second':>9} {'read':>9} {'crashes':>8}")
    for target in options.targets:
        rate = tried[target] / taken[target]
        print(f"{target:16} {tried[target]:10,} {rate:9,.0f} {read[target]:9,} {crashed[target]:8}")
    return 1 if crashed.total() else 0


if __name__ == "__main__":
    sys.exit(main())
