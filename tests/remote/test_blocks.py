"""Blocks of files elsewhere: the right bytes, few times, in bounded memory; files in parts."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mapengine.checkpoints.blocks import Blocks
from mapengine.checkpoints.ranges import RangedFile, cut, joined

MB = 2**20
DATA = {name: random.Random(name).randbytes(8 * MB) for name in ("a", "b")}


class Place:
    """Gives ranges of DATA, and knows what was asked for."""

    def __init__(self):
        self.asked, self.at_once, self.most = [], 0, 0
        self.lock = threading.Lock()

    def fetch(self, name, start, end):
        with self.lock:
            self.asked.append((name, start, end))
            self.at_once += end - start
            self.most = max(self.most, self.at_once)
        data = DATA[name][start:end]
        with self.lock:
            self.at_once -= end - start
        return data


def read(blocks, name, start, end):
    room = bytearray(end - start)
    blocks.read(name, start, memoryview(room))
    return bytes(room)


def test_ranges_that_are_near_are_one_and_long_ones_are_cut():
    assert joined([(50, 60), (0, 10), (15, 20), (70, 70)], gap=5) == [(0, 20), (50, 60)]
    assert [*cut([(0, 20), (50, 60)], 8)] == [(0, 6), (6, 13), (13, 20), (50, 55), (55, 60)]


def test_what_is_read_in_the_order_of_the_wants_is_fetched_once():
    place, step = Place(), 100_000
    tasks = [(name, (at, at + step)) for name in DATA for at in range(0, 8 * MB - step, step)]
    blocks = Blocks(place.fetch, {name: [(0, 8 * MB)] for name in DATA}, 4 * MB, readers=2)
    wanted = []
    for number, (name, (start, end)) in enumerate(tasks):
        wanted += [blocks.want([one]) for one in tasks[len(wanted) : number + 5]]
        assert read(blocks, name, start, end) == DATA[name][start:end]
        blocks.unwant(wanted[number])
    blocks.close()
    assert len(place.asked) == len(set(place.asked))
    assert sum(end - start for _, start, end in place.asked) <= 16 * MB


@pytest.mark.parametrize("room", [MB // 2, 2 * MB, 64 * MB])
def test_any_order_gives_the_right_bytes_in_bounded_memory(room):
    place, chance = Place(), random.Random(room)
    needed = {
        name: [(at, at + 60_000) for at in range(0, 8 * MB - 60_000, 90_000)] for name in DATA
    }
    blocks = Blocks(place.fetch, needed, room, readers=3)
    held = []

    def one(number):
        name, (start, end) = chance.choice("ab"), chance.choice(needed["a"])
        keys = blocks.want([(name, (start, end))]) if number % 2 else []
        good = read(blocks, name, start, end) == DATA[name][start:end]
        held.append(blocks._taken + place.at_once)
        blocks.unwant(keys)
        return good

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(one, range(600)))
    blocks.close()
    assert max(held) <= room


def test_a_fetch_that_fails_is_raised_and_tried_anew_by_the_next():
    fails = [True]

    def fetch(name, start, end):
        if fails.pop() if fails else False:
            raise OSError("gone")
        return DATA[name][start:end]

    blocks = Blocks(fetch, {"a": [(0, MB)]}, 16 * MB, readers=1)
    with pytest.raises(OSError, match="gone"):
        read(blocks, "a", 0, 10)
    assert read(blocks, "a", 0, 10) == DATA["a"][:10]
    blocks.close()


def test_a_file_in_parts_reads_as_a_file_does(tmp_path):
    (tmp_path / "a").write_bytes(DATA["a"])
    asked = []

    def fetch(ranges):
        asked.extend(ranges)
        return [DATA["a"][start:end] for start, end in ranges]

    far, chance = RangedFile(fetch, 8 * MB, ()), random.Random(0)
    far.prefetch([(MB, MB + 100), (3 * MB, 3 * MB + 100), (3 * MB + 200, 3 * MB + 300)])
    assert len(asked) == 2
    with (tmp_path / "a").open("rb") as near:
        for _ in range(300):
            at, count = chance.randrange(9 * MB), chance.choice([0, 1, 30, 70_000, 2 * MB])
            whence = chance.choice([0, 0, 2])
            moved = -at if whence == 2 and at <= 8 * MB else at
            assert far.seek(moved, whence) == near.seek(moved, whence)
            assert far.read(count) == near.read(count)
            assert far.tell() == near.tell()
    assert all(end <= 8 * MB for _, end in asked)
