"""What is fuzzed: for each reader, how its inputs are made, and what must hold of what it says.

An input is read, or refused with a `MapengineError`. Anything else that is raised is a crash, and
so is an answer that is wrong.
"""

import atexit
import io
import json
import random
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from formats import test_safetensors as headers
from formats.files import saved
from formats.pickles import archive
from numpy.lib.stride_tricks import as_strided
from safetensors.torch import save

from hostile import folders
from hostile.mutations import STRANGE, changed_bytes, changed_text, changed_value
from mapengine import api
from mapengine.checkpoints import hashing
from mapengine.checkpoints.folder import take_inventory
from mapengine.checkpoints.inspection import read_folder
from mapengine.checkpoints.journal import JOURNAL, Finished, Journal, _line
from mapengine.errors import MapengineError
from mapengine.formats import FORMATS
from mapengine.formats.torch_pickle import OPCODES
from mapengine.language.arithmetic import MAX_BITS, ExpressionError
from mapengine.language.document import read_document
from mapengine.language.expressions import Names, parse
from mapengine.language.patterns import KeyPattern, split_rule
from mapengine.specs import DTYPES, FileContents, StoredTensor
from mapengine.verification.back import check_back
from mapengine.verification.files import check_files, check_receipt
from mapengine.verification.subject import Subject

ROOT = Path(__file__).parents[2]
Input = bytes | str


@dataclass(frozen=True)
class Target:
    """One reader. `attempt` raises `MapengineError` for what is refused; `slice` is for a test."""

    make: Callable[[random.Random], Input]
    attempt: Callable[[Input], None]
    slice: int


# -- tensor files ---------------------------------------------------------------------------------

STATE = {"a": torch.arange(6, dtype=torch.int8).reshape(2, 3), "b": torch.ones(2, 2)[:, 1:],
         "m": torch.arange(3.0), "none": torch.empty(0, 3), "zero": torch.tensor(2.5)}  # fmt: skip
NESTED = {"model": {"a": STATE["a"], "b": STATE["b"]}, "step": 3, "args": {"lr": [0.1, "x"]}}


@cache
def _safetensors() -> list[bytes]:
    plain = {key: tensor.contiguous() for key, tensor in STATE.items()}
    return [save({}), save(plain), save(plain, {"format": "pt"}), save(headers.EVERY_DTYPE)]


def make_safetensors(chance: random.Random) -> bytes:
    data = chance.choice(_safetensors())
    (size,) = struct.unpack_from("<Q", data)
    text, rest = data[8 : 8 + size], data[8 + size :]
    match chance.randrange(4):
        case 0:
            return changed_bytes(data, chance)
        case 1:
            text = changed_bytes(text, chance, [b'"F64"', b'"shape"', b"[", b"{", b"-1", b"1e9"])
        case _:
            text = json.dumps(changed_value(json.loads(text), chance)).encode()
    return struct.pack("<Q", len(text)) + text + rest


def try_safetensors(data: Input) -> None:
    contents = FORMATS["safetensors"].describe(io.BytesIO(data), "x")
    assert set(found := _found(data, contents)) == contents.tensors.keys()
    try:
        loaded = safetensors.deserialize(data)
    except Exception:  # the library refuses more of what numbers may look like
        return
    assert {key: bytes(one["data"]) for key, one in loaded} == found
    shapes = {key: list(stored.spec.shape) for key, stored in contents.tensors.items()}
    assert {key: one["shape"] for key, one in loaded} == shapes


def _found(data: bytes, contents: FileContents) -> dict[str, bytes]:
    """The bytes of every tensor that a description points at, row by row."""
    return {key: _bytes(data, stored) for key, stored in contents.tensors.items()}


def _bytes(data: bytes, stored: StoredTensor) -> bytes:
    if not stored.spec.numel:
        return b""
    size = DTYPES[stored.spec.dtype].size
    room = np.frombuffer(data, np.uint8, offset=stored.location.offset)
    strides = (*(stride * size for stride in stored.location.strides), 1)
    last = sum((n - 1) * s for n, s in zip((*stored.spec.shape, size), strides, strict=True))
    assert last < len(room), "it lies past the end of the file"
    return as_strided(room, (*stored.spec.shape, size), strides).tobytes()


@cache
def _parts() -> tuple[bytes, dict[str, bytes]]:
    """The pickle of a state dict, and its storages by key."""
    with zipfile.ZipFile(io.BytesIO(saved(NESTED))) as made:
        names = [name for name in made.namelist() if "/data/" in name]
        storages = {name.rpartition("/")[2]: made.read(name) for name in names}
        return made.read("archive/data.pkl"), storages


@cache
def _archives() -> list[bytes]:
    return [saved(NESTED), archive(*_parts())]


