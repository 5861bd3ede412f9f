import os
import zipfile
from pathlib import Path

import pytest
import torch

from mapengine.errors import CheckpointError
from mapengine.formats import FORMATS
from mapengine.specs import DTYPES, TensorSpec

from .files import described, read_back, same

TORCH = FORMATS["torch"]
SIX = torch.arange(6).reshape(2, 3)

STATES = {
    "no tensors": {},
    "every dtype": {f"t.{name}": SIX.to(getattr(torch, name)) for name in DTYPES},
    "0-d and empty": {"0-d": torch.tensor(2.5), "none": torch.empty(0, 3), "last": torch.ones(1)},
    "odd names": {name: torch.tensor([len(name)]) for name in ("", "é\n", "\U0001f600", "z" * 300)},
    "two chunks": {"large": torch.arange(2**18 + 3)},
}


def spec_of(tensor: torch.Tensor) -> TensorSpec:
    return TensorSpec(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))


def written(path: Path, state: dict[str, torch.Tensor]) -> bytes:
    """The file as `create` makes it, filled at the offsets it returns."""
    specs = {key: spec_of(tensor) for key, tensor in state.items()}
    offsets = TORCH.create(path, specs, {}, {})
    size = path.stat().st_size
    with path.open("r+b") as file:
        for key, tensor in state.items():
            file.seek(offsets[key])
            file.write(bytes(tensor.reshape(-1).view(torch.uint8).tolist()))
    TORCH.finish(path, specs)
    assert path.stat().st_size == size
    return path.read_bytes()


def loaded(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True, mmap=True)


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_torch_loads_what_was_written(tmp_path, state):
    path = tmp_path / "new.pt"
    data = written(path, state)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    found = loaded(path)
    assert list(found) == list(state)
    for key, stored in described(data).tensors.items():
        assert same(found[key], state[key])
        assert same(read_back(data, stored), state[key])


def test_the_files_name_leaves_no_trace_in_it(tmp_path):
    state = STATES["every dtype"]
    assert written(tmp_path / "consolidated.00.pt", state) == written(tmp_path / ".part~7", state)


def test_stated_checksums_are_the_written_ones(tmp_path):
    written(tmp_path / "new.pt", {"a": SIX, "b": SIX[0] + 1})
    torch.save({"a": SIX, "b": SIX[0] + 1}, tmp_path / "torchs.pt")
    ours, theirs = (
        [
            info.CRC
            for info in zipfile.ZipFile(tmp_path / name).infolist()
            if "/data/" in info.filename
        ]
        for name in ("new.pt", "torchs.pt")
    )
    assert ours == theirs


def test_a_slash_in_a_key_opens_a_dict(tmp_path):
    data = written(tmp_path / "new.pt", {"model/a": SIX, "model/b/c": SIX + 1, "d": SIX + 2})
    found = loaded(tmp_path / "new.pt")
    assert found["model"].keys() == {"a", "b"}
    assert same(found["model"]["b"]["c"], SIX + 1)
    assert described(data).tensors.keys() == {"model/a", "model/b/c", "d"}


@pytest.mark.parametrize("keys", [("a", "a/b"), ("a/b", "a")], ids=str)
def test_a_tensor_and_a_dict_cannot_share_a_key(tmp_path, keys):
    with pytest.raises(CheckpointError, match="ME507"):
        TORCH.create(tmp_path / "new.pt", dict.fromkeys(keys, spec_of(SIX)), {}, {})
    assert not list(tmp_path.iterdir())


OBJECTS = {"args": {"n": 2, "deep": {"a": [1.5, True, None], "none": {}}}, "name": "é"}


def test_plain_values_stand_beside_the_tensors(tmp_path):
    specs = {"w": spec_of(SIX), "args/deep/x": spec_of(SIX)}
    TORCH.create(tmp_path / "new.pt", specs, {}, OBJECTS)
    TORCH.create(tmp_path / "again.pt", specs, {}, {**OBJECTS, "name": "".join(["", "é"])})
    assert (tmp_path / "new.pt").read_bytes() == (tmp_path / "again.pt").read_bytes()
    contents = described((tmp_path / "new.pt").read_bytes())
    assert contents.tensors.keys() == specs.keys()
    assert contents.objects == OBJECTS
    found = loaded(tmp_path / "new.pt")
    del found["w"], found["args"]["deep"]["x"]
    assert found == OBJECTS


@pytest.mark.parametrize("key", ["args", "args/n", "args/n/x", "name"], ids=str)
def test_a_tensor_and_a_value_cannot_share_a_key(tmp_path, key):
    with pytest.raises(CheckpointError, match="ME507"):
        TORCH.create(tmp_path / "new.pt", {key: spec_of(SIX)}, {}, OBJECTS)
    assert not list(tmp_path.iterdir())


def test_creating_takes_space_on_the_disk_but_not_in_memory(tmp_path):
    path = tmp_path / "new.pt"
    before, umask = resident(), os.umask(0o027)
    try:
        TORCH.create(path, {"a": TensorSpec("bfloat16", (2**27,))}, {}, {})
    finally:
        os.umask(umask)
    assert resident() - before < 32 * 2**20
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.stat().st_blocks * 512 >= path.stat().st_size > 2**28


def resident() -> int:
    """The bytes of memory this process occupies."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_offsets_past_four_gibibytes_are_right(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: None)  # a sparse file will do here
    path = tmp_path / "new.pt"
    specs = {"far": TensorSpec("uint8", (5 * 2**30,)), "last": TensorSpec("int64", (2, 3))}
    offsets = TORCH.create(path, specs, {}, {})
    with path.open("r+b") as file:
        file.seek(offsets["last"])
        file.write(bytes(SIX.reshape(-1).view(torch.uint8).tolist()))
    assert offsets["last"] > 2**32
    assert same(loaded(path)["last"], SIX)
    assert path.stat().st_blocks * 512 < 2**20


def test_an_existing_path_is_not_overwritten(tmp_path):
    path = tmp_path / "new.pt"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        TORCH.create(path, {}, {}, {})
