"""Pickles made to run code, to fill the memory or to point elsewhere; none may."""

import io
import pickle
import struct
import time
import tracemalloc
import zipfile

import pytest
import torch

from .files import described, flipped, read_back, refusal, same, saved, survives
from .pickles import (
    LEGACY_HEAD,
    ORDERED_DICT,
    REBUILD_V3,
    SYSTEM_INFO,
    archive,
    call,
    dict_of,
    holding,
    name,
    number,
    pickled,
    storage,
    tensor,
    text,
    tuple_of,
)

MARK = "touch hostile-code-ran"  # every test runs in its own empty folder
SYSTEM = name("os", "system")
ATTACK = call(SYSTEM, text(MARK))
HOOKS = ORDERED_DICT + b")R"

CODE = {
    "REDUCE os.system": ATTACK,
    "builtins.exec": call(name("builtins", "exec"), text(f"import os; os.system('{MARK}')")),
    "python 2 builtins": call(name("__builtin__", "eval"), text(f"os.system('{MARK}')")),
    "INST": b"(" + text(MARK) + b"ios\nsystem\n",
    "OBJ": b"(" + SYSTEM + text(MARK) + b"o",
    "NEWOBJ": name("subprocess", "Popen") + tuple_of(text("touch")) + b"\x81",
    "NEWOBJ_EX": name("subprocess", "Popen") + tuple_of(text("touch")) + b"}\x92",
    "BUILD of a class": name("argparse", "Namespace") + dict_of(error=SYSTEM) + b"b",
    "STACK_GLOBAL": text("os") + text("system") + b"\x93" + tuple_of(text(MARK)) + b"R",
    "STACK_GLOBAL through the memo": text("os") + b"q\0" + text("system") + b"q\x01h\0h\x01\x93",
    "dotted name": call(name("torch.serialization", "os.system"), text(MARK)),
    "torch gadget": call(name("torch.utils._config_module", "exec"), text(MARK)),
    "numpy runstring": call(name("numpy.testing._private.utils", "runstring"), text(MARK), b"}"),
    "nested load": call(name("torch.storage", "_load_from_bytes"), text("x")),
    "EXT1": b"\x82\x01" + tuple_of(text(MARK)) + b"R",
    "EXT4": b"\x84\x01\0\0\0" + tuple_of(text(MARK)) + b"R",
    "getattr chain": call(name("builtins", "getattr"), name("os", "path"), text("os")),
    "functools.partial": call(name("functools", "partial"), SYSTEM, text(MARK)),
    "payload, then a broken opcode": ATTACK + b"\xff",
    "payload, then the end": ATTACK[:-1],
    "setstate on a parameter": call(
        name("torch._utils", "_rebuild_parameter_with_state"), tensor(), b"\x89", HOOKS, b"}"
    ),
    "call of a tensor": call(tensor(), text(MARK)),
    "call of a text": call(text("os.system"), text(MARK)),
    "Namespace from arguments": name("argparse", "Namespace") + tuple_of(text("x")) + b"\x81",
    "OrderedDict from arguments": call(ORDERED_DICT, ATTACK),
    "long name": name("o" * 1000, "system"),
    "name without an end": b"cos",
    "persistent id without a storage": text("0") + b"Q",
    "persistent id of a module": tuple_of(text("module"), *[text(MARK)] * 4) + b"Q",
    "textual persistent id": b"Pstorage\n",
}

CONFUSION = {
    "SETITEM on a tensor": tensor() + text("a") + number(1) + b"s",
    "SETITEMS on a Namespace": name("argparse", "Namespace") + b")\x81(" + text("a") + b"Nu",
    "APPEND on a dict": b"}" + number(1) + b"a",
    "APPENDS on a tuple": b")(" + number(1) + b"e",
    "BUILD on a tensor": tensor() + b"}b",
    "BUILD twice": name("argparse", "Namespace") + b")\x81}b}b",
    "state that is no dict": name("argparse", "Namespace") + b")\x81)b",
    "odd number of items": b"}(" + text("a") + b"u",
    "key twice": b"}(" + text("a") + b"N" + text("a") + b"Nu",
    "list as a key": b"}](s",
    "deep tuple as a key": b"}" + b")" + b"\x85" * 100_000 + b"Ns",
    "empty stack": b"R",
    "no mark": b"t",
    "mark left over": b"(",
    "memo never filled": b"h\x07",
    "protocol 4": b"\x80\x04N",
    "text not UTF-8": b"X\x01\0\0\0\xff",
    "surrogate in a text": b"X\x03\0\0\0\xed\xa0\x80",
}

