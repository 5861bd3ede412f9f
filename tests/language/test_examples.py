"""What an `example:` is made into, and what of it cannot be."""

from pathlib import Path

import pytest
import torch
import yaml

from language.checkpoints import plain, read_checkpoint
from language.test_cases import said
from mapengine import api
from mapengine.checkpoints.example_files import write_example
from mapengine.errors import MapengineError
from mapengine.specs import DTYPES

RANKED = """\
mapengine: 1
name: ranked
source:
  config: {file: args.json, at: model.args}
  tensors:
    - {files: "layer_00-model_{rank:02}.pt"}
    - {files: "layer_{block + 3:02}-model_{rank:02}.pt", prefix: "h.{block}."}
  root: module/
target: {config: config.json, tensors: model.safetensors}
config:
  layers: {source: layers, target: layers}
  ranks: {source: tp, target: ranks}
  width: {source: "more.json:width", target: width}
  eps: {source: "more.json:eps", value: 1.0e-05}
  kind: {source: kind, value: demo}
  limits: {source: limits, target: limits, each: block}
dims: {rank: ranks, block: layers}
tensors:
  - embed: {shape: [width // ranks], ops: [{concat: {over: rank, dim: 0}}]}
  - h.{block}.up -> layers.{block}.up: {shape: [width], ops: [{same: {over: rank}}]}
example: {layers: 2, ranks: 2, width: 4, limits: [1, 2]}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_an_example_is_a_checkpoint_that_its_mapping_converts():
    Path("mapping.yaml").write_text(RANKED)
    Path("source").mkdir()
    mapping = api.load("mapping.yaml")
    settings = write_example(mapping, frozenset(), Path("source"))
    files = read_checkpoint(Path("source"))
    assert settings.values == {}
    assert files.pop("args.json") == {
        "model": {"args": {"layers": 2, "tp": 2, "kind": "demo", "limits": [1, 2]}}
    }
    assert files.pop("more.json") == {"width": 4, "eps": 1e-05}
    assert {name: {k: list(v.shape) for k, v in held.items()} for name, held in files.items()} == {
        "layer_00-model_00.pt": {"module/embed": [2]},
        "layer_00-model_01.pt": {"module/embed": [2]},
        "layer_03-model_00.pt": {"module/up": [4]},
        "layer_03-model_01.pt": {"module/up": [4]},
        "layer_04-model_00.pt": {"module/up": [4]},
        "layer_04-model_01.pt": {"module/up": [4]},
    }
    api.run(api.Job("mapping.yaml", "source"), "output")
    assert read_checkpoint(Path("output"))["config.json"]["limits"] == [1, 2]


TIED = """\
mapengine: 1
name: tied
source:
  tensors:
    - {files: "layer_{block}.pt", prefix: "h.{block}."}
    - head.pt
target: {tensors: model.safetensors}
config: {layers: {}}
dims: {block: layers, part: [a, b]}
tensors:
  - h.{block}.up: {shape: [6]}
  - embed, head -> embed: {shape: [2, 3], ops: [same]}
  - "h.{block}.{part} -> h.{block}.once": {shape: [6], ops: [{same: {over: part}}]}
