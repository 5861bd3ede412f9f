"""Hostile tensor files through the command line: one clear error, nothing run, nothing written.

What the readers say of most of them is tested in `tests/formats`; here every one of those files is
handed to a conversion, and beside them what only a whole command can get wrong.
"""

import gzip
import json
import struct

import pytest
import torch
from formats import test_safetensors as headers
from formats import test_torch_hostile as contents
from formats import test_torch_hostile_archives as archives
from formats.pickles import LEGACY_HEAD, SYSTEM_INFO, archive, holding, pickled
from safetensors.torch import load_file

from hostile.folders import SAFETENSORS, TORCH, entries, good, tensors, write
from hostile.process import mapengine, refusal, sentence

KINDS = ("CODE", "CONFUSION", "MEANING", "SIZES", "WORK")
OF_TORCH = {
    **{f"{kind}: {name}": holding(body)
       for kind in KINDS for name, body in getattr(contents, kind).items()},
    **{f"archive: {name}": data for name, data in archives.ARCHIVES.items()},
    **{f"zip64: {name}": archives.with_zip64_end(archives.GOOD, *claims)
       for name, claims in archives.ZIP64.items()},
    **{f"other: {name}": data for name, (data, _) in archives.OTHERS.items()},
    **{f"stream: {name}": data for name, data in archives.STREAMS.items()},
    **{f"CODE in a stream: {name}": LEGACY_HEAD + SYSTEM_INFO + pickled(body)
       for name, body in contents.CODE.items()},
    "CODE in every pickle": archive(
        pickled(contents.ATTACK), {"0": pickled(contents.ATTACK)},
        members=(("archive/version", pickled(contents.ATTACK)),),
    ),
}  # fmt: skip
OF_SAFETENSORS = {name: data for name, (data, _) in headers.HOSTILE.items()}


def command(folder, files, *more):
    """A conversion of a source with these files; where it fails, the folder is as it was."""
    work = folder / "work"
    work.mkdir()
    write(work, files)
    before = entries(work)
    done = mapengine("run", "small.yaml", "-s", "source", "-o", "out", *more, cwd=work, into=folder)
    assert done.status == 0 or entries(work) == before
    return done


@pytest.mark.parametrize("name", OF_TORCH)
def test_a_torch_file_that_is_refused(name, tmp_path):
    said = refusal(command(tmp_path, {TORCH: OF_TORCH[name]}))
    assert said.startswith("ME50") and " model.pt: " in said


@pytest.mark.parametrize("name", OF_SAFETENSORS)
def test_a_safetensors_file_that_is_refused(name, tmp_path):
    said = refusal(command(tmp_path, {SAFETENSORS: OF_SAFETENSORS[name]}))
    assert said.startswith("ME50") and " model.safetensors: " in said


# -- what only a whole command can get wrong ------------------------------------------------------

STORED = {"dtype": "F32", "shape": [0]}
TOP = "small.yaml:3:1: ME314 tensors: "


def with_keys(*keys):
    """The good file, and in it empty tensors of these names."""
    whole = good(SAFETENSORS)
    (size,) = struct.unpack_from("<Q", whole)
    header, data = json.loads(whole[8 : 8 + size]), whole[8 + size :]
    header |= {key: {**STORED, "data_offsets": [len(data)] * 2} for key in keys}
    return headers.raw(header, data)


def unmatched(shown):
    return f"{TOP}1 tensor of the checkpoint matches no rule:\n  {shown}"


