import io
import json
import os
import struct
import time

import pytest
import torch
from safetensors.torch import load, save

from mapengine.errors import CheckpointError
from mapengine.formats import FORMATS, recognise
from mapengine.specs import DTYPES, TensorSpec

from .files import described, flipped, read_back, refusal, same, survives

SAFETENSORS = FORMATS["safetensors"]

SIX = torch.arange(6).reshape(2, 3)
EVERY_DTYPE = {f"t.{name}": SIX.to(getattr(torch, name)) for name in DTYPES}
ODD_NAMES = ["é", 'a"\\\n\x7f\x01', "\U0001f600/\u2028", "", "z" * 300]

STATES = {
    "no tensors": {},
    "every dtype": EVERY_DTYPE,
    "0-d and empty": {"0-d": torch.tensor(2.5), "none": torch.empty(0, 3), "last": torch.ones(1)},
    "odd names": {name: torch.tensor([len(name)]) for name in ODD_NAMES},
}


def written(path, state, metadata=None):
    """The file as `create` makes it, filled at the offsets it returns."""
    specs = {key: TensorSpec(str(t.dtype)[6:], tuple(t.shape)) for key, t in state.items()}
    offsets = SAFETENSORS.create(path, specs, metadata or {}, {})
    with path.open("r+b") as file:
        for key, tensor in state.items():
            file.seek(offsets[key])
            file.write(bytes(tensor.reshape(-1).view(torch.uint8).tolist()))
    SAFETENSORS.finish(path, specs)
    return path.read_bytes()


def raw(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_descriptions_point_at_the_tensors(state):
    data = save(state, {"format": "pt"})
    contents = described(data, "safetensors")
    assert contents.size == len(data)
    assert contents.metadata == {"format": "pt"}
    assert contents.tensors.keys() == state.keys()
    for key, stored in contents.tensors.items():
        assert same(read_back(data, stored), state[key])


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"é\x01": "\u2028"}], ids=str)
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_written_files_are_the_librarys_own_to_the_byte(tmp_path, state, metadata):
    assert written(tmp_path / "ours", state, metadata) == save(state, metadata)


def test_equal_metadata_makes_equal_files(tmp_path):
    metadata = {"b": "2", "a": "1", "c": "3"}
    first = written(tmp_path / "first", {"x": torch.ones(1)}, metadata)
    assert first == written(
        tmp_path / "other", {"x": torch.ones(1)}, dict(sorted(metadata.items()))
    )
    assert same(load(first)["x"], torch.ones(1))


def test_a_created_file_has_its_final_size_space_and_mode(tmp_path):
    path = tmp_path / "new.safetensors"
    before = os.umask(0o027)
    try:
        SAFETENSORS.create(path, {"x": TensorSpec("uint8", (2**20,))}, {}, {})
    finally:
        os.umask(before)
    status = path.stat()
    assert status.st_mode & 0o777 == 0o640
    assert status.st_size == 2**20 + 8 + 72
    assert status.st_blocks * 512 >= 2**20


def test_an_existing_path_is_not_overwritten(tmp_path):
    path = tmp_path / "new.safetensors"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        SAFETENSORS.create(path, {}, {}, {})


UNWRITABLE = [("__metadata__", "uint8"), ("x", "complex128"), ("\ud800", "uint8")]


@pytest.mark.parametrize("key, dtype", UNWRITABLE, ids=["reserved", "dtype", "surrogate"])
def test_what_cannot_be_written_is_refused(tmp_path, key, dtype):
    with pytest.raises(CheckpointError):
        SAFETENSORS.create(tmp_path / "new", {key: TensorSpec(dtype, (1,))}, {}, {})
    assert not list(tmp_path.iterdir())


