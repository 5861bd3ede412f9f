"""The memory that a conversion takes: what is promised of it, and what the system counts."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from programs import Content, Pair, made_in_pieces, numbers
from safetensors.torch import load_file, save_file

from mapengine.planning.budget import BATCH, CHUNK, SMALLEST, Budget
from mapengine.planning.pieces import pieces, working_bytes
from mapengine.views import Joined

MB = 2**20


@pytest.mark.parametrize(
    "memory, workers, each, left",
    [
        (SMALLEST, 1, SMALLEST, 1),
        (SMALLEST, 8, SMALLEST, 1),
        (3 * SMALLEST - 1, 8, (3 * SMALLEST - 1) // 2, 2),
        (3 * SMALLEST, 8, SMALLEST, 3),
        (100 * SMALLEST, 4, 25 * SMALLEST, 4),
    ],
)
def test_memory_is_shared_by_as_many_workers_as_have_enough(memory, workers, each, left):
    assert Budget.shared(memory, workers) == (Budget(each - BATCH), left)


# -- tensors of many small parts ------------------------------------------------------------------


def rows_of_many(count, shape, strides, dtype):
    """Many small tensors, one beside the other."""
    content = Content()
    reals = [numbers(shape, dtype, number) for number in range(count)]
    joined = Joined.of([content.store(real, strides, 1) for real in reals], 1)
    return content, Pair(joined, torch.cat(reals, 1))


MANY = {
    "that lie apart": (250, (300, 30), (90, 3), "int8", 2 * MB),
    "that are turned": (130, (300, 30), (1, 300), "int16", 2 * MB),
    "that lie apart, and less memory": (40, (100, 30), (90, 3), "int8", 50_000),
    "that are turned, and less memory": (40, (100, 30), (1, 100), "int16", 50_000),
    "that lie close, and less memory": (40, (100, 30), (30, 1), "int8", 50_000),
}


@pytest.mark.parametrize("count, shape, strides, dtype, size", MANY.values(), ids=MANY)
def test_many_small_tensors_side_by_side_are_made_within_the_budget(
    count, shape, strides, dtype, size
):
    content, pair = rows_of_many(count, shape, strides, dtype)
    assert len(made_in_pieces(content, pair, Budget(size))) > 1
    assert working_bytes(pair.lazy, Budget(size)) <= size


def test_many_small_tensors_are_turned_within_the_budget_when_they_must_be_laid_out_first():
    content, pair = rows_of_many(300, (64, 130), (130, 1), "int64")
    rows, columns = 64 * 130, 300  # no column of these is one of theirs
    moved = [
        one.reshape((rows * columns,)).reshape((rows, columns)) for one in (pair.lazy, pair.real)
    ]
    turned = Pair(*(one.permute((1, 0)) for one in moved))
    made_in_pieces(content, turned, Budget(SMALLEST))


def test_tensors_one_after_the_other_take_what_the_largest_takes():
    content = Content()
    members = [content.store(numbers((n, 50), "int32", 0), (1, n), 0) for n in (10, 400, 30)]
    each = [working_bytes(member, Budget(SMALLEST)) for member in members]
    assert working_bytes(Joined.of(members, 0), Budget(SMALLEST)) == max(each) == each[1]


NOTHING = [
    ((4, 0), 0),
    ((4, 0), 1),
    ((0, 4), 0),
    ((0, 4), 1),
    ((0, 0), 0),
]


@pytest.mark.parametrize("shape, dim", NOTHING)
def test_tensors_without_elements_need_no_memory(shape, dim):
    content = Content()
    empty = content.store(torch.empty(shape), (1, 1), 0)
    other = list(shape)
    other[dim] = 3
    full = content.store(torch.ones(other), (other[1], 1), 0)
    for members in ([empty, full], [full, empty], [empty, empty]):
        joined = Joined.of(members, dim)
        assert working_bytes(joined, Budget(SMALLEST)) <= CHUNK
        assert sum(p.content.spec.nbytes for p in pieces(joined, Budget(SMALLEST))) == (
            joined.spec.nbytes
        )


# -- what the system counts -----------------------------------------------------------------------

MEASURE = """
import json, sys
from pathlib import Path
from mapengine import Job, run

def status(name):
    text = Path("/proc/self/status").read_text()
    return int(text.split(name + ":")[1].split()[0]) * 1024

def convert(name, size, memory, workers):
    job = Job(f"{name}/mapping.yaml", f"{name}/{size}")
    run(job, f"{name}/{size}-{workers}", workers=workers, memory=memory, sync=False)

given = json.load(sys.stdin)
for one in given:  # then all code is loaded
    convert(one[0], "small", *one[1:])
before, grown = status("VmRSS"), []
for one in given:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    convert(one[0], "large", *one[1:])
    grown.append(status("VmHWM") - before)