def long(text, count):
    return text * (count - count // 3) + " … " + text * (count // 3)


def zeroed(count):
    """The good torch file with the bytes of a tensor changed, and `count` checksums set to zero."""
    data = good(TORCH).replace(struct.pack("<f", 1.0) * 4, struct.pack("<f", 2.0) * 4)
    for index in range(count):
        at = archives.record(data, index)
        (header,) = struct.unpack_from("<I", data, at + 42)
        descriptor = header + 30 + sum(struct.unpack_from("<HH", data, header + 26))
        descriptor += struct.unpack_from("<I", data, at + 24)[0]
        assert data[descriptor : descriptor + 4] == b"PK\x07\x08"
        for place in (header + 14, at + 16, descriptor + 4):
            data = archives.patched(data, place, "<I", 0)
    return data


SAID = {  # name: file, content, what is said
    "a payload under the name of safetensors": (
        SAFETENSORS, holding(contents.ATTACK),
        "ME504 model.safetensors: its pickle asks for 'os.system', not part of a state dict"),
    "gzip": (TORCH, gzip.compress(good(TORCH)),
             "ME501 model.pt: not a file that torch.save wrote"),
    "GGUF": (TORCH, b"GGUF" + bytes(100), "ME501 model.pt: not a file that torch.save wrote"),
    "a program": (TORCH, b"\x7fELF" + bytes(1000),
                  "ME501 model.pt: not a file that torch.save wrote"),
    "zeros": (TORCH, bytes(1000), "ME501 model.pt: not a file that torch.save wrote"),
    "an error page": (
        SAFETENSORS, b'{"error":"Repository not found"}',
        "ME501 model.safetensors: not a safetensors file: "
        "a header of 2482168881970750075 bytes"),
    "a head of zeros": (
        SAFETENSORS, bytes(1000),
        "ME501 model.safetensors: not a safetensors file: its header does not begin with '{'"),
    "a header that the disk lost": (
        SAFETENSORS, good(SAFETENSORS)[:100] + bytes(200),
        "ME503 model.safetensors: the header is not valid JSON "
        "(Invalid control character at: line 1 column 93 (char 92))"),
    "a key that commands the terminal": (
        SAFETENSORS, with_keys("\x1b]0;mine\x07\u202e"), unmatched(r"\x1b]0;mine\x07\u202e")),
    "a key that says a line of its own": (
        SAFETENSORS, with_keys("a\nME000 all is well"), unmatched(r"a\nME000 all is well")),
    "a key of a megabyte": (SAFETENSORS, with_keys("k" * 2**20), unmatched(long("k", 240))),
    "a key that is a number": (SAFETENSORS, with_keys("9" * 10**5), unmatched(long("9", 240))),
    "a key of a million dots": (SAFETENSORS, with_keys("." * 10**6), unmatched(long(".", 240))),
    "100,000 keys of numbers": (
        SAFETENSORS, with_keys(*(f"m.{n * 7919 % 100_003}.{n}" for n in range(100_000))),
        f"{TOP}100000 tensors match no rule:\n"
        "  m.{0...76245, 76247...84164, 84166...92083, 92085...100002}.{0...99999}  ×100000"),
    "100,000 keys without a number, and none that is wanted": (
        SAFETENSORS,
        headers.raw({
            "layers." + f"{n:b}".translate({48: "a", 49: "b"}): {**STORED, "data_offsets": [0, 0]}
            for n in range(100_000)}),
        "small.yaml:9:5: ME310 rules[0]: 3 tensors are missing from the checkpoint:\n"
        "  x\n  layers.{0, 1}.w  ×2"),
    "a header of 33 million lists": (
        SAFETENSORS, headers.raw(b'{"x":[' + b"[]," * 33_000_000 + b"[]]}"),
        "ME503 model.safetensors: the header has more than 3,000,000 parts, "
        "and no model needs so many"),
    "a header of a million tensors": (
        SAFETENSORS,
        headers.raw(b'{' + b",".join(b'"%d":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}' % n
                                     for n in range(1_000_000)) + b"}"),
        "ME503 model.safetensors: the header has more than 3,000,000 parts, "
        "and no model needs so many"),
    "a header of one key": (
        SAFETENSORS, headers.raw(b'{"' + b"k" * 99_000_000 + b'":1}'),
        f"ME503 model.safetensors: tensor '{'k' * 80}'...: "
        "not just dtype, shape and data_offsets"),
    "a header of spaces": (
        SAFETENSORS, headers.raw(b"{" + b" " * 99_000_000 + b"}"),
        "small.yaml:9:5: ME310 rules[0]: 3 tensors are missing from the checkpoint:\n"
        "  x\n  layers.{0, 1}.w  ×2"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_what_is_said(name, tmp_path):
    file, data, message = SAID[name]
    assert sentence(command(tmp_path, {file: data})) == message


@pytest.mark.parametrize(
    "name, like", [(TORCH, SAFETENSORS), (SAFETENSORS, TORCH), (TORCH, TORCH)], ids=str
)
def test_a_good_file_is_known_by_its_content(name, like, tmp_path):
    assert command(tmp_path, {name: good(like)}).status == 0
    written = load_file(tmp_path / "work/out/model.safetensors")
    assert torch.equal(written["x"], tensors()["x"])
    assert torch.equal(written["blocks.1.w"], tensors()["layers.1.w"].T)


MEMBERS = 6  # data.pkl, the storages, and what torch.save says of itself


@pytest.mark.parametrize("count", range(MEMBERS))
def test_a_checksum_that_was_set_to_zero_vouches_for_nothing(count, tmp_path):
    said = refusal(command(tmp_path, {TORCH: zeroed(count)}, "--hash"))
    assert "checksum" in said or "are damaged" in said


# -- other files of the folder --------------------------------------------------------------------

CONFIGS = {
    "20 million lists": (b'{"layers":2,"z":[' + b"[]," * 20_000_000 + b"0]}",
                         "ME516 params.json is not good JSON: it has more than 3,000,000 parts"),
    "larger than any config": (b'{"layers":2,"z":"' + b"a" * 70_000_000 + b'"}',
                               "ME501 source/params.json is larger than 67,108,864 bytes"),
    "in UTF-16": ('{"layers":2}'.encode("utf-16"),
                  "ME501 source/params.json is not UTF-8: 'utf-8' codec can't decode byte 0xff "
                  "in position 0: invalid start byte"),
    "with a comment": (b'{"layers":2, // two\n}',
                       "ME516 params.json is not good JSON: line 1, column 14: "
                       "expecting property name enclosed in double quotes"),
    "a key that says a line of its own": (
        b'{"layers":2,"\\u001b[31mx\\nME000 good\\u202e":1}',
        r"small.yaml:3:1: ME403 params.json: \x1b[31mx\nME000 good\u202e is read by no field"),
    "a list for a number": (
        b'{"layers":[2]}',
        "small.yaml:7:15: ME405 dims.layer: [2] is no size of an index"),
    "endless layers": (
        b'{"layers":Infinity}',
        "small.yaml:7:15: ME405 dims.layer: Infinity is no size of an index"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config(name, tmp_path):
    data, message = CONFIGS[name]
    assert sentence(command(tmp_path, {TORCH: good(TORCH), "params.json": data})) == message


def test_a_large_companion_takes_no_memory(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    write(work, {TORCH: good(TORCH)})
    with (work / "source/notes.txt").open("wb") as file:
        file.truncate(400 * 2**20)
    done = mapengine(
        "run", "small.yaml", "-s", "source", "-o", "out", "--no-sync", cwd=work, into=tmp_path
    )
    assert done.status == 0 and done.memory < 100 * 2**20


@pytest.mark.parametrize("words", [["run", "small.yaml", "-o", "out", "-s"], ["inspect"]])
@pytest.mark.parametrize(
    "file, shown",
    [("model\x1b[31m\n.pt", r"model\x1b[31m\n.pt"), ("model\udcff.pt", r"model\udcff.pt")],
)
def test_a_file_whose_name_no_terminal_shows(file, shown, words, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    write(work, {file: b"x"}, tensor_files='"*.pt"')
    done = mapengine(*words, "source", cwd=work, into=tmp_path)
    assert done.status in (1, 2)
    assert f"ME501 {shown}: not a file that torch.save wrote" in done.out + done.err


def test_what_inspect_shows_is_short(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    metadata = {f"{n}": "v" * 2**20 for n in range(20)}
    whole = {"__metadata__": metadata, "/".join("1" * 500_000): {**STORED, "data_offsets": [0, 0]}}
    write(work, {SAFETENSORS: headers.raw(whole)})
    done = mapengine("inspect", "source", cwd=work, into=tmp_path)
    assert done.status == 0 and "and 12 more" in done.out
    assert len(done.out) < 5000
