"""What `infer` finds of what official scripts do: `official.py [--venv DIR] [NAME ...]`.

The sources of the library's cases are made, the official scripts run on them in the environment of
`library/regenerate.py`, and from each pair of folders a mapping is inferred: nothing of mapengine
has touched the target. Prints a line for each case, and what is not explained.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from golden.regenerate import official_python  # noqa: E402
from library.cases import CASES  # noqa: E402

from mapengine.errors import MapengineError  # noqa: E402
from mapengine.inference.infer import infer  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=Path(".venv-4.45.2"), metavar="DIR")
    parser.add_argument("names", nargs="*", metavar="NAME", help="mappings; all by default")
    arguments = parser.parse_args()
    python = official_python(arguments.venv)
    cases = [c for c in CASES.values() if not arguments.names or c.mapping in arguments.names]
    done = tried = 0
    for mapping, listed in groupby(cases, key=lambda case: case.mapping):
        with tempfile.TemporaryDirectory() as scratch:
            folders = converted(python, mapping, list(listed), Path(scratch))
            done += sum(report(name, *pair) for name, pair in folders.items())
            tried += len(folders)
    print(f"{done} of {tried} bit for bit")
    return tried - done


def converted(python: Path, mapping: str, cases: list, scratch: Path) -> dict:
    """The folders of each case, source and what its script made; none where it will not run."""
    words, folders = [], {}
    for case in cases:
        source, output = scratch / f"{case}-source", scratch / str(case)
        case.write_source(source)
        words += [mapping, source, output, json.dumps(case.script)]
        folders[str(case)] = source, output
    script = HERE.parent / "library" / "run_scripts.py"
    run = subprocess.run([python, script, *words], capture_output=True)
    if run.returncode:
        print(f"{mapping}: its script does not run here", flush=True)
    return {} if run.returncode else folders


def report(name: str, source: Path, output: Path) -> bool:
    start = time.perf_counter()
    try:
        found = infer(source, output)
    except MapengineError as error:
        print(f"{name}: {error}", flush=True)
        return False
    seconds = time.perf_counter() - start
    told = (
        f"{found.tensors} of {found.of_tensors} tensors, {found.fields} of {found.of_fields} values"
    )
    print(f"{name}: {'yes' if found.complete else 'NO'}, {told}, {seconds:.1f} s", flush=True)
    for listed in (found.unexplained, found.differences, map(str, found.problems)):
        for one in list(listed)[:3]:
            print(f"    {one}", flush=True)
    return found.complete


if __name__ == "__main__":
    sys.exit(main())
