"""A mapping and a checkpoint in which every name that can be is an attack on the page."""

import json

import torch
from safetensors.torch import save_file

ATTACK = "</script><script>hacked=1</script>"
IMAGE = "\"'><img/src=x/onerror=hacked=1>"
HIDDEN = "left\u202eover\n\x1b[31m"
MAPPING = f"""\
mapengine: 1
name: hostile
title: {json.dumps(ATTACK + IMAGE)}
source: {{config: config.json, tensors: {json.dumps("<b>.safetensors")}}}
target: {{config: config.json, tensors: model.safetensors}}
config:
  n: {{source: {json.dumps(ATTACK)}, target: {json.dumps(IMAGE)}}}
  word: {{source: word, target: word}}
  carry: rest
dims: {{i: n}}
tensors:
  - {json.dumps(f"{ATTACK}.{{i}} -> {IMAGE}.{{i}}")}: {{ops: [{{transpose: [0, 1]}}]}}
"""


def write(folder, extra=None):
    """The mapping's file and the folder of its checkpoint."""
    (folder / "source").mkdir(parents=True)
    (folder / "hostile.yaml").write_text(MAPPING)
    config = {ATTACK: 2, "word": IMAGE, f"carried{ATTACK}": [ATTACK, IMAGE]}
    (folder / "source" / "config.json").write_text(json.dumps(config))
    tensors = {f"{ATTACK}.{i}": torch.zeros(2, 3) for i in range(2)}
    save_file(tensors | (extra or {}), folder / "source" / "<b>.safetensors")
    return folder / "hostile.yaml", folder / "source"
