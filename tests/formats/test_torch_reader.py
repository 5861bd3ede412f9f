import argparse
import io
import zipfile
from collections import OrderedDict

import pytest
import torch

from mapengine.formats import FORMATS
from mapengine.specs import DTYPES

from . import pickles
from .files import described, flipped, read_back, refusal, same, saved, survives

TORCH = FORMATS["torch"]
BOTH_LAYOUTS = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before 1.6"])

SIX = torch.arange(6).reshape(2, 3)
WHOLE = torch.arange(24.0).reshape(2, 3, 4)

STATES = {
    "no tensors": {},
    "every dtype": {name: SIX.to(getattr(torch, name)) for name in DTYPES},
    "views": {
        "whole": WHOLE,
        "transposed": WHOLE.transpose(0, 2),
        "every other": WHOLE[:, ::2, 1::2],
        "diagonal": WHOLE[0].diagonal(),
        "row": WHOLE[1, 2],
        "expanded": WHOLE[0, :, :1].expand(3, 4),
    },
    "0-d and empty": {"0-d": torch.tensor(7), "none": torch.empty(0, 3), "late": WHOLE[2:]},
    "parameters": {"p": torch.nn.Parameter(torch.ones(3)), "tied": WHOLE, "too": WHOLE},
    "ordered, with attributes": torch.nn.Linear(3, 2).state_dict(),
    "odd names": {"": torch.ones(1), "é\n": torch.ones(2), "z" * 300: torch.ones(3)},
    "large numbers": {"far": torch.arange(70_000)[65_536:], "wide": torch.empty(0, 2**40)},
}


def test_the_key_of_a_storage_may_be_a_number():
    """As LitGPT writes it, tensor by tensor; torch reads that too."""
    stored = pickles.storage(key=pickles.number(0))
    state = pickles.pickled(pickles.dict_of(x=pickles.tensor(stored=stored)))
    version = (("archive/version", b"3\n"),)
    data = pickles.archive(state, {"0": torch.arange(4.0).numpy().tobytes()}, members=version)
    assert torch.equal(torch.load(io.BytesIO(data), weights_only=True)["x"], torch.arange(4.0))
    assert same(read_back(data, described(data).tensors["x"]), torch.arange(4.0))