MEANING = {
    "stride-0 bomb": tensor((2**20, 2**20), (0, 0)),
    "one element too many": tensor((2, 3), (1, 1)),
    "negative offset": tensor(offset=-1),
    "negative stride": tensor(strides=(-1,), offset=3),
    "negative shape": tensor((-4,)),
    "view past its storage": tensor((5,)),
    "offset past its storage": tensor((0,), offset=5),
    "strides past their storage": tensor((2, 2), (4, 1)),
    "more axes than strides": tensor((2, 2), (1,)),
    "bool in a shape": call(
        name("torch._utils", "_rebuild_tensor_v2"),
        storage(), number(0), tuple_of(b"\x88"), tuple_of(number(1)), b"\x89", HOOKS,
    ),
    "shape beyond counting": tensor((2**62, 4, 0), (1, 1, 1)),
    "65 axes": tensor((1,) * 65, (1,) * 65),
    "shape that is a tensor": call(
        name("torch._utils", "_rebuild_tensor_v2"),
        storage(), number(0), tensor(), tuple_of(number(1)), b"\x89", HOOKS,
    ),
    "storage larger than its member": tensor(stored=storage(count=5)),
    "storage smaller than its member": tensor(stored=storage(count=3)),
    "storage without a member": tensor(stored=storage(key=text("1"))),
    "storage key that climbs": tensor(stored=storage(key=text("../data.pkl"))),
    "storage key that is a deep tuple": tensor(stored=storage(key=b")" + b"\x85" * 100_000)),
    "storage of a negative length": tensor(stored=storage(count=-4)),
    "one storage, two dtypes": tuple_of(storage(), storage("IntStorage")),
    "untyped storage without a dtype": tensor(stored=storage("UntypedStorage", count=16)),
    "typed storage of no type": tensor(stored=storage("nn")),
    "meta device": tensor(stored=storage(device="meta")),
    "quantised storage": tensor(stored=storage("QInt8Storage")),
    "dtype that is a text": call(
        REBUILD_V3, storage("UntypedStorage", count=16), number(0), tuple_of(number(4)),
        tuple_of(number(1)), b"\x89", HOOKS, text("float32"),
    ),
    "conjugated": tensor(extra=dict_of(conj=b"\x88")),
    "backward hooks": tensor().replace(b"\x89" + HOOKS, b"\x89" + dict_of(a=ATTACK)),
    "wrapper subclass": call(name("torch._utils", "_rebuild_wrapper_subclass"), b"N"),
    "sparse, with indices anywhere": call(name("torch._utils", "_rebuild_sparse_tensor"), b"N"),
    "numpy array": call(name("numpy.core.multiarray", "_reconstruct"), b"N"),
    "long number as a key of a tensor": b"}" + number(2**1999) + tensor() + b"s",
}  # fmt: skip

SIZES = {
    "BINBYTES8 of 32 TiB": b"\x8e" + struct.pack("<Q", 2**45),
    "BINUNICODE of 4 GiB": b"X\xff\xff\xff\xff",
    "BINUNICODE8 of 32 TiB": b"\x8d" + struct.pack("<Q", 2**45),
    "LONG4 of 2 GiB": b"\x8b\xff\xff\xff\x7f",
    "bytearray of 64 GiB": call(name("builtins", "bytearray"), number(2**36)),
    "BYTEARRAY8": b"\x96" + struct.pack("<Q", 2**45),
    "FRAME of 32 TiB": b"\x95" + struct.pack("<Q", 2**45) + b"N",
    "memo slot 2^32 - 1": b"Nr\xff\xff\xff\xffj\xff\xff\xff\xfe",
    "long whole number as a key": b"}" + number(2**2000) + b"Ns",
}

SHARED_LISTS = b"]q\0"  # thirty deep, each holding the one below ten times: 10**30 values
for _ in range(30):
    SHARED_LISTS = b"](" + SHARED_LISTS + b"h\0" * 9 + b"eq\0"


def items(count: int, value: bytes) -> bytes:
    """Sets `count` keys of the dict on the stack to one value."""
    return b"(" + b"".join(text(str(n)) + value for n in range(count)) + b"u"


LONG = text("k" * 2**20)
SHARED_TENSOR = b"}" + text("t") + tensor() + b"q\1s"  # and what is set next may be h\1
STORAGE_PARTS = [text("storage"), name("torch", "FloatStorage"), text("1" * 2**20)]
LONG_STORAGE = tuple_of(*STORAGE_PARTS, text("cpu"), number(4)) + b"q\1"
NAMESPACE = name("argparse", "Namespace") + b")\x81"