example: {layers: 2}
"""


def test_the_tensors_of_an_example_are_equal_where_they_must_be_and_differ_elsewhere():
    Path("mapping.yaml").write_text(TIED)
    mapping = api.load("mapping.yaml")
    Path("source").mkdir()
    settings = write_example(mapping, frozenset(), Path("source"))
    api.run(api.Job(mapping, "source", values=settings.values), "output")
    made = read_checkpoint(Path("output"))["model.safetensors"]
    held = {key: str(one.flatten().tolist()) for key, one in made.items()}
    assert held.keys() == {"embed", *(f"h.{i}.{word}" for i in (0, 1) for word in ("up", "once"))}
    assert len(set(held.values())) == len(held)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"example": {"layers": 2, "ranks": 2, "limits": [1, 2]}},
         "ME221 example: nothing gives width a value\n= write width: ... in it"),
        ({"example": {"layers": 2, "ranks": 2, "width": 4, "limits": [1]}},
         "ME405 config.limits: args.json: limits has 1 values, block goes to 2"),
        ({"example": {"layers": "two", "ranks": 2, "width": 4, "limits": [1]}},
         'ME405 dims.block: "two" is no size of an index\n= layers is "two" (the example)'),
        ({"example": {"layers": 2, "ranks": 3, "width": 4.5, "limits": [1, 2]}},
         "ME303 rules[0].shape: [width // ranks] is [1.0], which is no shape"),
        ({"dims": {"block": "layers"}},
         "ME223 how many files there are of 'layer_00-model_{rank:02}.pt' is not said\n"
         "= give 'rank' a range under dims"),
    ],
)  # fmt: skip
def test_an_example_that_cannot_be_made(changes, message):
    Path("mapping.yaml").write_text(yaml.safe_dump(yaml.safe_load(RANKED) | changes))
    (told,) = said(MapengineError(*api.validate("mapping.yaml")))
    assert told.partition(": ")[2] == message


CONFIG = {"layers": 2, "tp": 2, "kind": "demo", "limits": [1, 2]}


@pytest.mark.parametrize(
    "config, holders",
    [("file: args.pt, at: model.args", 1), ("at: model.args", 6),
     ("file: layer_03-model_01.pt, at: model.args", 1)],
)  # fmt: skip
def test_an_example_whose_config_is_in_tensor_files_is_one_too(config, holders):
    Path("mapping.yaml").write_text(RANKED.replace("file: args.json, at: model.args", config))
    assert api.validate("mapping.yaml") == []
    assert api.prove("mapping.yaml").notes == []
    Path("source").mkdir()
    write_example(api.load("mapping.yaml"), frozenset(), Path("source"))
    found = [torch.load(path, weights_only=True) for path in Path("source").glob("*.pt")]
    assert [one["model"]["args"] for one in found if "model" in one] == [CONFIG] * holders
    api.run(api.Job("mapping.yaml", "source"), "output")
    api.run(api.Job("mapping.yaml", "output", reverse=True), "back")
    files = read_checkpoint(Path("back"))
    assert files.pop("mapengine.json")
    assert plain(files) == plain(read_checkpoint(Path("source")))


def test_an_example_has_tensors_of_every_dtype_and_none_is_infinite():
    lines = "".join(f"  - {dtype}: {{shape: [300], dtype: {dtype}}}\n" for dtype in DTYPES)
    sides = "source: {tensors: model.safetensors}\ntarget: {tensors: model.safetensors}\n"
    lines += "  - plain: {shape: [300]}\n"
    text = f"mapengine: 1\nname: every\n{sides}tensors:\n{lines}example: {{}}\n"
    Path("mapping.yaml").write_text(text)
    Path("source").mkdir()
    write_example(api.load("mapping.yaml"), frozenset(), Path("source"))
    tensors = read_checkpoint(Path("source"))["model.safetensors"]
    assert str(tensors.pop("plain").dtype) == "torch.bfloat16"
    for dtype, tensor in tensors.items():
        assert str(tensor.dtype) == f"torch.{dtype}"
        known = tensor if dtype.startswith("complex") else tensor.double()
        assert known.isfinite().all()
        different = {bytes(one) for one in tensor.view(torch.uint8).reshape(300, -1).tolist()}
        assert len(different) > 100 or dtype == "bool"
    api.run(api.Job("mapping.yaml", "source"), "output", sync=False)
    written = read_checkpoint(Path("output"))["model.safetensors"]
    assert {key: str(tensor.dtype) for key, tensor in written.items()} == {
        **{dtype: f"torch.{dtype}" for dtype in DTYPES},
        "plain": "torch.bfloat16",
    }


COUNTED = """\
mapengine: 1
name: counted
source: {tensors: model.pt, root: state_dict/}
target: {tensors: model.safetensors, dtype: float32}
config: {hidden: {}}
tensors:
  - bn.weight -> norm.weight: {shape: [hidden]}
  - bn.num_batches_tracked -> norm.num_batches_tracked: {shape: [], dtype: int64}
  - bn.seen, bn.all -> norm.seen: {shape: [hidden], dtype: [bool, bool], ops: [stack]}
example: {hidden: 4}
"""


def test_an_example_has_integers_where_a_rule_states_them_and_no_cast_touches_them():
    Path("mapping.yaml").write_text(COUNTED)
    assert api.validate("mapping.yaml") == []
    assert {claim.exactness.value for claim in api.prove("mapping.yaml").claims[1:]} == {"exact"}
    Path("source").mkdir()
    settings = write_example(api.load("mapping.yaml"), frozenset(), Path("source"))
    (given,) = (one["state_dict"] for one in [torch.load("source/model.pt", weights_only=True)])
    api.run(api.Job("mapping.yaml", "source", values=settings.values), "output")
    made = read_checkpoint(Path("output"))["model.safetensors"]
    assert made["norm.num_batches_tracked"].dtype == torch.int64
    assert torch.equal(made["norm.num_batches_tracked"], given["bn.num_batches_tracked"])
    assert (made["norm.seen"].dtype, made["norm.weight"].dtype) == (torch.bool, torch.float32)
    api.run(api.Job("mapping.yaml", "output", values=settings.values, reverse=True), "back")
    back = torch.load("back/model.pt", weights_only=True)["state_dict"]
    assert torch.equal(back["bn.num_batches_tracked"], given["bn.num_batches_tracked"])
    assert torch.equal(back["bn.all"], given["bn.all"])
