"""Checkpoints that are damaged, mixed up or half there, as they come about without malice.

None may be converted without a word: each is refused, or told. What cannot be seen in the files at
all is named here too.
"""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from formats.pickles import archive, call, name, pickled, text
from golden import sources
from golden.cases import CASES
from safetensors.torch import load_file, save_file

from hostile.folders import entries
from hostile.process import ROOT, mapengine, refusal
from mapengine.checkpoints.inspection import read_folder
from mapengine.verification.files import check_receipt
from mapengine.verification.subject import Subject

CASE = CASES["gqa"]
INDEX = "consolidated.safetensors.index.json"
FIRST, SECOND, THIRD = (f"consolidated-0000{n}-of-00003.safetensors" for n in (1, 2, 3))


def convert(folder, spoil, layout, *more, family="native", case=CASE):
    """A conversion of the case after `spoil` has changed its folder."""
    work = folder / "work"
    work.mkdir()
    shutil.copy(ROOT / "mappings/mixtral.yaml", work)
    spoil(sources.write_source(case, work / "source", layout, family))
    before = entries(work)
    done = mapengine(
        "run", "mixtral.yaml", "-s", "source", "-o", "out", *more, cwd=work, into=folder
    )
    assert done.status == 0 or entries(work) == before
    return done


def edited(file, change):
    """Changes the state dict in a torch file of the source."""

    def spoil(source):
        state = torch.load(source / file)
        change(state)
        torch.save(state, source / file)

    return spoil


def edited_shard(file, change):
    def spoil(source):
        state = load_file(source / file)
        change(state)
        save_file(state, source / file)

    return spoil


def params(**changes):
    def spoil(source):
        path = source / "params.json"
        sources.write_json(path, json.loads(path.read_text()) | changes)

    return spoil


def index(changes=(), **top):
    """Changes keys of the index's weight_map, or the whole index."""

    def spoil(source):
        read = json.loads((source / INDEX).read_text())
        read["weight_map"] |= dict(changes)
        (source / INDEX).write_text(json.dumps(read | top))

    return spoil


def also(file, **state):
    """One more torch file, or safetensors file, of these tensors."""

    def spoil(source):
        save = save_file if file.endswith(".safetensors") else torch.save
        save(state, source / file)

    return spoil


def third_layer(state):
    state |= {k.replace("layers.1.", "layers.2."): v for k, v in state.items() if "layers.1." in k}


def norm(values):
    return lambda state: state.update({"norm.weight": values})


