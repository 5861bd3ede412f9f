"""Files written past the page cache, against the bytes that were to be in them."""

import errno
import fcntl
import itertools
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from programs import thorough
from safetensors.torch import load_file, save_file

from mapengine import api
from mapengine.checkpoints import direct
from mapengine.checkpoints.arena import BLOCK, Arena
from mapengine.checkpoints.direct import DirectFile
from mapengine.planning.budget import BATCH

BYTE = np.dtype("u1")


@pytest.fixture
def folder(tmp_path):
    if not direct.is_possible(tmp_path):
        pytest.skip(f"{tmp_path} does not lie on a block device")
    return tmp_path


def written(path, data, cuts, threads=1):
    """What a file holds after its bytes were written in the ranges between `cuts`."""
    path.write_bytes(b"\xff" * len(data))
    file = DirectFile(path)

    def write(cut):
        start, end = cut
        with Arena(end - start).room((end - start,), BYTE, start) as room:
            room[:] = np.frombuffer(data, BYTE)[start:end]
            file.write(start, room.data)

    ranges = list(itertools.pairwise(cuts))
    random.Random(len(data)).shuffle(ranges)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, ranges))
    file.finish()
    return path.read_bytes()


CUTS = st.lists(st.integers(0, 10 * BLOCK) | st.integers(0, 10).map(BLOCK.__mul__), max_size=12)


def test_ranges_in_any_order_are_what_the_file_holds(folder):
    @thorough(150)
    @given(CUTS, st.integers(1, 10 * BLOCK), st.sampled_from([1, 3]))
    def check(cuts, size, threads):
        data = random.Random(size).randbytes(size)
        cuts = sorted({0, size, *(cut for cut in cuts if cut < size)})
        assert written(folder / "file", data, cuts, threads) == data

    check()


def test_blocks_in_which_ranges_meet_are_let_go_once_they_are_whole(folder):
    path = folder / "file"
    path.write_bytes(b"\0" * 3 * BLOCK)
    file, data = DirectFile(path), memoryview(b"x" * 3 * BLOCK)
    for start, end in [(0, 5000), (5000, 5001), (5001, 8000), (8000, 3 * BLOCK)]:
        with Arena(end - start).room((end - start,), BYTE, start) as room:
            room[:] = data[start:end]
            file.write(start, room.data)
    assert not file._blocks
    assert path.read_bytes() == data


def test_a_file_system_that_refuses_the_direct_way_gets_the_bytes_the_usual_one(
    folder, monkeypatch
):
    data, pwrite, refused = random.Random(0).randbytes(9 * BLOCK), os.pwrite, []

    def refuse(descriptor, data, to):
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            refused.append(to)
            raise OSError(errno.EINVAL, "no")
        return pwrite(descriptor, data, to)

    monkeypatch.setattr(os, "pwrite", refuse)
    assert written(folder / "file", data, [0, 5000, 9 * BLOCK]) == data
    assert refused


@pytest.mark.parametrize("reason", [errno.EIO, errno.ENOSPC])
def test_other_refusals_are_errors(folder, reason, monkeypatch):
    def refuse(*_):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(OSError) as refused:
        written(folder / "file", b"x" * 3 * BLOCK, [0, 3 * BLOCK])
    assert refused.value.errno == reason


def test_short_writes_are_taken_up_again(folder, monkeypatch):
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, to: pwrite(file, data[:BLOCK], to))
    data = random.Random(1).randbytes(5 * BLOCK + 77)
    assert written(folder / "file", data, [0, 100, 5 * BLOCK + 77]) == data


# -- whole runs -----------------------------------------------------------------------------------

MAPPING = """\
mapengine: 1
name: mapping
source: {tensors: "*.safetensors"}
target: {tensors: model.safetensors}
dims: {i: 9}
tensors:
  - same.{i}
  - turned.{i} -> turned.{i}: {ops: [{transpose: [0, 1]}]}
  - a.{i}, b.{i} -> joined.{i}: {ops: [{concat: {dim: 1}}]}
"""
DTYPES = [torch.int8, torch.bfloat16, torch.float32, torch.int64]


@pytest.fixture
def odd(folder, monkeypatch):
    """Tensors of odd numbers of bytes, so that those behind them lie at any address."""
    monkeypatch.chdir(folder)
    Path("in").mkdir()
    Path("mapping.yaml").write_text(MAPPING)
    tensors = {}
    for i in range(9):
        for number, name in enumerate(["same", "turned", "a", "b"]):
            shape = (1001 + 2 * i, 77 + 30 * number) if name in ("same", "turned") else (999, 7)
            bits = torch.randint(-100, 100, shape, generator=torch.manual_seed(i))
            tensors[f"{name}.{i}"] = bits.to(DTYPES[i % 4])
    save_file(tensors, "in/model.safetensors")
    return tensors


@pytest.mark.parametrize("workers", [1, 5])
def test_a_run_that_syncs_makes_the_files_of_one_that_does_not(odd, workers, monkeypatch):
    seen, write = [], DirectFile.write

    def watched(self, to, data):
        seen.append((to, len(data)))
        write(self, to, data)

    monkeypatch.setattr(DirectFile, "write", watched)
    job = api.Job("mapping.yaml", Path("in"))
    api.run(job, Path("cached"), workers=workers, sync=False)
    assert not seen
    api.run(job, Path("direct"), workers=workers)
    assert sum(size for _, size in seen) == sum(tensor.nbytes for tensor in odd.values())
    assert max(size for _, size in seen) <= BATCH
    files = [Path(folder, "model.safetensors").read_bytes() for folder in ("cached", "direct")]
    assert files[0] == files[1]
    made = load_file("direct/model.safetensors")
    for i in range(9):
        assert torch.equal(made[f"same.{i}"], odd[f"same.{i}"])
        assert torch.equal(made[f"turned.{i}"], odd[f"turned.{i}"].T)
        assert torch.equal(made[f"joined.{i}"], torch.cat([odd[f"a.{i}"], odd[f"b.{i}"]], 1))


def test_a_file_with_gaps_between_its_tensors_is_written_through_the_cache(odd, monkeypatch):
    monkeypatch.setattr(DirectFile, "write", lambda *_: pytest.fail("past the cache"))
    api.run(api.Job("mapping.yaml", Path("in"), format="torch"), Path("out"))
    (path,) = Path("out").glob("*.bin")
    made = torch.load(path, weights_only=True)
    assert torch.equal(made["turned.3"], odd["turned.3"].T)


def test_a_tensor_larger_than_a_batch_is_written_in_one_piece(folder, monkeypatch):
    monkeypatch.chdir(folder)
    Path("in").mkdir()
    Path("mapping.yaml").write_text(
        MAPPING[: MAPPING.index("dims")] + "tensors: [{big -> big: {ops: [{transpose: [0, 1]}]}}]\n"
    )
    big = torch.arange(2000 * 3001, dtype=torch.int16).reshape(2000, 3001)
    save_file({"big": big}, "in/model.safetensors")
    api.run(api.Job("mapping.yaml", Path("in")), Path("out"), memory=64 * 2**20)
    assert torch.equal(load_file("out/model.safetensors")["big"], big.T)
