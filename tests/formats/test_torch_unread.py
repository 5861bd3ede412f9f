"""Objects beside the weights, as training leaves them: passed over where a mapping says so."""

import argparse
import enum
import os
import random
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from mapengine import api
from mapengine.errors import CheckpointError, MapengineError
from mapengine.specs import Unread

from .files import described, read_back, refusal, same, saved
from .pickles import ORDERED_DICT, call, holding, name, text, tuple_of

BOTH = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "stream"])
WEIGHTS = torch.arange(6, dtype=torch.float32).view(2, 3)


class Kind(enum.Enum):
    DECODER = 1


class Meters(dict):
    """A dict with more to it, as trainers keep."""


class Attack:
    def __reduce__(self):
        return os.system, ("touch hostile-code-ran",)


def trained(**more):
    """A checkpoint that somebody trained with, and all that was left lying in it."""
    meters = Meters(loss=[0.5])
    meters.extra = {"inner": Kind.DECODER}
    return {
        "model": {"w": WEIGHTS},
        "args": argparse.Namespace(width=3, kind=Kind.DECODER, dtype=torch.float16),
        "device": torch.device("cuda", 1),
        "names": {"only"},
        "np_rng_state": np.random.RandomState(0).get_state(),
        "random_rng_state": random.Random(0).getstate(),
        "best": np.float32(1.5),
        "meters": meters,
        "raw": b"\x00\xff",
        **more,
    }


OURS = [f"{__name__}.", "numpy."]


@BOTH
def test_what_is_named_is_passed_over_and_the_rest_is_there(legacy):
    data = saved(trained(), legacy=legacy)
    contents = described(data, ignored=OURS)
    assert same(read_back(data, contents.tensors["model/w"]), WEIGHTS)
    found = contents.objects
    assert found["args"] == {"width": 3, "kind": Unread(f"{__name__}.Kind"), "dtype": "float16"}
    assert found["device"] == "cuda:1" and found["names"] == ["only"]
    assert found["meters"] == Unread(f"{__name__}.Meters")
    assert isinstance(found["np_rng_state"][1], Unread) and found["np_rng_state"][0] == "MT19937"
    assert isinstance(found["best"], Unread) and isinstance(found["raw"], Unread)
    assert len(found["random_rng_state"][1]) == 625


@BOTH
@pytest.mark.parametrize("left", OURS)
def test_what_is_not_named_is_refused(legacy, left):
    with pytest.raises(CheckpointError) as caught:
        described(saved(trained(), legacy=legacy), ignored=[one for one in OURS if one != left])
    (problem,) = caught.value.problems
    assert left.rstrip(".") in problem.message or "numpy arrays" in problem.message
    assert "ignore.objects" in problem.help or problem.code == "ME506"


def test_nothing_that_is_passed_over_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = saved(trained(bad=Attack()))
    assert "'os.system'" in refusal(holding(call(name("os", "system"), text("touch ran"))))
    contents = described(data, ignored=[*OURS, "posix."])
    assert contents.objects["bad"] == Unread("posix.system")
    deep = call(name("os", "system"), call(name("os", "system"), text("touch ran"))) + b"}b"
    assert described(holding(deep), ignored=["os."]).objects == {"x": Unread("os.system")}
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "module, kind",
    [("torch._utils", "_rebuild_sparse_tensor"), ("torch", "QInt8Storage")],
)
def test_no_kind_of_tensor_is_passed_over(module, kind):
    with pytest.raises(CheckpointError, match="not supported"):
        described(holding(name(module, kind)), ignored=["torch."])


def test_a_beginning_ends_in_a_dot():
    data = holding(name("numpyish", "thing"))
    assert described(data, ignored=["numpyish.thing"]).objects
    for entry in ("numpy", "numpy.", "numpyish", "numpyish.thin"):
        with pytest.raises(CheckpointError):
            described(data, ignored=[entry])


@pytest.mark.parametrize(
    "pickle",
    [
        call(name("__builtin__", "set"), text("ab")),
        name("__builtin__", "set") + b")R",
        call(name("torch", "device"), ORDERED_DICT + b")R"),
        name("torch", "device") + tuple_of(text("cuda"), text("x")) + b"R",
    ],
)
def test_sets_and_devices_hold_what_they_can(pickle):
    assert "malformed" in refusal(holding(pickle))


MAPPING = """
mapengine: 1
name: trained
source:
  tensors: model.pt
  root: model/
  config: {file: model.pt, at: args}
  ignore: {objects: OBJECTS, config: ["model.pt:"]}
target: {tensors: model.safetensors, config: config.json}
config: {width: FIELD}
tensors: [w: {shape: [2, width]}]
example: {width: 3}
"""


def convert(folder: Path, objects: list[str], field: str = "width") -> Path:
    folder.joinpath("in").mkdir()
    folder.joinpath("in/model.pt").write_bytes(saved(trained()))
    told = MAPPING.replace("OBJECTS", str(objects)).replace("FIELD", field)
    folder.joinpath("m.yaml").write_text(told)
    api.run(api.Job(folder / "m.yaml", folder / "in"), folder / "out", sync=False)
    return folder / "out"


def test_a_mapping_names_what_is_passed_over(tmp_path):
    out = convert(tmp_path, OURS)
    assert yaml.safe_load((out / "config.json").read_text()) == {"width": 3}


def test_without_a_name_it_is_told_how(tmp_path):
    with pytest.raises(MapengineError) as caught:
        convert(tmp_path, ["numpy."])
    (problem,) = caught.value.problems
    assert problem.code == "ME504" and f"{__name__}.Kind" in problem.message
    assert "ignore.objects" in problem.help


def test_a_field_cannot_read_what_was_passed_over(tmp_path):
    field = "{source: kind, target: width, default: 3}"
    with pytest.raises(MapengineError, match=r"kind holds <.*Kind, not read>, which is no plain"):
        convert(tmp_path, OURS, field)


def test_a_training_checkpoint_of_megatron_converts(tmp_path, monkeypatch):
    """As its trainer saves it: beside the weights lie arguments and states of random numbers."""
    module = "megatron.model.enums"
    Mask = enum.Enum("Mask", ["CAUSAL"], module=module)  # noqa: N806
    for part in ("megatron", "megatron.model", module):
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    sys.modules[module].Mask = Mask
    mapping = api.load("megatron_gpt2")
    layout = api.example_layout(mapping, frozenset({"encoder", "args", "plain", "v4"}))
    source = tmp_path / "in"
    api.make_example(mapping, layout, source)
    api.run(api.Job(mapping, source), tmp_path / "bare", sync=False)
    path = source / "model_optim_rng.pt"
    state = torch.load(path)
    state["args"] = argparse.Namespace(**state["args"], rank_kind=Mask.CAUSAL)
    state |= {
        "iteration": 7,
        "lr_scheduler": {"num_steps": 7},
        "random_rng_state": random.Random(0).getstate(),
        "np_rng_state": np.random.RandomState(0).get_state(),
        "torch_rng_state": torch.get_rng_state(),
        "rng_tracker_states": {"model-parallel-rng": torch.get_rng_state()},
    }
    torch.save(state, path)
    api.run(api.Job(mapping, source), tmp_path / "trained", sync=False)
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "trained" / file).read_bytes() == (tmp_path / "bare" / file).read_bytes()
