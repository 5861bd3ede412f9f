"""Mappings of a few lines, and models for them."""

import json

import torch
from safetensors.torch import save_file

import mapengine
from mapengine.language.document import read_document
from mapengine.language.reading import read_mapping
from tests.adapters import making

HEAD = """
mapengine: 1
name: small
source: {config: config.json, tensors: model.safetensors}
target: {config: config.json, tensors: model.safetensors}
config: {carry: rest, heads: heads, groups: groups}
dims: {layer: 3, part: 3}
tensors:
"""


def mapping_of(rules):
    return read_mapping(read_document(HEAD + rules, "small.yaml"))


def write(folder, tensors):
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"heads": 2, "groups": 3}))


def model(**shapes):
    """Weights of these shapes; `a_b` is the weight of the module a.b."""
    torch.manual_seed(1)
    return {key.replace("_", ".") + ".weight": torch.randn(shape) for key, shape in shapes.items()}


def proven(rules, weights, lora, folder, reverse=False):
    """How far apart the two ways are, and the new adapter."""
    write(folder / "model", weights)
    job = mapengine.Job(mapping_of(rules), folder / "model", reverse=reverse)
    then, now, new = making.both_ways(job, lora, folder)
    return making.deviation(then, now), new


def refused(rules, weights, lora, folder, **more):
    """Why a lora is refused."""
    write(folder / "model", weights)
    adapter = lora.write(folder / "adapter")
    job = mapengine.Job(mapping_of(rules), folder / "model", adapter=adapter, **more)
    return making.refusal(job)


def mapped(rules, lora, folder, **more):
    """An adapter mapped without a model."""
    job = mapengine.Job(mapping_of(rules), None, adapter=lora.write(folder / "adapter"), **more)
    mapengine.run(job, folder / "new", sync=False)
    return making.Lora.read(folder / "new")
