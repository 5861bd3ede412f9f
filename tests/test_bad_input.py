"""A checkpoint, a config or an output that is wrong: one clear error, and nothing written."""

import json
import os
import shutil
import struct
import subprocess
import time
import tracemalloc
from pathlib import Path

import pytest
import torch
from formats import pickles
from golden import sources
from golden.cases import CASES
from language.test_cases import said
from safetensors.torch import save_file

from mapengine import api
from mapengine.errors import MapengineError, OutputError

MAPPING = Path(__file__).parent.parent / "mappings" / "mixtral.yaml"
CASE = CASES["mqa"]
INDEX = "consolidated.safetensors.index.json"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
not_as_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(MAPPING, "mixtral.yaml")
    return tmp_path


def write(layout="torrent", family="native") -> Path:
    return sources.write_source(CASE, Path("source"), layout, family)


def everything() -> dict[Path, bytes | None]:
    """Every file below here with its content, every folder with none."""
    return {p: p.read_bytes() if p.is_file() else None for p in sorted(Path().rglob("*"))}


def refused(output="output", source="source", mapping="mixtral.yaml", **options) -> list[str]:
    """What is said; and that the same files are there as before, and no others."""
    before = everything()
    with pytest.raises(MapengineError) as caught:
        api.run(api.Job(mapping, source), output, **options)
    assert everything() == before
    assert all(
        len(text) < 1000 and text.isprintable() for text in "".join(said(caught.value)).split("\n")
    )
    return said(caught.value)


# -- tensor files -----------------------------------------------------------------------------


def evil(path):
    command = pickles.call(pickles.name("os", "system"), pickles.text("touch ran"))
    path.write_bytes(pickles.archive(pickles.pickled(command)))


@pytest.mark.parametrize(
    "name, spoil, message",
    [
        ("consolidated.00.pth", lambda p: os.truncate(p, 5000),
         "ME502 {}: truncated: the zip archive does not end in its closing record"),
        ("consolidated.01.pth", lambda p: p.write_text("hello"),
         "ME501 {}: not a file that torch.save wrote"),
        ("consolidated.safetensors", lambda p: p.write_text("hello there, this is no such file"),
         "ME501 {}: not a safetensors file: a header of 7526676540175443304 bytes"),
        ("consolidated.01.pth", lambda p: p.write_bytes(b""),
         "ME502 {}: truncated: 0 bytes"),
        ("consolidated.01.pth", evil,
         "ME504 {}: its pickle asks for 'os.system', not part of a state dict\n"
         "= nothing was run; save the tensors alone, as torch.save(model.state_dict(), path); "
         "or name it under ignore.objects of the mapping, and it is passed over"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_it_should_be(name, spoil, message):
    spoil(write() / name)
    assert refused() == [message.format(name)]
    assert not Path("ran").exists()


def header(change):
    def spoil(path):
        raw = path.read_bytes()
        (size,) = struct.unpack("<Q", raw[:8])
        fields = json.loads(raw[8 : 8 + size])
        change(fields)
        text = json.dumps(fields).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + size :])

    return spoil


def length(size):
    def spoil(path):
        path.write_bytes(struct.pack("<Q", size) + path.read_bytes()[8:])

    return spoil


def entry(**changes):
    return header(lambda fields: fields["norm.weight"].update(changes))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (length(2**62), "ME501 {}: not a safetensors file: a header of 4611686018427387904 bytes"),
        (lambda p: os.truncate(p, 5000),
         "ME502 {}: truncated: tensors take 59968 bytes, 2208 are there"),
        (entry(data_offsets=[47520, 47584]),
         "ME503 {}: tensor 'norm.weight' at 47520 overlaps the one before, which ends 47552"),
        (header(lambda fields: fields.pop("norm.weight")),
         "ME503 {}: tensor 'output.weight' at 47680 leaves a hole before it, which ends 47616"),
        (entry(shape=[5 * 10**11], data_offsets=[47616, 47616 + 10**12]),
         "ME503 {}: tensor 'output.weight' at 47680 overlaps the one before, "
         "which ends 1000000047616"),
        (entry(shape=[33]),
         "ME503 {}: tensor 'norm.weight': bfloat16 [33] takes 66 bytes, its data_offsets span 64"),
    ],
)  # fmt: skip
def test_a_safetensors_header_that_lies(spoil, message):
    name = "consolidated.safetensors"
    spoil(write("safetensors") / name)
    assert refused() == [message.format(name)]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"norm.weight": "../x.pt"}, "ME514 {} points outside its folder: '../x.pt'"),
        ({"norm.weight": "/etc/passwd"}, "ME514 {} points outside its folder: '/etc/passwd'"),
        ({"norm.weight": "consolidated-00009-of-00003.safetensors"},
         "ME511 consolidated-00009-of-00003.safetensors is missing: {} puts 1 tensor in it"),
        ({"norm.weight": "consolidated-00002-of-00003.safetensors"},
         "ME515 {} promises what is not in consolidated-00002-of-00003.safetensors, "
         "but it is in consolidated-00003-of-00003.safetensors: norm.weight (1 tensor)"),
        ({"norm.weight": None},
         "ME515 {} does not list what is in consolidated-00003-of-00003.safetensors: "
         "norm.weight (1 tensor)"),
        ({"more.weight": "consolidated-00001-of-00003.safetensors"},
         "ME515 {} promises what is not in consolidated-00001-of-00003.safetensors: "
         "more.weight (1 tensor)"),
        ({"norm.weight": 3}, "ME514 {} has no weight_map of keys to file names"),
    ],
)  # fmt: skip
def test_an_index_that_lies(change, message):
    path = write("sharded") / INDEX
    index = json.loads(path.read_text())
    index["weight_map"] |= change
    index["weight_map"] = {k: v for k, v in index["weight_map"].items() if v is not None}
    path.write_text(json.dumps(index))
    assert refused() == [message.format(INDEX)]


