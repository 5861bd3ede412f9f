"""Records what the official scripts make of every case: `regenerate.py [--venv DIR] [NAME ...]`.

The scripts ran last in transformers 4.45.2, in the environment that `golden/regenerate.py` makes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from golden import compare  # noqa: E402
from golden.regenerate import TRANSFORMERS, official_python, without_ignored  # noqa: E402
from golden.sources import write_json  # noqa: E402

from library import records  # noqa: E402
from library.cases import CASES  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=Path(".venv-4.45.2"), metavar="DIR")
    parser.add_argument("names", nargs="*", metavar="NAME", help="mappings; all by default")
    arguments = parser.parse_args()
    python = official_python(arguments.venv)
    cases = [c for c in CASES.values() if not arguments.names or c.mapping in arguments.names]
    with tempfile.TemporaryDirectory() as scratch:
        words, folders = [], {}
        for case in cases:
            source, output = Path(scratch, f"{case}-source"), Path(scratch, str(case))
            case.write_source(source)
            words += [case.mapping, source, output, json.dumps(case.script)]
            folders[str(case)] = source, output
        subprocess.run([python, HERE / "run_scripts.py", *words], check=True, stdout=sys.stderr)
        found: dict[str, dict[str, object]] = {}
        for case in cases:
            source, output = folders[str(case)]
            found.setdefault(case.mapping, {})[case.name] = {
                "source": records.digest_of_source(source),
                "tensors": compare.digests_of(output),
                "config": read_if_there(output / "config.json"),
                "generation_config": read_if_there(output / "generation_config.json"),
            }
    records.DIGESTS.mkdir(exist_ok=True)
    for mapping, of_cases in found.items():
        record = {"script": TRANSFORMERS, "cases": of_cases}
        write_json(records.DIGESTS / f"{mapping}.json", record)
    print(f"recorded {len(cases)} cases of {', '.join(found)}")


def read_if_there(path: Path) -> dict[str, Any] | None:
    return without_ignored(compare.read_json(path)) if path.exists() else None


if __name__ == "__main__":
    main()