def recompressed(data: bytes, method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return file.getvalue()


@BOTH_LAYOUTS
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_descriptions_point_at_the_tensors(state, legacy):
    data = saved(state, legacy=legacy)
    contents = described(data)
    assert contents.size == len(data)
    assert contents.tensors.keys() == state.keys()
    assert contents.objects == {}
    for key, tensor in state.items():
        assert same(read_back(data, contents.tensors[key]), tensor)
        assert contents.tensors[key].location.strides == tensor.stride()


@BOTH_LAYOUTS
def test_plain_values_keep_their_nesting_and_tensors_get_joined_keys(legacy):
    state = {
        "model": OrderedDict(a=SIX, deeper={"b": SIX[0], "note": "x"}),
        "args": argparse.Namespace(lr=0.1, dtype=torch.bfloat16, betas=(0.9, 2**70)),
        "history": [1, -(2**40), None, True, {"loss": [float("inf")]}],
        "by step": {0: "first", 70_000: "later"},
        "size": torch.Size([1, 300]),
        "empty": {},
    }
    contents = described(saved(state, legacy=legacy))
    assert list(contents.tensors) == ["model/a", "model/deeper/b"]
    assert contents.objects == {
        "model": {"deeper": {"note": "x"}},
        "args": {"lr": 0.1, "dtype": "bfloat16", "betas": (0.9, 2**70)},
        "history": state["history"],
        "by step": state["by step"],
        "size": (1, 300),
        "empty": {},
    }


@BOTH_LAYOUTS
def test_the_state_of_an_optimizer_has_its_numbers_in_its_keys(legacy):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    data = saved({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, legacy=legacy)
    contents = described(data)
    moments = ["step", "exp_avg", "exp_avg_sq"]
    assert [key for key in contents.tensors if key.startswith("optimizer/")] == [
        f"optimizer/state/{i}/{name}" for i in (0, 1) for name in moments
    ]
    second = optimizer.state_dict()["state"][1]["exp_avg"]
    assert same(read_back(data, contents.tensors["optimizer/state/1/exp_avg"]), second)
    assert contents.objects["optimizer"]["param_groups"][0]["params"] == [0, 1]


def test_a_file_without_checksums_says_so():
    assert described(saved({"a": SIX})).notes == ()
    (note,) = described(saved({"a": SIX}, legacy=True)).notes
    assert note == "written by torch before 1.6, without checksums"
    torch.serialization.set_crc32_options(False)
    try:
        data = saved({"a": SIX})
    finally:
        torch.serialization.set_crc32_options(True)
    assert described(data).notes == ("written without checksums",)


def test_an_archive_may_be_stored_again_but_not_compressed():
    data = saved({"a": SIX, "none": torch.empty(0)})
    again = recompressed(data, zipfile.ZIP_STORED)
    assert same(read_back(again, described(again).tensors["a"]), SIX)
    assert "compressed" in refusal(recompressed(data, zipfile.ZIP_DEFLATED))


def test_files_saved_under_any_name_are_read(tmp_path):
    for name in ("consolidated.00.pt", "with space.bin", "ünï.pth"):
        torch.save({"a": SIX}, tmp_path / name)
        with (tmp_path / name).open("rb") as file:
            stored = TORCH.describe(file, name).tensors["a"]
        assert stored.location.file == name
        assert same(read_back((tmp_path / name).read_bytes(), stored), SIX)


@BOTH_LAYOUTS
def test_every_truncation_and_every_added_byte_is_refused(legacy):
    data = saved({"a": SIX, "b": torch.ones(2)}, legacy=legacy)
    for length in range(len(data)):
        refusal(data[:length])
    refusal(data + b"\0")
    refusal(b"\0" + data)


@BOTH_LAYOUTS
def test_changed_bytes_are_refused_or_read(legacy):
    data = saved({"m": {"a": SIX.to(torch.int8), "b": torch.ones(2)[1:]}, "n": 1}, legacy=legacy)
    read = sum(survives(copy) for copy in flipped(data, 3000, seed=2))
    assert read < 3000


UNSUPPORTED = {
    "sparse": lambda: torch.eye(2).to_sparse(),
    "sparse rows": lambda: torch.eye(2).to_sparse_csr(),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "meta": lambda: torch.empty(2, device="meta"),
    "conjugated": lambda: torch.ones(2, dtype=torch.complex64).conj(),
    "negated": lambda: torch.ones(2, dtype=torch.complex64).conj().imag,
    "complex128": lambda: torch.ones(2, dtype=torch.complex128),
    "complex32": lambda: torch.empty(2, dtype=torch.complex32),
    "float8 of another kind": lambda: torch.empty(2, dtype=torch.float8_e4m3fnuz),
    "numpy": lambda: torch.ones(2).numpy(),
    "storage": lambda: torch.ones(2).untyped_storage(),
    "in a list": lambda: [torch.ones(2)],
    "under a truth": lambda: {True: torch.ones(2)},
    "under a negative number": lambda: {-1: torch.ones(2)},
    "under a long number": lambda: {10**600: torch.ones(2)},
    "under a fraction": lambda: {0.5: torch.ones(2)},
    "under a pair": lambda: {(0, 1): 2},
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("make", UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_what_is_not_a_plain_tensor_is_refused_by_name(make):
    assert refusal(saved({"a": make()})).startswith("ME506")


@pytest.mark.parametrize(
    "state, code", [([SIX], "ME506"), (SIX, "ME506"), (torch.nn.Linear(1, 1), "ME504")], ids=str
)
def test_what_is_not_a_dict_of_tensors_is_refused(state, code):
    assert refusal(saved(state)).startswith(code)


def test_two_ways_to_one_key_are_refused():
    assert refusal(saved({"a/b": SIX, "a": {"b": SIX}})).startswith("ME503")
    assert refusal(saved({"a": {1: SIX, "1": SIX}})).startswith("ME503")


@BOTH_LAYOUTS
def test_describing_reads_no_storage(legacy):
    class Counting(io.BytesIO):
        count = 0

        def read(self, size=-1):
            found = super().read(size)
            self.count += len(found)
            return found

    file = Counting(saved({"a": torch.zeros(2**18)}, legacy=legacy))
    TORCH.describe(file, "x.pt")
    assert file.count < 10_000
