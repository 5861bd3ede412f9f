"""Tensors larger than tiles, windows, gaps and runs, made from files as torch makes them."""

import errno
import os
import tempfile
from itertools import permutations
from mmap import PAGESIZE

import pytest
import torch
from programs import Content, OpenFile, Pair, made_in_pieces, numbers, raw

from mapengine.checkpoints import storage
from mapengine.checkpoints.gather import GAP
from mapengine.checkpoints.storage import ReadError, copy_range
from mapengine.errors import OpError
from mapengine.ops import Axes, Fan
from mapengine.ops.arithmetic import Mul
from mapengine.ops.cast import Cast
from mapengine.ops.dequantize import Dequantize
from mapengine.ops.permute import Permute, Transpose
from mapengine.ops.rearrange import Rearrange
from mapengine.ops.rope_permute import RopePermute
from mapengine.ops.same import Same
from mapengine.ops.split import Concat, Split
from mapengine.ops.stack import Stack
from mapengine.planning.budget import BATCH, CHUNK, DENSE, SMALLEST, Budget
from mapengine.planning.pieces import RUN, is_plain_copy, pieces
from mapengine.specs import DTYPES, contiguous_strides

LITTLE, AMPLE = Budget(300_000), Budget(SMALLEST)
BUDGETS = pytest.mark.parametrize("budget", [LITTLE, AMPLE], ids=["little", "ample"])


def stored(content, shape, dtype, first=0, strides=None, gap=3):
    real = numbers(shape, dtype, first)
    return Pair(content.store(real, strides or contiguous_strides(shape), gap), real)


def done(op, *taken):
    """What an op makes of described tensors and of real ones."""
    made = zip(op.apply([t.lazy for t in taken]), op.apply([t.real for t in taken]), strict=True)
    return [Pair(*both) for both in made]


def plain(content, pair, budget=AMPLE):
    """The tensor made and compared; which of its pieces the kernel has copied."""
    return [is_plain_copy(part.content) for part in made_in_pieces(content, pair, budget)]


# -- elements in another order --------------------------------------------------------------------


@BUDGETS
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_matrix_of_many_tiles_is_turned(dtype, budget):
    content = Content()
    for pair in done(Transpose((0, 1)), stored(content, (520, 800), dtype)):
        assert not any(plain(content, pair, budget))


@BUDGETS
@pytest.mark.parametrize("order", list(permutations(range(3)))[1:], ids=str)
def test_a_cube_is_turned_every_way(order, budget):
    content = Content()
    (pair,) = done(Permute(order), stored(content, (9, 260, 300), "int16"))
    plain(content, pair, budget)


@BUDGETS
@pytest.mark.parametrize("dtype", ["int8", "bfloat16", "float32", "float64"])
def test_every_other_row_of_a_head_is_moved(dtype, budget):
    content = Content()
    for op in (RopePermute(4), RopePermute(4, 100)):
        (pair,) = done(op, stored(content, (800, 333), dtype))
        plain(content, pair, budget)


@pytest.mark.parametrize("size", [1, 2, 8])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_long_rows_are_copied_by_the_kernel_and_short_ones_are_not(more, size):
    row = RUN // size + more
    content = Content()
    moved = done(Permute((1, 0, 2)), stored(content, (2, 3, row), f"int{8 * size}"))
    for pair in moved:
        assert plain(content, pair) == ([True] * 6 if more >= 0 else [False])
        assert plain(content, pair, LITTLE).count(True) == (6 if more >= 0 else 0)


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("width", [1, 10, 5000])
def test_columns_that_lie_apart_are_read_whatever_lies_between(width, more):
    content = Content()
    for size in (1, 4):
        columns = width + GAP // size + more
        matrix = stored(content, (50, columns), f"int{8 * size}", gap=1)
        sizes = (3, width, columns - width - 3)
        for pair in done(Split(Fan(None, 3), 1, sizes), matrix)[:2]:
            plain(content, pair)
            plain(content, pair, Budget(6000))