def test_a_shard_that_is_missing_is_said_once():
    (write("sharded") / "consolidated-00003-of-00003.safetensors").unlink()
    assert refused() == [
        f"ME511 consolidated-00003-of-00003.safetensors is missing: {INDEX} puts 14 tensors in it"
    ]


def test_a_key_in_two_files():
    save_file({"norm.weight": torch.zeros(32)}, write() / "consolidated.safetensors")
    assert refused() == [
        "ME513 1 tensor is both in consolidated.safetensors and in consolidated.00.pth; "
        "first: norm.weight\n= a copy does not belong in the folder; parts of one whole are told "
        "apart by the `prefix` of their files, or by an index in the file pattern"
    ]


def test_a_file_of_another_size_than_was_planned():
    planned = api.plan(api.Job("mixtral.yaml", write()))
    with Path("source/consolidated.00.pth").open("ab") as file:
        file.write(b"\0")
    (message,) = refused(planned=planned)
    assert message == "ME615 consolidated.00.pth has changed since it was planned\n= run it again"


def test_a_value_that_is_lost_halfway_leaves_nothing():
    path = write() / "consolidated.00.pth"
    tensors = torch.load(path)
    tensors["layers.1.ffn_norm.weight"][3] = 1e38
    torch.save(tensors, path)
    before = everything()
    with pytest.raises(MapengineError) as caught:
        api.run(api.Job("mixtral.yaml", "source", dtype="float16"), "output")
    (problem,) = caught.value.problems
    assert problem.code == "ME305" and "layers.1.post_attention_layernorm" in problem.message
    assert everything() == before


# -- config -----------------------------------------------------------------------------------

KIND = "= correct it, or give the field a `type`, which converts on reading"


def at(text: str, column: int = 3) -> str:
    """The place in the mapping of the line that begins with `text`."""
    lines = MAPPING.read_text().splitlines()
    line = next(n for n, one in enumerate(lines, 1) if one.strip().startswith(text))
    return f"mixtral.yaml:{line}:{column}"


def field(name: str, text: str) -> str:
    return f"{at(f'{name}:')}: ME405 config.{name}: params.json: {text}"


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("dim", "32", field("hidden", f'dim is "32", where a number is wanted\n{KIND}')),
        ("dim", [32], field("hidden", f"dim is [32], where a number is wanted\n{KIND}")),
        ("dim", {"a": 1}, field("hidden", f'dim is {{"a": 1}}, where a number is wanted\n{KIND}')),
        ("dim", True, field("hidden", f"dim is true, where a number is wanted\n{KIND}")),
        ("dim", 32.5, field("hidden", "dim is 32.5, where a whole number is wanted")),
        ("norm_eps", "no", field("norm_eps", 'norm_eps is "no", which is no float')),
        ("sliding_window", "9.5", field("window", 'sliding_window is "9.5", which is no int')),
        ("n_layers", -1,
         f"{at('dims:', 15)}: ME405 dims.layer: -1 is no size of an index\n"
         "= layers is -1 (params.json: n_layers)"),
        ("n_layers", 10**12,
         f"{at('dims:', 15)}: ME405 dims.layer: 1000000000000 is no size of an index\n"
         "= layers is 1000000000000 (params.json: n_layers)"),
        ("n_layers", 10**6,
         f"{at('- attention_norm', 9)}: ME302 rules[3]: far more keys than the 29 of the "
         "checkpoint: layer goes to 1,000,000\n"
         "= layers is 1000000 (params.json: n_layers); "
         "experts is 2 (params.json: moe.num_experts)"),
        ("rope", {"type": "linear", "by": 2},
         f"{at('source:', 1)}: ME403 params.json: rope.type, rope.by are read by no field\n"
         '= carry, ignore.config, or a field; "params.json:" there leaves all that is left'),
    ],
)  # fmt: skip
def test_a_config_value_that_cannot_be(key, value, message):
    path = write() / "params.json"
    sources.write_json(path, json.loads(path.read_text()) | {key: value})
    tracemalloc.start()
    started = time.process_time()
    found = refused()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [message]
    assert time.process_time() - started < 5 and most < 100_000_000


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"dim": NaN}', "ME516 params.json is not good JSON: NaN is not a value"),
        ('{"dim": 1, "dim": 2}', "ME516 params.json is not good JSON: key 'dim' is there twice"),
        ("{'dim': 1}", "ME516 params.json is not good JSON: line 1, column 2: "
         "expecting property name enclosed in double quotes"),
        ("", "ME516 params.json is not good JSON: line 1, column 1: expecting value"),
        ('{"a":' * 500 + "1" + "}" * 500,
         "ME516 params.json is not good JSON: it is nested more than 64 deep"),
        ("[" * 100_000, "ME516 params.json is not good JSON: it is nested more than 64 deep"),
        ('{"dim": ' + "9" * 5000 + "}",
         "ME516 params.json is not good JSON: a number of 5000 digits"),
        ('{"dim": "\\ud800"}',
         "ME516 params.json is not good JSON: a character of its text is half of one"),
    ],
    ids=["NaN", "twice", "not JSON", "empty", "deep", "deeper", "digits", "surrogate"],
)  # fmt: skip
def test_a_config_that_cannot_be_read(text, message):
    (write() / "params.json").write_text(text)
    assert refused() == [message]


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda path: path.unlink(), "there is no params.json in source"),
        (lambda path: path.write_text("[1]"), "params.json holds [1], where an object is wanted"),
        (lambda path: (path.unlink(), path.mkdir()), "there is no params.json in source"),
    ],
)
def test_a_config_that_is_not_there(spoil, message):
    spoil(write() / "params.json")
    held = sorted(path.name for path in Path("source").iterdir() if path.is_file())
    said_last = f"= source holds {', '.join(held)}"
    assert refused() == [f"{at('source:', 1)}: ME420 no layout fits: {message}\n{said_last}"]


