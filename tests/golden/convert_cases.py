"""Converts every golden case with mapengine: `convert_cases.py FOLDER` makes `FOLDER/<case>`.

For `regenerate.py --check`, which compares the folders with the records under both versions.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import mapengine
from golden.cases import CASES
from golden.sources import write_source

MAPPING = Path(__file__).parent.parent.parent / "mappings" / "mixtral.yaml"

for name, case in CASES.items():
    with tempfile.TemporaryDirectory() as source:
        write_source(case, Path(source), "hub", "script")
        output = Path(sys.argv[1]) / name
        output.parent.mkdir(parents=True, exist_ok=True)
        mapengine.run(mapengine.Job(MAPPING, source), output, overwrite=True)