def flipped(file):
    def spoil(source):
        data = bytearray((source / file).read_bytes())
        data[len(data) // 2] ^= 1
        (source / file).write_bytes(data)

    return spoil


def copied(file, name):
    return lambda source: shutil.copy(source / file, source / name)


def swapped(source):
    (source / FIRST).rename(source / "other")
    (source / THIRD).rename(source / FIRST)
    (source / "other").rename(source / THIRD)


EVIL = archive(pickled(call(name("os", "system"), text("touch ran"))))
ZERO = torch.zeros(32, dtype=torch.bfloat16)

# What goes wrong in the twelve runs of the official script that its users report.
SOURCES = {
    "a key twice, with other values": (
        also("consolidated.01.pt", **{"norm.weight": ZERO}),
        "ME513 1 tensor is both in consolidated.00.pt and in consolidated.01.pt; "
        "first: norm.weight"),
    "a key that no rule knows": (
        also("consolidated.02.pt", **{"rope.freqs": ZERO}),
        "ME314 tensors: 1 tensor of the checkpoint matches no rule:\n  rope.freqs"),
    "a layer more than the config says": (
        edited("consolidated.04.pt", third_layer),
        "ME314 tensors: 10 tensors match no rule:\n  layers.2.attention_norm.weight"),
    "another number of heads": (
        params(n_heads=8),
        "ME311 rules[5].shape: layers.0.attention.wq.weight is [32, 32] in consolidated.00.pt, "
        "and [heads * head_dim, hidden] is [64, 32]"),
    "another number of key-value heads": (
        params(n_kv_heads=4),
        "ME311 rules[6].shape: layers.0.attention.wk.weight is [16, 32] in consolidated.00.pt, "
        "and [kv_heads * head_dim, hidden] is [32, 32]"),
    "a ninth file": (
        also("consolidated.08.pt", **{"norm.weight.1": ZERO}),
        "ME314 tensors: 1 tensor of the checkpoint matches no rule:\n  norm.weight.1"),
    "a key that is not there": (
        edited("consolidated.00.pt", lambda state: state.pop("norm.weight")),
        "ME310 rules[1]: 1 tensor is missing from the checkpoint:\n  norm.weight"),
    "another shape": (
        edited("consolidated.00.pt", norm(torch.zeros(33, dtype=torch.bfloat16))),
        "ME311 rules[1].shape: norm.weight is [33] in consolidated.00.pt, and [hidden] is [32]"),
    "a file that is cut off": (
        lambda source: os.truncate(source / "consolidated.00.pt", 5000),
        "ME502 consolidated.00.pt: truncated: the zip archive does not end in its closing record"),
    "a file that would run something": (
        lambda source: (source / "consolidated.03.pt").write_bytes(EVIL),
        "ME504 consolidated.03.pt: its pickle asks for 'os.system', not part of a state dict"),
    "a file of the layers is missing": (
        lambda source: (source / "consolidated.04.pt").unlink(),
        "ME310 rules[3]: 10 tensors are missing from the checkpoint:\n"
        "  layers.1.attention_norm.weight"),
}  # fmt: skip

FOLDERS = {
    "the index leads up": (
        index({"norm.weight": "../x.safetensors"}),
        f"ME514 {INDEX} points outside its folder: '../x.safetensors'"),
    "the index leads to the folder above": (
        index({"norm.weight": ".."}), f"ME514 {INDEX} points outside its folder: '..'"),
    "the index leads to the root": (
        index({"norm.weight": "/etc/passwd"}),
        f"ME514 {INDEX} points outside its folder: '/etc/passwd'"),
    "the index has a backslash": (
        index({"norm.weight": "..\\x"}), f"ME514 {INDEX} points outside its folder: '..\\\\x'"),
    "the index has a zero byte": (
        index({"norm.weight": "x\0y"}), f"ME514 {INDEX} points outside its folder: 'x\\x00y'"),
    "the index says a line of its own": (
        index({"norm.weight": "x\x1b[31m\nME000 fine.bin"}),
        rf"ME511 x\x1b[31m\nME000 fine.bin is missing: {INDEX} puts 1 tensor in it"),
    "the index names itself": (
        index({"norm.weight": INDEX}),
        f"ME514 {INDEX} puts 1 tensor in {INDEX}, which is no tensor file"),
    "the index names the config": (
        index({"norm.weight": "params.json"}),
        f"ME514 {INDEX} puts 1 tensor in params.json, which is no tensor file"),
    "the index is a list": (
        lambda source: (source / INDEX).write_text("[]"),
        f"ME514 {INDEX} has no weight_map of keys to file names"),
    "the index says a key twice": (
        lambda source: (source / INDEX).write_text('{"weight_map": {"a": "b", "a": "c"}}'),
        f"ME516 {INDEX} is not good JSON: key 'a' is there twice"),
    "the index names nothing": (
        index(weight_map={}), f"ME515 {INDEX} does not list what is in {FIRST}"),
    "the index names a thousand more": (
        index({f"more.{n}": FIRST for n in range(1000)}),
        f"ME515 {INDEX} promises what is not in {FIRST}: more.{{0...999}} (1000 tensors)"),
    "the index names a hundred thousand files": (
        index({f"more.{n}": f"{n:06}.bin" for n in range(100_000)}),
        f"ME511 000000.bin is missing: {INDEX} puts 1 tensor in it"),
    "a file of an earlier conversion beside the shards": (
        also("consolidated.safetensors", **{"norm.weight": ZERO}),
        f"ME513 1 tensor is both in consolidated.safetensors and in {THIRD}; first: norm.weight"),
    "a torch file of it beside the shards": (
        also("consolidated.00.pth", **{"norm.weight": ZERO}),
        f"ME513 1 tensor is both in {THIRD} and in consolidated.00.pth; first: norm.weight"),
    "a shard of an earlier conversion": (
        copied(FIRST, "consolidated-00001-of-00004.safetensors"),
        f"ME515 {INDEX} does not list what is in consolidated-00001-of-00004.safetensors"),
    "a shard copied over another": (
        copied(FIRST, THIRD), f"ME515 {INDEX} promises what is not in {THIRD}: norm.weight"),
    "two shards that changed names": (
        swapped, f"ME515 {INDEX} promises what is not in {FIRST}, but it is in {THIRD}"),
    "an empty shard": (
        lambda source: (source / FIRST).write_bytes(b""),
        f"ME502 {FIRST}: truncated: needs 8 bytes at 0, has 0"),
    "a folder for a shard": (
        lambda source: ((source / FIRST).unlink(), (source / FIRST).mkdir()),
        f"ME511 {FIRST} is missing: {INDEX} puts 33 tensors in it"),
    "a shard with other shapes": (
        edited_shard(FIRST, lambda state: state.update(
            {key: value.flatten() for key, value in state.items() if "wq" in key})),
        f"ME311 rules[5].shape: layers.0.attention.wq.weight is [1024] in {FIRST}"),
}  # fmt: skip


@pytest.mark.parametrize("fault", SOURCES)
def test_a_faulty_source_is_refused(fault, tmp_path):
    spoil, message = SOURCES[fault]
    assert message in refusal(convert(tmp_path, spoil, "hub"))


@pytest.mark.parametrize("fault", FOLDERS)
def test_a_folder_in_disorder_is_refused(fault, tmp_path):
    spoil, message = FOLDERS[fault]
    assert message in refusal(convert(tmp_path, spoil, "sharded"))


def doubled(state):
    state |= {key: tensor.double() for key, tensor in state.items()}


def test_tensors_of_another_dtype_are_told(tmp_path):
    done = convert(tmp_path, edited("consolidated.04.pt", doubled), "hub")
    assert done.status == 0
    assert "note: the output: not every tensor is bfloat16: 31 float64, the first of them " in (
        done.err
    )


def test_tensors_of_one_dtype_are_not_spoken_of(tmp_path):
    assert "not every tensor" not in convert(tmp_path, lambda source: None, "hub").err


def test_a_flipped_bit_is_found_where_checksums_are_looked_at(tmp_path):
    done = convert(tmp_path, flipped("consolidated.00.pt"), "hub", "--hash")
    assert refusal(done).startswith("ME517 consolidated.00.pt: the bytes of member")


def test_a_flipped_bit_of_the_output_is_found_years_later(tmp_path):
    convert(tmp_path, lambda source: None, "sharded", "--hash")
    flipped("model.safetensors")(tmp_path / "work/out")
    check = check_receipt(Subject(read_folder(tmp_path / "work/out"), load=False))
    assert {finding.code for finding in check.findings} == {"ME714"}


HARMLESS = {
    "no index": lambda source: (source / INDEX).unlink(),
    "a wrong total in the index": index(metadata={"total_size": 10**30}),
    "a folder for a shard that has no tensors": (
        lambda source: ((source / SECOND).unlink(), (source / SECOND).mkdir())
    ),
    "another file of text": lambda source: (source / "README.md").write_text("../../etc"),
}


@pytest.mark.parametrize("fault", HARMLESS)
def test_what_takes_nothing_away_is_read(fault, tmp_path):
    done = convert(tmp_path, HARMLESS[fault], "sharded")
    assert done.status == 0, done.err
    expected = tmp_path / "good"
    expected.mkdir()
    convert(expected, lambda source: None, "sharded")
    written, good = (load_file(f / "work/out/model.safetensors") for f in (tmp_path, expected))
    assert written.keys() == good.keys()
    assert all(torch.equal(written[key], good[key]) for key in good)


def test_what_no_file_tells_is_taken_as_it_is(tmp_path):
    """All heads have keys and values of their own, and nothing states the size of one.

    Then no shape depends on how many there are, and a wrong number turns q and k wrongly.
    """
    case = CASES["mha_kv_heads_absent"]
    done = convert(tmp_path, params(num_attention_heads=8), "hub", family="script", case=case)
    assert done.status == 0
    told = json.loads(Path(tmp_path / "work/out/config.json").read_text())
    assert told["num_attention_heads"] == 8
