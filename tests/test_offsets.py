"""Where the bytes of a tensor lie, against what torch and safetensors themselves say."""

import json
import math
import struct

import pytest
import torch
from formats.files import read_back, same
from golden import sources
from golden.cases import CASES
from safetensors import deserialize, safe_open
from safetensors.torch import load_file
from torch._subclasses.fake_tensor import FakeTensorMode

from mapengine.formats import FORMATS
from mapengine.specs import DTYPES, contiguous_strides

BASE = torch.arange(5 * 6 * 7)


def views(dtype):
    """Tensors that share one storage, and one that does not."""
    base = BASE.to(getattr(torch, dtype)).reshape(5, 6, 7)
    return {
        "whole": base,
        "turned": base.permute(2, 0, 1),
        "later": base[3:],
        "spread": base[1::2, ::3, 2::2],
        "expanded": base[2, :, 3:4].expand(6, 6),
        "diagonal": base[4].diagonal(),
        "overlapping": base.as_strided((4, 5), (2, 1), 11),
        "element": base[2, 3, 4],
        "empty": base[:, 2:2],
        "alone": base[1].clone().T,
    }


def described(path, format):
    with path.open("rb") as file:
        return FORMATS[format].describe(file, path.name).tensors


def flat(state, prefix=""):
    for key, value in state.items():
        if isinstance(value, torch.Tensor):
            yield prefix + key, value
        elif isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}/")


def places(tensors):
    """Dtype, shape, first byte and strides of torch's own tensors of a file, without its data."""
    return {
        key: (
            str(t.dtype).removeprefix("torch."),
            tuple(t.shape),
            t.untyped_storage()._checkpoint_offset + t.storage_offset() * t.itemsize,
            t.stride(),
        )
        for key, t in tensors.items()
    }


def agree(path):
    """Compares a torch file's description with torch's, and its bytes with what torch loads."""
    stored = described(path, "torch")
    with FakeTensorMode():
        fake = dict(flat(torch.load(path, weights_only=True)))
    found = {
        key: (s.spec.dtype, s.spec.shape, s.location.offset, s.location.strides)
        for key, s in stored.items()
    }
    assert found == places(fake)
    data = path.read_bytes()
    for key, real in flat(torch.load(path, weights_only=True)):
        assert same(read_back(data, stored[key]), real), key


@pytest.mark.parametrize("dtype", DTYPES)
def test_views_of_a_storage_lie_where_torch_finds_them(dtype, tmp_path):
    torch.save({"model": views(dtype), **views("int8")}, tmp_path / "model.pt")
    agree(tmp_path / "model.pt")


@pytest.mark.parametrize("layout", ["hub", "torrent"])
def test_the_tensors_of_a_layout_lie_where_torch_finds_them(layout, tmp_path):
    folder = sources.write_source(CASES["mqa"], tmp_path / "source", layout)
    paths = sorted(folder.glob("consolidated*"))
    assert paths
    for path in paths:
        agree(path)


@pytest.mark.parametrize("layout", ["safetensors", "sharded"])
def test_the_tensors_of_a_layout_lie_where_safetensors_finds_them(layout, tmp_path):
    folder = sources.write_source(CASES["mqa"], tmp_path / "source", layout)
    paths = sorted(folder.glob("*.safetensors"))
    assert paths
    for path in paths:
        data, stored, real = path.read_bytes(), described(path, "safetensors"), load_file(path)
        assert stored.keys() == real.keys()
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
        raw = {key: bytes(entry["data"]) for key, entry in deserialize(data)}
        for key, one in stored.items():
            offset = one.location.offset
            assert offset == 8 + length + header[key]["data_offsets"][0]
            assert data[offset : offset + one.spec.nbytes] == raw[key]
            assert one.location.strides == contiguous_strides(one.spec.shape)
            assert one.spec.numel == math.prod(real[key].shape)
            assert same(read_back(data, one), real[key])
        with safe_open(path, "pt") as file:
            in_file = sorted(stored, key=lambda key: stored[key].location.offset)
            assert in_file == list(file.offset_keys())