def test_a_source_that_is_not_there():
    where = f"= {Path('source').absolute()} is where it was looked for"
    assert refused(source="source") == [f"ME501 source: No such file or directory\n{where}"]
    Path("source").write_text("")
    assert refused() == [
        "ME501 source is a file, where the folder of a checkpoint is wanted\n= name its folder: ."
    ]


# -- the output -------------------------------------------------------------------------------

ANOTHER = "= name another path, or replace it with --overwrite"


def test_an_output_that_holds_something():
    write()
    Path("output").mkdir()
    Path("output/mine").write_text("x")
    assert refused() == ["ME611 output is not empty\n= name another path"]
    assert refused(overwrite=True) == [
        "ME611 output was not written by mapengine (it holds no mapengine.json)\n"
        "= remove it yourself, or name another path"
    ]


def test_overwrite_replaces_what_a_run_has_written():
    write()
    api.run(api.Job("mixtral.yaml", "source"), "output")
    first, other = everything(), api.Job("mixtral.yaml", "source", dtype="float32")
    with pytest.raises(OutputError, match="ME611 output is not empty"):
        api.run(other, "output")
    api.run(other, "output", overwrite=True)
    assert everything().keys() == first.keys() and everything() != first


def test_a_run_that_fails_leaves_what_it_would_have_replaced():
    write()
    api.run(api.Job("mixtral.yaml", "source"), "output")
    planned = api.plan(api.Job("mixtral.yaml", "source"))
    os.truncate("source/consolidated.00.pth", 5000)
    refused(overwrite=True, planned=planned)


@pytest.mark.parametrize("target", ["a file", "a link to a folder", "a link to nothing"])
def test_an_output_that_is_no_folder(target):
    write()
    if target == "a file":
        Path("output").write_text("x")
    else:
        Path("output").symlink_to("real")
    if target == "a link to a folder":
        Path("real").mkdir()
    assert refused() == ["ME611 output is there and is not a folder\n= name another path"]


@pytest.mark.parametrize("output", ["source/out", "source", ".", "source/../source/out"])
def test_an_output_within_the_source_or_around_it(output):
    write()
    (message,) = refused(output=output)
    assert message.startswith("ME611 ")


def test_an_output_without_a_parent(folder):
    write()
    assert refused(output="a/b") == [f"ME612 {folder}/a is not a folder\n= create it first"]


def test_an_output_with_a_name_that_no_file_can_have():
    write()
    (message,) = refused(output="o" * 300)
    assert "File name too long" in message


@not_as_root
def test_an_output_that_cannot_be_written():
    write()
    Path("locked").mkdir(mode=0o555)
    assert refused(output="locked/out") == [
        f"ME612 {Path('locked').absolute()} cannot be written to"
    ]


def test_free_space_is_looked_at_first(monkeypatch, folder):
    write()
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    (message,) = refused()
    assert message.startswith(f"ME613 {folder} has 1,000 bytes free, ")
    assert "needed" in message and "are missing" in message


@as_root
def test_a_disk_that_fills_up(monkeypatch, folder):
    write()
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        usage = shutil.disk_usage(folder)
        with pytest.raises(OutputError, match="ME613"):
            api.run(api.Job("mixtral.yaml", "source"), disk / "output")
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(OutputError, match=r"ME614 .*No space left on device"):
            api.run(api.Job("mixtral.yaml", "source"), disk / "output")
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