@cache
def _truth() -> dict[str, bytes]:
    data = _archives()[0]
    return _found(data, FORMATS["torch"].describe(io.BytesIO(data), "x"))


MEMBERS = ["archive/extra", "archive/.data/serialization_id", "archive/data/7", "archive/version",
           "other/data.pkl", "archive/data/0", "archive/data.pkl", "../x", "x"]  # fmt: skip


def make_archive(chance: random.Random) -> bytes:
    data = chance.choice(_archives())
    match chance.randrange(5):
        case 0:
            return data[: chance.randrange(len(data))]
        case 1:
            return archive(*_parts(), members=((chance.choice(MEMBERS), chance.randbytes(9)),))
        case 2:  # a field of a header, or two of them alike
            at = chance.choice([i for i in range(len(data) - 1) if data[i : i + 2] == b"PK"])
            place = at + chance.randrange(50)
            return data[:place] + changed_bytes(data[place : place + 8], chance) + data[place + 8 :]
    return changed_bytes(data, chance, [b"PK\x01\x02", b"PK\x05\x06", b"PK\x03\x04", b"archive/"])


def try_archive(data: Input) -> None:
    """With its checksums looked at, an archive holds what was saved, or it is refused."""
    file = io.BytesIO(data)
    contents = FORMATS["torch"].describe(file, "x")
    FORMATS["torch"].check(file, "x")
    assert _found(data, contents) == _truth()


@cache
def _pickles() -> tuple[list[bytes], list[bytes]]:
    """Whole pickles, and pieces of them."""
    wholes = []
    for state in (NESTED, STATE, {"o": {"state": {0: {"step": STATE["m"]}}, "lr": (1, 2.5)}}):
        with zipfile.ZipFile(io.BytesIO(saved(state))) as made:
            wholes.append(made.read("archive/data.pkl"))
    names = [b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
             b"ctorch\nFloatStorage\n", b"cargparse\nNamespace\n", b"cos\nsystem\n",
             b"ctorch\nSize\n", b"ctorch._utils\n_rebuild_tensor_v3\n", b"ctorch\nfloat8_e5m2\n",
             b"ctorch.storage\nUntypedStorage\n",
             b"ctorch._utils\n_rebuild_parameter\n"]  # fmt: skip
    texts = [b"X" + struct.pack("<I", len(t)) + t for t in (b"storage", b"0", b"cpu", b"a", b"")]
    arguments = [b"K\x04", b"K\0", b"\x8a\x01\x01", b"J\xff\xff\xff\xff", b"q\0", b"h\0", b"h\1",
                 b"\x8a\xff" + b"\x7f" * 255, b"G" + b"\x7f" * 8]  # fmt: skip
    return wholes, [*OPCODES, *names, *texts, *arguments]


def make_pickle(chance: random.Random) -> bytes:
    wholes, pieces = _pickles()
    if chance.randrange(4):
        return changed_bytes(chance.choice(wholes), chance, pieces)
    return b"\x80\x02" + b"".join(chance.choices(pieces, k=chance.randint(1, 40))) + b"."


def try_pickle(data: Input) -> None:
    storages = {"0": bytes(6), "1": bytes(16), "2": bytes(12), "3": b"", "4": bytes(4)}
    _try_torch(archive(data, storages))


def _try_torch(data: bytes) -> None:
    """Passed over or not, what a pickle asks for is not run; and the first of these may refuse."""
    for ignored in (["os.", "collections.", "torch."], []):
        contents = FORMATS["torch"].describe(io.BytesIO(data), "x", ignored)
        _found(data, contents)
        json.dumps(contents.objects, default=str)


@cache
def _streams() -> list[bytes]:
    return [saved(NESTED, legacy=True), saved({"x": STATE["m"]}, legacy=True)]


def make_stream(chance: random.Random) -> bytes:
    return changed_bytes(chance.choice(_streams()), chance, _pickles()[1])


# -- the other files of a folder ------------------------------------------------------------------


