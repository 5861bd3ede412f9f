"""A machine for the pickles in torch files. It builds plain values and records, and runs nothing.

It knows the opcodes that torch.save writes (pickle protocol 2) and the names in `torch_values`.
All else is refused, as is more work than the largest checkpoint needs; no size is believed before
that many bytes were read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from mapengine.formats.refusal import FormatError, shown
from mapengine.formats.shapes import is_count
from mapengine.formats.torch_values import (
    Function,
    Namespace,
    NamespaceType,
    Storage,
    named,
    storage_named_by,
)
from mapengine.specs import Unread

MAX_BYTES = 128 * 2**20
_MAX_OPCODES = 4_000_000  # about 38 for a tensor
_MAX_STRING = 2**20
_MAX_NAME = 256


class Machine:
    """The stack, the stacks below its marks, and the memo of one pickle.

    `storages` are those the pickle referred to, by key. Objects of the classes that are `ignored`
    become `Unread`, whatever the pickle does to them: see `torch_values.named`.
    """

    def __init__(self, file: BinaryIO, ignored: Sequence[str] = ()) -> None:
        self.storages: dict[str, Storage] = {}
        self._file = file
        self._ignored = ignored
        self._bytes_left = MAX_BYTES
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The value of the pickle where the file stands; the file is left behind its end."""
        try:
            self._run()
        except (IndexError, KeyError):  # a stack too short, a memo slot never filled
            raise _malformed("it takes what it never put") from None
        if len(self._stack) != 1 or self._below:
            raise _malformed("it ends with more than one value")
        return self._stack[0]

    def _run(self) -> None:
        read = self._file.read
        for _ in range(_MAX_OPCODES):
            opcode = read(1)
            if opcode == _STOP:
                return
            action = OPCODES.get(opcode)
            if action is None:
                raise _unknown(opcode)
            action(self)
        raise FormatError("ME504", f"its pickle takes more than {_MAX_OPCODES} steps")

    def _take(self, length: int) -> bytes:
        self._bytes_left -= length
        if self._bytes_left < 0:
            raise FormatError("ME504", f"its pickle is larger than {MAX_BYTES} bytes")
        found = self._file.read(length)
        if len(found) < length:
            raise FormatError("ME502", "truncated: its pickle ends too early")
        return found

    def _line(self) -> str:
        line = self._file.readline(_MAX_NAME)
        self._bytes_left -= len(line)
        if not line.endswith(b"\n") or not line.isascii():
            raise _malformed("a name in it is cut off, too long or not ASCII")
        return line[:-1].decode()

    def _unmarked(self) -> list[Any]:
        """Everything above the topmost mark, taken off with the mark."""
        above, self._stack = self._stack, self._below.pop()
        return above

    def protocol(self) -> None:
        version = self._take(1)[0]
        if version != 2:
            raise FormatError("ME504", f"its pickle has protocol {version}; torch.save writes 2")

    def mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def push_none(self) -> None:
        self._stack.append(None)

    def push_true(self) -> None:
        self._stack.append(True)

    def push_false(self) -> None:
        self._stack.append(False)

    def push_byte(self) -> None:
        self._stack.append(self._take(1)[0])

    def push_short(self) -> None:
        self._stack.append(int.from_bytes(self._take(2), "little"))

    def push_int(self) -> None:
        self._stack.append(int.from_bytes(self._take(4), "little", signed=True))

    def push_long(self) -> None:
        length = self._take(1)[0]
        self._stack.append(int.from_bytes(self._take(length), "little", signed=True))

    def push_float(self) -> None:
        self._stack.append(struct.unpack(">d", self._take(8))[0])

    def push_text(self) -> None:
        length = int.from_bytes(self._take(4), "little")
        if length > _MAX_STRING:
            raise FormatError("ME504", f"its pickle has a string of {length} bytes")
        try:
            self._stack.append(self._take(length).decode())
        except UnicodeDecodeError:
            raise _malformed("a string in it is not UTF-8") from None

    def push_tuple(self) -> None:
        items = self._unmarked()
        self._stack.append(tuple(items))

    def push_tuple_of_0(self) -> None:
        self._stack.append(())

    def push_tuple_of_1(self) -> None:
        self._stack.append((self._stack.pop(),))

    def push_tuple_of_2(self) -> None:
        last = self._stack.pop()
        self._stack.append((self._stack.pop(), last))

    def push_tuple_of_3(self) -> None:
        last, middle = self._stack.pop(), self._stack.pop()
        self._stack.append((self._stack.pop(), middle, last))

    def push_list(self) -> None:
        self._stack.append([])

    def push_dict(self) -> None:
        self._stack.append({})

    def append_one(self) -> None:
        self._extend([self._stack.pop()])

    def append_many(self) -> None:
        self._extend(self._unmarked())

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is Unread:
            return
        if type(target) is not list:
            raise _malformed("it appends to something that is not a list")
        target.extend(items)

    def set_one(self) -> None:
        value = self._stack.pop()
        self._set([self._stack.pop(), value])

    def set_many(self) -> None:
        self._set(self._unmarked())

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is Unread:
            return
        if type(target) is not dict or len(items) % 2:
            raise _malformed("it sets items of something that is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # no tuples, whose hash may recurse without end, and no numbers chosen to collide
            if type(key) is not str and not is_count(key):
                raise FormatError("ME506", f"a dict has a key of type {type(key).__name__}")
            if key in target:
                raise FormatError("ME503", f"a dict has the key {shown(str(key))} twice")
            target[key] = value

    def put(self) -> None:
        self._memo[self._take(1)[0]] = self._stack[-1]

    def put_far(self) -> None:
        self._memo[int.from_bytes(self._take(4), "little")] = self._stack[-1]

    def get(self) -> None:
        self._stack.append(self._memo[self._take(1)[0]])

    def get_far(self) -> None:
        self._stack.append(self._memo[int.from_bytes(self._take(4), "little")])

    def push_named(self) -> None:
        module, name = self._line(), self._line()
        self._stack.append(named(module, name, self._ignored))

    def push_storage(self) -> None:
        storage = storage_named_by(self._stack.pop())
        if self.storages.setdefault(storage.key, storage) != storage:
            raise FormatError("ME503", f"storage {shown(storage.key)} is declared in two ways")
        self._stack.append(storage)

    def call(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if type(function) is Unread:
            self._stack.append(function)
            return
        if not isinstance(function, Function) or not isinstance(arguments, tuple):
            raise FormatError("ME504", "its pickle calls something that is no function")
        self._stack.append(function.call(arguments))

    def make(self) -> None:
        arguments, kind = self._stack.pop(), self._stack.pop()
        if type(kind) is Unread:
            self._stack.append(kind)
            return
        if not isinstance(kind, NamespaceType) or arguments != ():
            raise FormatError("ME504", "its pickle makes an object that is no Namespace")
        self._stack.append(Namespace())

    def build(self) -> None:
        """Gives a Namespace its fields. A dict's attributes (`_metadata`) are not its contents."""
        state, target = self._stack.pop(), self._stack[-1]
        if type(target) is Unread:
            return
        if type(state) is not dict or type(target) not in (dict, Namespace):
            raise FormatError("ME504", "its pickle sets the state of something that has none")
        if type(target) is Namespace:
            if target.fields is not None:
                raise _malformed("it sets a Namespace's fields twice")
            target.fields = state  # not a copy: copies of one dict could fill the memory


def _malformed(why: str) -> FormatError:
    return FormatError("ME503", f"its pickle is malformed: {why}")


def _unknown(opcode: bytes) -> FormatError:
    if not opcode:
        return FormatError("ME502", "truncated: its pickle ends too early")
    return FormatError(
        "ME504", f"its pickle uses opcode {opcode!r}, which torch.save does not write"
    )


_STOP = b"."

OPCODES: dict[bytes, Callable[[Machine], None]] = {
    b"\x80": Machine.protocol,
    b"(": Machine.mark,
    b"N": Machine.push_none,
    b"\x88": Machine.push_true,
    b"\x89": Machine.push_false,
    b"K": Machine.push_byte,
    b"M": Machine.push_short,
    b"J": Machine.push_int,
    b"\x8a": Machine.push_long,
    b"G": Machine.push_float,
    b"X": Machine.push_text,
    b"t": Machine.push_tuple,
    b")": Machine.push_tuple_of_0,
    b"\x85": Machine.push_tuple_of_1,
    b"\x86": Machine.push_tuple_of_2,
    b"\x87": Machine.push_tuple_of_3,
    b"]": Machine.push_list,
    b"}": Machine.push_dict,
    b"a": Machine.append_one,
    b"e": Machine.append_many,
    b"s": Machine.set_one,
    b"u": Machine.set_many,
    b"q": Machine.put,
    b"r": Machine.put_far,
    b"h": Machine.get,
    b"j": Machine.get_far,
    b"c": Machine.push_named,
    b"Q": Machine.push_storage,
    b"R": Machine.call,
    b"\x81": Machine.make,
    b"b": Machine.build,
}
