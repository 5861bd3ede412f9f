import runpy
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch


def convert(source, output):
    """The script works in place and is all `main`: it is run on a copy.

    It refuses a folder without the two files of code, and deletes them; here they are empty.
    """
    shutil.copytree(source, output)
    for name in ("configuration_RW.py", "modelling_RW.py"):
        Path(output, name).touch()
    script = find_spec("transformers.models.falcon.convert_custom_code_checkpoint").origin
    with patch.object(sys, "argv", [script, "--checkpoint_dir", str(output)]):
        runpy.run_path(script, run_name="__main__")