@cache
def _home() -> Path:
    """Folders that readers want on a disk: sources, and an output, that were good."""
    home = Path(tempfile.mkdtemp(prefix="mapengine-fuzz-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    folders.write(home, {}, tensor_files=folders.SAFETENSORS)
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for name, keys in zip(names, (["x"], ["layers.0.w", "layers.1.w"]), strict=True):
        data = save({key: folders.tensors()[key] for key in keys})
        (home / "source" / name).write_bytes(data)
        (home / name).write_bytes(data)
    api.run(api.Job(home / "small.yaml", home / "source"), home / "out", hash=True, sync=False)
    return home


@cache
def _small() -> Any:
    return api.load(_home() / "small.yaml")


def _json_text(value: Any, chance: random.Random) -> str:
    """Mostly good JSON, of a changed value; else the text itself is changed."""
    if chance.randrange(4):
        return json.dumps(changed_value(value, chance))
    text = json.dumps(value, indent=chance.choice((None, 1))).encode()
    words = [b"[" * 70, b'{"a":' * 70, b"NaN", b"1e999", b'"\\ud800"', b"\xff", b"//", b"9" * 50]
    return changed_bytes(text, chance, words).decode(errors="surrogateescape")


INDEX = "model.safetensors.index.json"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
WEIGHT_MAP = {"x": FIRST, "layers.0.w": SECOND, "layers.1.w": SECOND}


def make_index(chance: random.Random) -> str:
    strange = [*STRANGE, FIRST, SECOND, INDEX, "params.json", ".", "x"]
    value = {"metadata": {"total_size": 64}, "weight_map": WEIGHT_MAP}
    if chance.randrange(2):
        return json.dumps(changed_value(value, chance, strange))
    return _json_text(value, chance)


def try_index(text: Input) -> None:
    """An index that is taken at its word puts every tensor where it is."""
    path = _home() / "source" / INDEX
    path.write_bytes(text.encode(errors="surrogateescape"))
    try:
        take_inventory(path.parent, _small(), _small().source)
        assert json.loads(text)["weight_map"] == WEIGHT_MAP
    finally:
        path.unlink()


def make_config(chance: random.Random) -> str:
    return _json_text({"layers": 2}, chance)


def try_config(text: Input) -> None:
    path = _home() / "source/params.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    planned = api.plan(api.Job(_small(), path.parent))
    assert planned.configs["config.json"] == {"num_layers": 2}


def make_journal(chance: random.Random) -> bytes:
    one = Finished("model.safetensors", 288, 1, [[0, 8, 5], [8, 80, 2**63]], None)
    lines = [
        {"version": "1", "identity": {"the plan": "a"}},
        {name: getattr(one, name) for name in one.__slots__},
        {"name": "b", "size": 9, "mtime_ns": 1, "digests": [], "sha256": {"file": "x"}},
    ]
    strange = [*STRANGE, "../x", [[0, 2**50, 1]], [[-5, 8, 1]], [[0, -8, 1]], [[0, 1e3, 1]]]
    if chance.randrange(4):
        changed = changed_value(lines, chance, strange)
        return b"".join(map(_line, changed if isinstance(changed, list) else [changed]))
    return changed_bytes(b"".join(map(_line, lines)), chance, [b"\n", b" ", b"{}"])


def try_journal(data: Input) -> None:
    """A journal speaks of files of its own folder, or of none."""
    folder = _home() / "work"
    (folder / "new").mkdir(parents=True, exist_ok=True)
    shutil.copy(_home() / "out/model.safetensors", folder / "new")
    (folder / JOURNAL).write_bytes(data)
    told = Journal(folder / JOURNAL).read()
    if told is not None:
        assert not any("/" in name or name in ("", ".", "..") for name in told.finished)
        list(hashing.still_whole(folder / "new", list(told.finished.values())))


@cache
def _receipt() -> Any:
    return json.loads((_home() / "out/mapengine.json").read_text())


def make_receipt(chance: random.Random) -> str:
    strange = [*STRANGE, {"files": {}, "tensors": {}}, {"files": {"../x": "a"}, "tensors": {}}]
    if chance.randrange(2):
        return json.dumps(changed_value(_receipt(), chance, strange))
    return _json_text(_receipt(), chance)


def try_receipt(text: Input) -> None:
    """The questions that go by a receipt are answered, and a run does not take it for its own."""
    folder = _home() / "out"
    (folder / "mapengine.json").write_bytes(text.encode(errors="surrogateescape"))
    subject = Subject(read_folder(folder), load=False)
    for check in (check_files, check_receipt, check_back):
        check(subject)


# -- mappings -------------------------------------------------------------------------------------


@cache
def _mappings() -> list[str]:
    paths = [*api.shipped_mappings().values(), *sorted(ROOT.glob("tests/cases/*/mapping.yaml"))]
    return [path.read_text() for path in paths]


@cache
def _words() -> list[str]:
    """What mappings are made of, and what they are not."""
    known = sorted({word for text in _mappings() for word in text.split()})
    signs = [*"[]{}:,->|&*!%@`\"'#?~\\/+()\0\t\u2028\u202e", "->", "<<:", "&a", "*a", "---",
             "!!python/object", "{layer}", "{layer:02}", "{", "}", "9" * 50, "1e999", ".nan",
             "[" * 70, "x" * 3000, "a -> b -> c", "9**9**9", "-1", "0", "10**30"]  # fmt: skip
    return known + signs * (len(known) // len(signs) // 2)


def make_mapping(chance: random.Random) -> str:
    return changed_text(chance.choice(_mappings()), chance, _words())


def try_mapping(text: Input) -> None:
    path = _home() / "changed.yaml"
    path.write_text(text, errors="surrogateescape")
    for problem in api.validate(path):
        assert problem.where is not None, problem


def make_yaml(chance: random.Random) -> str:
    signs = [
        "a",
        "b:",
        "- ",
        "\n",
        "\n  ",
        " ",
        "[",
        "]",
        "{",
        "}",
        ",",
        ": ",
        "&x ",
        "*x",
        "'",
        '"',
        "|",
        ">",
        "#",
        "?",
        "!t ",
        "---",
        "1",
        ".5",
        "~",
        "\\",
        "%",
        "\t",
        "é",
        "<<: ",
    ]
    if chance.randrange(2):
        return "".join(chance.choices(signs, k=chance.randint(1, 40)))
    return changed_text(chance.choice(_mappings())[: chance.randrange(3000)], chance, _words())


def try_yaml(text: Input) -> None:
    read_document(text, "m.yaml")


NAMES = {"layer": 3, "heads": 32, "hidden": 4096, "word": "hub", "tied": True, "none": None,
         "ids": [1, 2], "factor": 1.3, "huge": 2**127, "endless": float("inf")}  # fmt: skip


def make_expression(chance: random.Random) -> str:
    if chance.randrange(3):
        return _expression(chance, chance.randint(0, 6))
    pieces = (
        *NAMES,
        "(",
        ")",
        "**",
        "//",
        "if",
        "else",
        "not",
        "in",
        "[",
        "]",
        ".",
        "'",
        "lambda",
        "for",
        "x",
        ":=",
        "9" * 60,
        "__class__",
        "\\",
        "min(",
        ",",
        "==",
        "=",
        "#",
        "f'",
    )
    return " ".join(chance.choices(pieces, k=chance.randint(1, 30)))


def _expression(chance: random.Random, depth: int) -> str:
    """A random tree of the language, well formed; its values may not go together."""
    if not depth:
        return chance.choice((*NAMES, "0", "1", "2.5", "10", "1e300", "'hub'", "true", "null"))
    part = [_expression(chance, chance.randrange(depth)) for _ in range(3)]
    form = chance.choice((
        "({} + {})", "({} - {})", "({} * {})", "({} / {})", "({} // {})", "({} % {})", "({} ** {})",
        "(-{})", "(not {})", "({} and {})", "({} or {})", "({} if {} else {})", "({} < {})",
        "({} == {})", "({} in ('hub', {}))", "min({}, {})", "max({}, {}, {})", "int({})",
        "({} << {})", "{}.real", "[{}]", "f'{}'", "({} , {})", "{}({})"))  # fmt: skip
    return form.format(*part)


def try_expression(text: Input) -> None:
    try:
        value = parse(text).evaluate(Names(NAMES))
    except ExpressionError as error:
        raise MapengineError() from error
    assert not isinstance(value, int) or abs(value).bit_length() <= MAX_BITS + 1


def make_pattern(chance: random.Random) -> str:
    pieces = ("a", ".", "layers", "{layer}", "{layer + 1:02}", "{", "}", "{{", "}}", "/", "*",
              "{word}", "->", ",", " ", "{'}'}", ":02", "-", "9" * 20, "{heads // layer}", "é",
              "{none}", "x" * 500)  # fmt: skip
    return "".join(chance.choices(pieces, k=chance.randint(1, 12)))


def try_pattern(text: Input) -> None:
    try:
        pattern = KeyPattern.parse(text)
        split_rule(text)
        key = pattern.fill(Names(NAMES))
    except ExpressionError as error:
        raise MapengineError() from error
    assert isinstance(key, str) and len(key) <= len(text) + 64 * text.count("{")


TARGETS = {
    "safetensors": Target(make_safetensors, try_safetensors, 1500),
    "torch archive": Target(make_archive, try_archive, 1500),
    "torch pickle": Target(make_pickle, try_pickle, 800),
    "torch stream": Target(make_stream, _try_torch, 1500),
    "index": Target(make_index, try_index, 300),
    "config": Target(make_config, try_config, 120),
    "journal": Target(make_journal, try_journal, 150),
    "receipt": Target(make_receipt, try_receipt, 60),
    "mapping": Target(make_mapping, try_mapping, 100),
    "YAML": Target(make_yaml, try_yaml, 1000),
    "expression": Target(make_expression, try_expression, 2500),
    "key pattern": Target(make_pattern, try_pattern, 2500),
}