WORK = {
    "lists of shared lists": SHARED_LISTS,
    "100,000 nested lists": b"]" * 100_000 + b"a" * 99_999,
    "100,000 nested dicts": b"}" + (text("a") + b"}") * 100_000 + b"s" * 100_000,
    "list within itself": b"]q\0h\0a",
    "dict within itself": b"}q\0" + text("a") + b"h\0s",
    "namespace within itself": NAMESPACE + b"q\0" + dict_of(a=b"h\0") + b"b",
    "2,000 tensors under 20,000 keys": (
        SHARED_TENSOR + text("d") + b"}q\2" + items(2000, b"h\1") + b"s" + items(20_000, b"h\2")
    ),
    "a long key over 20,000 tensors": SHARED_TENSOR + LONG + b"}" + items(20_000, b"h\1") + b"s",
    "a long key over 20,000 values": b"}" + LONG + b"}" + items(20_000, b"N") + b"s",
    "a long text 20,000 times": b"](" + LONG + b"q\1" + b"h\1" * 20_000 + b"e",
    "a long key in a list 20,000 times": b"](}" + LONG + b"Nsq\1" + b"h\1" * 20_000 + b"e",
    "a long storage key 1,000,000 times": b"(" + LONG_STORAGE + b"h\1Q" * 1_000_000 + b"t",
    "100,000 marks": b"(" * 100_000,
    "4 million steps": b"N" * 4_000_000,
}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Whatever a payload would leave behind is left here, and looked for afterwards."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.glob("hostile*"))


def test_the_payload_would_run(tmp_path):
    pickle.loads(pickled(ATTACK))
    (tmp_path / "hostile-code-ran").unlink()


def test_the_harmless_version_of_these_files_is_read():
    data = holding(tensor((2, 2), (1, 2)))
    assert same(read_back(data, described(data).tensors["x"]), torch.zeros(2, 2))
    v3 = call(
        REBUILD_V3, storage("UntypedStorage", count=16), number(0), tuple_of(number(4)),
        tuple_of(number(1)), b"\x89", HOOKS, name("torch", "float8_e4m3fn"),
    )  # fmt: skip
    assert described(holding(v3)).tensors["x"].spec.dtype == "float8_e4m3fn"


@pytest.mark.parametrize("body", CODE.values(), ids=CODE)
def test_nothing_in_a_pickle_is_run(body):
    assert refusal(holding(body)).startswith(("ME502", "ME503", "ME504", "ME506"))
    assert refusal(archive(pickled(body)))
    assert refusal(LEGACY_HEAD + SYSTEM_INFO + pickled(dict_of(x=body)))


@pytest.mark.parametrize("place", range(2, 5), ids=["third", "fourth", "fifth"])
def test_no_pickle_of_a_stream_runs_anything(place):
    pickles = [SYSTEM_INFO, pickled(b"}"), pickled(b"]")]
    assert described(LEGACY_HEAD + b"".join(pickles)).tensors == {}
    pickles[place - 2] = pickled(ATTACK)
    assert refusal(LEGACY_HEAD + b"".join(pickles)).startswith("ME504")


@pytest.mark.parametrize("body", CONFUSION.values(), ids=CONFUSION)
def test_an_opcode_on_the_wrong_value_is_refused(body):
    refusal(holding(body))


@pytest.mark.parametrize("body", MEANING.values(), ids=MEANING)
def test_a_tensor_that_is_not_what_it_says_is_refused(body):
    assert refusal(holding(body)).startswith(("ME503", "ME504", "ME506"))


@pytest.mark.parametrize("body", SIZES.values(), ids=SIZES)
def test_no_declared_size_is_believed(body):
    data = holding(body)
    tracemalloc.start()
    try:
        refusal(data)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("body", WORK.values(), ids=WORK)
def test_no_pickle_makes_work_without_end(body):
    data = holding(body)
    started = time.process_time()
    refusal(data)
    assert time.process_time() - started < 5


def test_a_refused_name_is_named():
    message = refusal(holding(ATTACK))
    assert message == "ME504 x.pt: its pickle asks for 'os.system', not part of a state dict"
    assert "'os\\x1b[31m.system'" in refusal(holding(name("os\x1b[31m", "system")))


def test_changed_pickles_are_refused_or_read():
    state = {"m": {"a": torch.arange(6), "b": torch.ones(2)[1:]}, "n": [1, (2.5, "x")]}
    with zipfile.ZipFile(io.BytesIO(saved(state))) as made:
        whole = made.read("archive/data.pkl")
    storages = {"0": bytes(48), "1": bytes(8)}
    assert described(archive(whole, storages)).tensors.keys() == {"m/a", "m/b"}
    read = sum(survives(archive(copy, storages)) for copy in flipped(whole, 3000, seed=3))
    assert read < 3000
