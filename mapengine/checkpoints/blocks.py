"""Bytes of files elsewhere in blocks: fetched ahead, several at once, few times, in bounded memory.

What a run will read is known before it begins. So ranges that are near one another are one, long
ones are cut, and what no tensor needs is not in any. A block that tasks on their way will read is
fetched before they do and kept until they have; others go, the longest unread first, where there
is no more room.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from mapengine.checkpoints.ranges import GAP, Range, cut, joined
from mapengine.executors import heed
from mapengine.planning.budget import BATCH

BLOCK = 2**23
"""Bytes of a request: long enough that waiting for its answer to begin is little of it."""
MOST_BLOCKS = 64
"""Blocks that are kept at the most, however much memory there is."""
FETCHERS = 16
"""Requests under way at a time, where memory allows: each waits, mostly."""
_Key = tuple[str, int]


class Blocks:
    """The `ranges` of files, by name, in at most `room` bytes. Safe to use from several threads."""

    def __init__(
        self,
        fetch: Callable[[str, int, int], bytes],
        ranges: Mapping[str, Iterable[Range]],
        room: int,
        readers: int,
    ) -> None:
        self._fetch = fetch
        fetchers = max(min(FETCHERS, room // BLOCK // 4), 2)
        self.block = max(min(BLOCK, room // (2 * (fetchers + readers))), 1)
        self._bounds = {name: [*cut(joined(some, min(GAP, self.block)), self.block)]
                        for name, some in ranges.items()}  # fmt: skip
        self._room = min(room, MOST_BLOCKS * BLOCK) - (fetchers + readers) * self.block
        """What blocks may take, beside what a block takes twice as it comes, and one a reader."""
        self._held: OrderedDict[_Key, Future[bytes]] = OrderedDict()
        self._wanted: dict[_Key, deque[int]] = {}
        """When each will be read, by the number of the want."""
        self._queue: deque[_Key] = deque()
        self._wants = 0
        self._taken = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(fetchers, "mapengine-blocks", heed, (self._stop,))

    def close(self) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def read(self, name: str, at: int, data: memoryview) -> None:
        """Fills `data` from an offset of a file."""
        data = data.cast("B")
        while len(data):
            found = self._block_at(name, at)
            if found is None:  # not said to be read: an oversight that costs time alone
                data[:] = self._fetch(name, at, at + len(data))
                return
            first = at - self._bounds[name][found][0]
            part = memoryview(self._block((name, found)))[first : first + len(data)]
            data[: len(part)] = part
            data, at = data[len(part) :], at + len(part)

    def _block(self, key: _Key) -> bytes:
        future = self._get(key)
        try:
            return future.result()
        except BaseException:
            self._forget(key, future)
            raise

    @property
    def most_ahead(self) -> int:
        """How many tasks it pays to look ahead: what they read fills half of the room, mostly."""
        return max(self._room // (2 * BATCH), 1)

    def want(self, ranges: Iterable[tuple[str, Range]]) -> list[_Key]:
        """Has the blocks of some ranges fetched as soon as there is room, in the order of wants.

        They are kept, if there is any way to, until the same are `unwant`ed, in that order too.
        """
        keys = [key for name, one in ranges for key in self._keys(name, *one)]
        with self._lock:
            self._wants += 1
            for key in keys:
                self._wanted.setdefault(key, deque()).append(self._wants)
                if key not in self._held:
                    self._queue.append(key)
            self._go_on()
        return keys

    def unwant(self, keys: Iterable[_Key]) -> None:
        with self._lock:
            for key in keys:
                self._wanted[key].popleft()
                if not self._wanted[key]:
                    del self._wanted[key]
            self._go_on()

    def _go_on(self) -> None:
        """Starts to fetch what is wanted next, as far as there is room."""
        while self._queue:
            key = self._queue[0]
            if key in self._wanted and key not in self._held:
                unwanted = [k for k in self._held if k not in self._wanted]
                if not self._make_room(self._size(key), unwanted):
                    return
                self._start(key)
            self._queue.popleft()

    def _get(self, key: _Key) -> Future[bytes]:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
            # First what nobody wants, the longest unread first; then what is wanted last.
            unwanted = [k for k in self._held if k not in self._wanted]
            later = sorted(self._wanted.keys() & self._held.keys(),
                           key=lambda k: self._wanted[k][0], reverse=True)  # fmt: skip
            self._make_room(self._size(key), [*unwanted, *later])
            self._queue.extendleft(k for k in later if k not in self._held)
            return self._start(key)

    def _start(self, key: _Key) -> Future[bytes]:
        name, number = key
        future = self._pool.submit(self._fetch, name, *self._bounds[name][number])
        self._held[key] = future
        self._taken += self._size(key)
        return future

    def _forget(self, key: _Key, failed: Future[bytes]) -> None:
        """So that whoever asks again has it asked for again; who waits has been told."""
        with self._lock:
            if self._held.get(key) is failed:
                self._drop(key)

    def _make_room(self, size: int, candidates: Iterable[_Key]) -> bool:
        """Whether there is room, once as many of the blocks as must be were dropped."""
        for key in candidates:
            if self._taken + size <= self._room:
                break
            if self._held[key].done():
                self._drop(key)
        return self._taken + size <= self._room

    def _drop(self, key: _Key) -> None:
        del self._held[key]
        self._taken -= self._size(key)

    def _size(self, key: _Key) -> int:
        start, end = self._bounds[key[0]][key[1]]
        return end - start

    def _block_at(self, name: str, at: int) -> int | None:
        bounds = self._bounds.get(name, [])
        found = bisect_right(bounds, at, key=lambda one: one[0]) - 1
        return found if found >= 0 and at < bounds[found][1] else None

    def _keys(self, name: str, start: int, end: int) -> Iterable[_Key]:
        bounds = self._bounds.get(name, [])
        first = max(bisect_right(bounds, start, key=lambda one: one[0]) - 1, 0)
        for number in range(first, len(bounds)):
            if bounds[number][0] >= end:
                return
            if bounds[number][1] > start:
                yield name, number
