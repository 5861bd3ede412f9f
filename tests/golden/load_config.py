"""Prints, as one JSON object, every field of the given folders' configs, as AutoConfig loads them.

Stands alone, so that the interpreter of any environment with transformers can run it.
"""

import json
import sys

import transformers

configs = {
    folder: transformers.AutoConfig.from_pretrained(folder).to_dict() for folder in sys.argv[1:]
}
json.dump({"transformers": transformers.__version__, "configs": configs}, sys.stdout)