json.dump(grown, sys.stdout)
"""


def laid_out(a, b):
    return torch.cat([a, b], 1).unflatten(1, (2, -1)).transpose(0, 1)


def unpacked(a, s):
    numbers = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6])
    halves = torch.stack([a & 15, a >> 4], -1).flatten(2)
    return (numbers[halves.int()] * s.float()[..., None]).flatten(1).T


CONVERSIONS = {
    "turned": (
        "a -> w: {ops: [{transpose: [0, 1]}]}",
        {"a": ("int16", 3900, 5000)},
        lambda a: a.T,
    ),
    "turned and cast": (
        "a -> w: {ops: [{transpose: [0, 1]}, {cast: bfloat16}]}",
        {"a": ("float32", 2200, 4100)},
        lambda a: a.T.to(torch.bfloat16),
    ),
    "laid out": (
        "a, b -> w:"
        " {ops: [{concat: {dim: 1, sizes: [3000, 3002]}}, {rearrange: r (2 x) -> 2 r x}]}",
        {"a": ("int16", 3000, 3000), "b": ("int16", 3000, 3002)},
        laid_out,
    ),
    "equal": (
        "a, b -> w: {ops: [same, {transpose: [0, 1]}]}",
        {"a": ("int8", 2600, 8000), "b": ("int8", 2600, 8000)},
        lambda a, b: a.T,
    ),
    "filled": (
        "a -> v\n  - -> w: {value: tril, shape: [4100, 4000], dtype: float16}",
        {"a": ("int16", 3900, 5000)},
        lambda a: torch.tril(torch.ones(4100, 4000, dtype=torch.float16)),
    ),
    "padded": (
        "a -> w: {ops: [{pad: {from: 5000, to: 5100, dim: 1}}, {transpose: [0, 1]}]}",
        {"a": ("int16", 3900, 5000)},
        lambda a: torch.nn.functional.pad(a, (0, 100)).T,
    ),
    "averaged": (
        "a, b, c -> w: {ops: [mean, {transpose: [0, 1]}]}",
        {"a": ("float32", 1300, 4100), "b": ("float32", 1300, 4100), "c": ("float32", 1300, 4100)},
        lambda a, b, c: ((a + b + c) / 3).T,
    ),
}
FP8 = "{format: fp8_e4m3, block: [1, 100], to: bfloat16}"
MXFP4 = "{format: mxfp4, to: float32}"
CONVERSIONS |= {
    "dequantized and turned": (
        f"a, s -> w: {{ops: [{{dequantize: {FP8}}}, {{transpose: [0, 1]}}]}}",
        {"a": ("float8_e4m3fn", 3000, 6070), "s": ("float32", 3000, 61)},
        lambda a, s: (a.float() * s.repeat_interleave(100, 1)[:, :6070]).bfloat16().T,
    ),
    "unpacked and turned": (
        f"a, s -> w: {{ops: [{{dequantize: {MXFP4}}}, {{transpose: [0, 1]}}]}}",
        {"a": ("uint8", 3000, 390, 16), "s": ("float8_e8m0fnu", 3000, 390)},
        unpacked,
    ),
}
MEASURED = [
    ("turned", SMALLEST + MB, 1),
    ("turned and cast", SMALLEST + MB, 1),
    ("laid out", SMALLEST + MB, 1),
    ("equal", SMALLEST + MB, 1),
    ("padded", SMALLEST + MB, 1),
    ("averaged", SMALLEST + MB, 1),
    ("filled", SMALLEST + MB, 1),
    ("dequantized and turned", SMALLEST + MB, 1),
    ("unpacked and turned", SMALLEST + MB, 1),
    ("turned", 2 * SMALLEST + MB, 2),
    ("turned and cast", 2 * SMALLEST + MB, 2),
]


def checkpoint(folder, tensors, shrink=1):
    """Tensors of different numbers; those of one shape are equal."""
    folder.mkdir()
    made = {}
    for key, (dtype, rows, *columns) in tensors.items():
        made[key] = counting((rows // shrink, *columns), getattr(torch, dtype))
    save_file(made, folder / "model.safetensors")


def counting(shape, dtype):
    numbers = torch.arange(math.prod(shape), dtype=torch.int32).reshape(shape)
    if dtype.is_floating_point and dtype.itemsize == 1:
        return (numbers % 0x7F).to(torch.uint8).view(dtype)  # all but one that is no number
    return numbers.to(dtype)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The folder of all conversions, and by how much each of them has let the process grow."""
    folder = tmp_path_factory.mktemp("measured")
    for name, (rule, tensors, _) in CONVERSIONS.items():
        (folder / name).mkdir()
        checkpoint(folder / name / "large", tensors)
        checkpoint(folder / name / "small", tensors, shrink=1000)
        (folder / name / "mapping.yaml").write_text(
            "mapengine: 1\nname: mapping\nsource: {tensors: model.safetensors}\n"
            f"target: {{tensors: model.safetensors}}\ntensors:\n  - {rule}\n"
        )
    at_once = {"MALLOC_MMAP_THRESHOLD_": str(MB)}  # so is memory given back that is let go
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], env=os.environ | at_once,
        input=json.dumps(MEASURED), cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    yield folder, dict(zip(MEASURED, json.loads(done.stdout), strict=True))
    shutil.rmtree(folder)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not count")
@pytest.mark.parametrize("conversion, memory, workers", MEASURED)
def test_a_run_takes_no_more_memory_than_it_may(conversion, memory, workers, measured):
    folder, grown = measured
    *_, wanted = CONVERSIONS[conversion]
    source = load_file(folder / conversion / "large/model.safetensors")
    made = load_file(folder / conversion / f"large-{workers}/model.safetensors")
    assert torch.equal(made["w"], wanted(**source))
    assert sum(tensor.nbytes for tensor in source.values()) > memory
    assert grown[conversion, memory, workers] <= memory + 3 * MB
