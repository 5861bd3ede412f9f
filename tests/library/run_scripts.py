"""Runs official scripts on folders: `run_scripts.py NAME SOURCE OUTPUT OPTIONS [NAME ...]`.

Stands alone: it is run by the interpreter of the environment that has transformers 4.45.2. What it
calls are the `convert` functions of `scripts/NAME.py`, and they the scripts' own code.
"""

import json
import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    words = iter(sys.argv[1:])
    for name, source, output, options in zip(words, words, words, words, strict=True):
        import_module(f"scripts.{name}").convert(source, output, **json.loads(options))