HOSTILE = {
    "nothing": (b"", "ME502"),
    "length alone": (struct.pack("<Q", 2), "ME502"),
    "long header": (struct.pack("<Q", 100_000_001) + b"{}", "ME501"),
    "longest length": (b"\xff" * 8 + b"{}", "ME501"),
    "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "ME501"),
    "a list": (raw(b"[]"), "ME501"),
    "space first": (raw(b" {}"), "ME501"),
    "broken JSON": (raw(b'{"x":'), "ME503"),
    "two values": (raw(b"{}{}"), "ME503"),
    "not UTF-8": (raw(b'{"\xff":1}'), "ME503"),
    "deep": (raw(b'{"x":' + b"[" * 100_000), "ME503"),
    "long number": (raw(b'{"x":' + b"9" * 100_000 + b"}"), "ME503"),
    "key twice": (raw(b'{"x":1,"x":1}'), "ME503"),
    "field twice": (raw(b'{"x":{"dtype":"F32","dtype":"I32"}}'), "ME503"),
    "lone surrogate": (raw({"\ud800": entry()}, b"1234"), "ME503"),
    "entry is a number": (raw({"x": 1}), "ME503"),
    "field missing": (raw({"x": {"dtype": "F32", "shape": [0]}}), "ME503"),
    "field unknown": (raw({"x": {**entry(), "more": 1}}, b"1234"), "ME503"),
    "dtype unknown": (raw({"x": entry("F33")}, b"1234"), "ME503"),
    "dtype a list": (raw({"x": {**entry(), "dtype": ["F32"]}}, b"1234"), "ME503"),
    "dtype below a byte": (raw({"x": entry("F4", (2,), (0, 1))}, b"1"), "ME506"),
    "negative shape": (raw({"x": entry(shape=(-1, -1))}, b"1234"), "ME503"),
    "bool shape": (raw({"x": entry(shape=(True,))}, b"1234"), "ME503"),
    "float shape": (raw({"x": entry(shape=(1.0,))}, b"1234"), "ME503"),
    "uncountable shape": (raw({"x": entry(shape=(2**62, 2, 0), offsets=(0, 0))}), "ME503"),
    "uncountable empty shape": (raw({"x": entry(shape=(0, 2**63), offsets=(0, 0))}), "ME503"),
    "65 axes": (raw({"x": entry(shape=[1] * 65)}, b"1234"), "ME503"),
    "length not shape times dtype": (raw({"x": entry(shape=(2,))}, b"1234"), "ME503"),
    "offsets negative": (raw({"x": entry(offsets=(-4, 0))}, b"1234"), "ME503"),
    "offsets reversed": (raw({"x": entry(offsets=(4, 0))}, b"1234"), "ME503"),
    "three offsets": (raw({"x": entry(offsets=(0, 4, 4))}, b"1234"), "ME503"),
    "hole first": (raw({"x": entry(offsets=(1, 5))}, b"12345"), "ME503"),
    "hole between": (raw({"x": entry(), "y": entry(offsets=(5, 9))}, b"123456789"), "ME503"),
    "overlap": (raw({"x": entry(), "y": entry(offsets=(2, 6))}, b"123456"), "ME503"),
    "same bytes": (raw({"x": entry(), "y": entry()}, b"1234"), "ME503"),
    "bytes behind": (raw({"x": entry()}, b"12345"), "ME503"),
    "too few bytes": (raw({"x": entry()}, b"123"), "ME502"),
    "metadata a number": (raw({"__metadata__": {"a": 1}}), "ME503"),
    "metadata no text": (raw({"__metadata__": {"a": "\ud800"}}), "ME503"),
    "metadata a list": (raw({"__metadata__": ["a"]}), "ME503"),
}


@pytest.mark.parametrize("data, code", HOSTILE.values(), ids=HOSTILE)
def test_headers_that_lie_are_refused(data, code):
    assert refusal(data, "safetensors").startswith(code)


def test_a_key_given_twice_among_many_is_found_at_once():
    keys = "".join(f'"{n}":0,' for n in range(60_000))
    started = time.process_time()
    message = refusal(raw(f'{{{keys}"59999":0}}'.encode()), "safetensors")
    assert message == "ME503 x.pt: the header has '59999' twice"
    assert time.process_time() - started < 5


def test_every_truncation_is_refused():
    data = save(STATES["0-d and empty"])
    for length in range(len(data)):
        refusal(data[:length], "safetensors")
    refusal(data + b"\0", "safetensors")


def test_changed_headers_are_refused_or_read():
    data = save(EVERY_DTYPE, {"format": "pt"})
    header = 8 + struct.unpack_from("<Q", data)[0]
    read = sum(survives(copy, "safetensors") for copy in flipped(data, 3000, seed=1, upto=header))
    assert read < 3000


@pytest.mark.parametrize(
    "name, head, found",
    [
        ("model.bin", save({}), "safetensors"),
        ("model.safetensors", b"PK\x03\x04", "torch"),
        ("model.safetensors", b"", "safetensors"),
        ("model.pth", b"what", "torch"),
        ("model.gguf", b"GGUF", None),
    ],
)
def test_content_tells_the_format_before_the_name_does(name, head, found):
    recognised = recognise(name, head)
    assert (recognised and recognised.name) == found


def test_describing_reads_the_header_and_not_the_data():
    class Counting(io.BytesIO):
        count = 0

        def read(self, size=-1):
            found = super().read(size)
            self.count += len(found)
            return found

    data = save({"x": torch.zeros(2**18)})
    file = Counting(data)
    SAFETENSORS.describe(file, "x")
    assert file.count < len(data) - 2**20 + 64
