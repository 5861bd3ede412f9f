"""Tensors at the edge of what files can hold: their bytes arrive, or they are refused by name."""

import json
import struct

import pytest
import torch
from formats import test_safetensors as headers
from formats.files import saved
from safetensors.torch import save

from hostile.process import mapengine, sentence
from mapengine.specs import BY_CODE

MAPPING = """\
mapengine: 1
name: one
source: {tensors: model.safetensors}
target: {tensors: model.safetensors}
tensors: [x: {ops: [OPS]}]
"""


def converted(folder, data, ops=""):
    """A conversion of one tensor, `x`, by these ops: its header entry and bytes, or a refusal."""
    work = folder / "work"
    (work / "source").mkdir(parents=True)
    (work / "one.yaml").write_text(MAPPING.replace("OPS", ops))
    (work / "source/model.safetensors").write_bytes(data)
    done = mapengine("run", "one.yaml", "-s", "source", "-o", "out", cwd=work, into=folder)
    if done.status:
        return sentence(done)
    raw = (work / "out/model.safetensors").read_bytes()
    (size,) = struct.unpack_from("<Q", raw)
    return json.loads(raw[8 : 8 + size])["x"], raw[8 + size :]


def stored(dtype, shape, data):
    return headers.raw(
        {"x": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}, data
    )


@pytest.mark.parametrize("code", sorted(BY_CODE))
@pytest.mark.parametrize("shape", [[], [0], [3], [1] * 8, [3, 0, 2**40], [1] * 32], ids=str)
def test_every_dtype_arrives_byte_for_byte(code, shape, tmp_path):
    count = torch.Size(shape).numel() * BY_CODE[code].size
    data = bytes(range(251, 251 - count, -1))
    entry, written = converted(tmp_path, stored(code, shape, data))
    assert entry == {"dtype": code, "shape": shape, "data_offsets": [0, count]}
    assert written == data


@pytest.mark.parametrize(
    "shape, ops, turned",
    [
        ([0, 2**61], "{transpose: [0, 1]}", [2**61, 0]),
        ([2, 3] + [1] * 30, "{transpose: [0, 1]}", [3, 2] + [1] * 30),
        ([1] * 8, "{permute: [7, 6, 5, 4, 3, 2, 1, 0]}", [1] * 8),
        ([0, 5], "{cast: float32}", [0, 5]),
    ],
    ids=str,
)
def test_ops_on_tensors_of_nothing_and_of_many_axes(shape, ops, turned, tmp_path):
    count = 2 * torch.Size(shape).numel()
    entry, written = converted(tmp_path, stored("BF16", shape, bytes(range(count))), ops)
    assert entry["shape"] == turned
    if shape[:2] == [2, 3]:
        assert written == bytes([0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11])


REFUSED = {
    "four bits": (stored("F4", [2], b"x"), "ME506 model.safetensors: tensor 'x': dtype F4"),
    "six bits": (stored("F6_E2M3", [4], b"xyz"), "ME506 model.safetensors: tensor 'x': dtype F6"),
    "2^63 elements of nothing": (
        stored("F32", [0, 2**63], b""), "ME503 model.safetensors: tensor 'x': shape with an entry"),
    "65 axes": (
        stored("F32", [1] * 65, bytes(4)), "ME503 model.safetensors: tensor 'x': malformed"),
}  # fmt: skip
KINDS = {
    "conjugated": (lambda: torch.ones(2, dtype=torch.complex64).conj(), "conjugated or negated"),
    "negated": (lambda: torch.ones(2, dtype=torch.complex64).conj().imag, "conjugated or negated"),
    "sparse": (lambda: torch.eye(2).to_sparse(), "sparse tensors are not supported"),
    "on the meta device": (lambda: torch.empty(2, device="meta"), "tensors on the meta device"),
    "quantised": (
        lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "quantised tensors are not supported"),
    "of 128 bits": (lambda: torch.ones(2, dtype=torch.complex128), "are not supported"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_held_is_refused(case, tmp_path):
    data, message = REFUSED[case]
    assert converted(tmp_path, data).startswith(message)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", KINDS)
def test_a_tensor_of_another_kind_is_refused_by_name(case, tmp_path):
    make, message = KINDS[case]
    said = converted(tmp_path, saved({"x": make()}))
    assert said.startswith("ME506 model.safetensors: ") and message in said


WHOLE = torch.arange(24.0).reshape(4, 6)
VIEWS = {
    "transposed": WHOLE.T,
    "every other": WHOLE[::2, 1::2],
    "the same rows for all": WHOLE[:2].unsqueeze(0).expand(1, 2, 6),
    "one row of many": WHOLE[3],
    "overlapping": WHOLE.reshape(-1).as_strided((4, 4), (5, 2)),
    "shared": WHOLE,
}


@pytest.mark.parametrize("case", VIEWS)
def test_a_view_arrives_as_what_it_shows(case, tmp_path):
    view = VIEWS[case]
    entry, written = converted(tmp_path, saved({"x": view}))
    alone = save({"x": view.contiguous().clone()})
    assert entry["shape"] == list(view.shape)
    assert written == alone[-len(written) :]