@pytest.mark.parametrize("hole, wasted", [(GAP, 49 * GAP), (GAP + 8, 0)])
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_a_short_hole_is_read_too_and_a_longer_one_is_not(size, hole, wasted, monkeypatch):
    content, read, read_at = Content(), [], storage.read_at
    matrix = stored(content, (50, 16 + hole // size), f"int{8 * size}")
    columns = done(Split(Fan(None, 2), 1, (16, hole // size)), matrix)[0]
    monkeypatch.setattr(
        storage, "read_at", lambda file, at, data: read.append(len(data)) or read_at(file, at, data)
    )
    plain(content, columns)
    assert sum(read) == 50 * 16 * size + wasted


@pytest.mark.parametrize("block, few", [((100, 100), True), ((1, 10), False)])
def test_few_scales_are_read_for_each_part_that_is_computed_and_many_are_held(
    block, few, monkeypatch
):
    content, read, read_at = Content(), [], storage.read_at
    scale = stored(content, (2000 // block[0], 3000 // block[1]), "float32", 1)
    scales = len(content.data)
    weight = stored(content, (2000, 3000), "float8_e4m3fn")
    (numbers,) = done(Dequantize("fp8_e4m3", "bfloat16", block, Fan(None, 2)), weight, scale)
    (turned,) = done(Transpose((0, 1)), numbers)
    monkeypatch.setattr(
        storage, "read_at", lambda file, at, data: read.append(at) or read_at(file, at, data)
    )
    budget = Budget(12 * 2**20)
    made = len(made_in_pieces(content, turned, budget))  # in each of them all the memory is used
    computed = 2000 * 3000 // budget.computed
    assert 1 < made < computed // 10
    assert budget.is_read_again(scale.lazy) is few
    assert (sum(at < scales for at in read) >= computed) is few


def test_reads_and_writes_that_do_only_a_part_are_taken_up_again(monkeypatch):
    preadv, pwrite, content = os.preadv, os.pwrite, Content()
    monkeypatch.setattr(os, "preadv", lambda file, into, at: preadv(file, [into[0][:99_999]], at))
    monkeypatch.setattr(os, "pwrite", lambda file, data, to: pwrite(file, data[:77_777], to))
    monkeypatch.setattr(os, "copy_file_range", refusing(errno.EXDEV))
    matrix = stored(content, (700, 1500), "int16")
    plain(content, matrix)
    for pair in done(Transpose((0, 1)), matrix):
        plain(content, pair)


def sizes_of(pair, budget):
    return [part.content.spec.nbytes for part in pieces(pair.lazy, budget)]


def test_what_lies_close_together_is_made_in_parts_that_suit_the_cache():
    content = Content()
    matrix = stored(content, (3000, 3000), "int8")
    (near,) = done(Rearrange(Axes("(2 x) y -> (x 2) y", ())), matrix)
    (far,) = done(Transpose((0, 1)), matrix)
    assert DENSE * 0.9 < max(sizes_of(near, AMPLE)) <= DENSE
    assert sizes_of(far, AMPLE) == [9_000_000]
    plain(content, near)


def test_a_tensor_that_lies_as_it_is_wanted_is_copied_in_parts_that_workers_can_share():
    content = Content()
    whole = stored(content, (BATCH // 4 + 5, 1), "int32", first=-9)
    assert plain(content, whole) == [True, True]
    assert [part.offset for part in pieces(whole.lazy, AMPLE)] == [0, BATCH]


# -- several tensors in one -----------------------------------------------------------------------


@BUDGETS
def test_tensors_are_joined_side_by_side(budget):
    content = Content()
    one = stored(content, (700, 300), "int16")
    other = stored(content, (700, 301), "int16", 7, (1, 700))
    (pair,) = done(Concat(Fan("x", 2), 1, (300, 301)), one, other)
    plain(content, pair, budget)
    for turned in done(Transpose((0, 1)), pair):
        plain(content, turned, budget)
    (stacked,) = done(Stack(Fan("x", 3), 2), one, one, one)
    plain(content, stacked, budget)


@pytest.mark.parametrize("second, kernel", [(RUN, True), (RUN + 1, True), (RUN - 1, False)])
def test_long_rows_side_by_side_are_copied_by_the_kernel(second, kernel):
    content = Content()
    members = [stored(content, (3, n), "int8", n) for n in (RUN + 7, second)]
    (pair,) = done(Concat(Fan("x", 2), 1, (RUN + 7, second)), *members)
    assert plain(content, pair) == ([True] * 6 if kernel else [False])


@BUDGETS
@pytest.mark.parametrize("pattern", ["r (2 x) -> x 2 r", "r (2 x) -> 2 r x", "r (x 2) -> r 2 x"])
def test_what_no_strides_can_say_is_laid_out_first(pattern, budget):
    content = Content()
    members = [stored(content, (350, n), "int32", n) for n in (300, 302)]
    (joined,) = done(Concat(Fan("x", 2), 1, (300, 302)), *members)
    (pair,) = done(Rearrange(Axes(pattern, ())), joined)
    plain(content, pair, budget)
    for flat in done(Rearrange(Axes("a b c -> (c a b)", ())), pair):
        for back in done(Rearrange(Axes("(a b) -> b a", (("a", 14),))), flat):
            plain(content, back, budget)


# -- values ---------------------------------------------------------------------------------------


@BUDGETS
@pytest.mark.parametrize(
    "dtype, to",
    [("float32", "bfloat16"), ("bfloat16", "float64"), ("float8_e5m2", "float16"),
     ("float16", "float8_e4m3fn"), ("uint8", "int64"), ("bool", "float32"), ("int64", "int32")],
)  # fmt: skip
def test_a_turned_matrix_is_cast(dtype, to, budget):
    content = Content()
    (turned,) = done(Transpose((0, 1)), stored(content, (520, 800), dtype))
    wanted = turned.real.to(getattr(torch, to))
    (cast,) = Cast(to, None, "allow").apply([turned.lazy])
    plain(content, Pair(cast, wanted), budget)
    plain(content, Pair(cast.permute((1, 0)), wanted.T), budget)


@BUDGETS
def test_values_are_computed_of_tensors_that_are_joined_and_laid_out(budget):
    content = Content()
    members = [stored(content, (350, n), "float32", n) for n in (300, 302)]
    halves = [one for member in members for one in done(Mul(0.5), member)]
    (joined,) = done(Concat(Fan("x", 2), 1, (300, 302)), *halves)
    (pair,) = done(Rearrange(Axes("r (2 x) -> x 2 r", ())), joined)
    (cast,) = done(Cast("bfloat16"), pair)
    assert torch.equal(pair.real, (torch.cat([m.real for m in members], 1) / 2)
                       .unflatten(1, (2, -1)).permute(2, 1, 0))  # fmt: skip
    plain(content, pair, budget)
    plain(content, cast, budget)


# -- tensors that must be equal -------------------------------------------------------------------


def equal_ones(spoil=None):
    """Three copies of a matrix, laid out in three ways; the byte `spoil` of the last is another."""
    content = Content()
    ways = [(1100, 1), (1, 700), (1103, 1)]
    members = [stored(content, (700, 1100), "int16", 0, way) for way in ways]
    if spoil is not None:
        start = members[2].lazy.source.location.offset
        content.data[start + spoil] ^= 0x80
    return content, done(Same(Fan("rank", 3)), *members[:1] * 3)[0].real, members


@BUDGETS
def test_equal_tensors_are_made_once(budget):
    content, real, members = equal_ones()
    (agreed,) = Same(Fan("rank", 3)).apply([member.lazy for member in members])
    plain(content, Pair(agreed, real), budget)
    plain(content, Pair(agreed.permute((1, 0)), real.T), budget)


@BUDGETS
@pytest.mark.parametrize("row, column", [(0, 0), (350, 7), (699, 1099)])
def test_one_bit_that_differs_is_found(row, column, budget):
    content, _, members = equal_ones((row * 1103 + column) * 2 + 1)
    (agreed,) = Same(Fan("rank", 3)).apply([member.lazy for member in members])
    for lazy in (agreed, agreed.permute((1, 0))):
        with OpenFile(content.data) as file, pytest.raises(OpError) as refused:
            file.write(pieces(lazy, budget), budget)
        assert refused.value.code == "ME306"


# -- bytes from file to file ----------------------------------------------------------------------

DATA = bytes(range(251)) * 12_000
KERNEL = os.copy_file_range


def refusing(number):
    def copy(*_):
        raise OSError(number, os.strerror(number))

    return copy


def hesitant(source, target, count, at, to):
    """Copies a little at a time, and refuses every third time."""
    hesitant.calls += 1
    if hesitant.calls % 3 == 0:
        raise OSError(errno.EXDEV, "another time")
    return KERNEL(source, target, min(count, 70_001), at, to)


hesitant.calls = 0
KERNELS = {
    "as it is": KERNEL,
    "in short steps": hesitant,
    **{errno.errorcode[n]: refusing(n) for n in (errno.EXDEV, errno.EINVAL, errno.ENOSYS)},
    "EOPNOTSUPP": refusing(errno.EOPNOTSUPP),
}


def copied(at, to, count):
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
        source.write(DATA)
        target.write(b"\x5a" * (to + count + 9))
        for file in (source, target):
            file.flush()
        room = memoryview(bytearray(CHUNK))
        copy_range(source.fileno(), at, target.fileno(), to, count, room)
        target.seek(0)
        return target.read()


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize(
    "at, to, count",
    [
        (0, 0, len(DATA)),
        (13, 13 + PAGESIZE, 2**20 + 1),
        (13, 100_001, 2**20 + 1),
        (5, CHUNK - 3, CHUNK + 9),
        (len(DATA) - 1, 5, 1),
        (7, 7, 0),
    ],
)
def test_ranges_are_copied_however_the_kernel_helps(kernel, at, to, count, monkeypatch):
    monkeypatch.setattr(os, "copy_file_range", kernel)
    wanted = b"\x5a" * to + DATA[at : at + count] + b"\x5a" * 9
    assert copied(at, to, count) == wanted


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize("apart", [0, 1])
def test_a_range_that_ends_early_is_an_error(kernel, apart, monkeypatch):
    monkeypatch.setattr(os, "copy_file_range", kernel)
    at = len(DATA) - 100_000
    with pytest.raises(ReadError, match="it has become shorter"):
        copied(at, at % PAGESIZE + apart, 100_001)


@pytest.mark.parametrize("apart", [0, 1])
def test_an_error_of_the_disk_is_not_passed_over(apart, monkeypatch):
    monkeypatch.setattr(os, "copy_file_range", refusing(errno.ENOSPC))
    monkeypatch.setattr(os, "pwrite", refusing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        copied(0, apart, 10)


@pytest.mark.parametrize("apart", [0, 1])
def test_an_error_in_reading_is_told_from_one_in_writing(apart, monkeypatch):
    monkeypatch.setattr(os, "copy_file_range", refusing(errno.EIO))
    monkeypatch.setattr(os, "preadv", refusing(errno.EIO))
    with pytest.raises(ReadError, match="Input/output error"):
        copied(0, apart, 10)


def test_the_content_of_a_tensor_is_the_same_where_the_kernel_does_not_copy(monkeypatch):
    monkeypatch.setattr(os, "copy_file_range", refusing(errno.EXDEV))
    content = Content()
    (pair,) = done(Permute((1, 0, 2)), stored(content, (2, 3, RUN), "int16"))
    assert plain(content, pair) == [True] * 6
    with OpenFile(content.data) as file:
        assert file.make(pair.lazy).tobytes() == raw(pair.real)
