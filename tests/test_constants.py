"""Tensors that a mapping says itself: made as torch makes them, checked on the way back."""

import json
import math
from pathlib import Path

import pytest
import torch
from language.test_cases import said
from programs import Content, OpenFile, Pair, made_in_pieces, raw
from safetensors.torch import load_file, save_file

from mapengine import api
from mapengine.errors import MapengineError
from mapengine.planning.budget import SMALLEST, Budget
from mapengine.planning.pieces import working_bytes
from mapengine.specs import DTYPES
from mapengine.views import Filled, View

HEAD = """\
mapengine: 1
name: mapping
source: {config: params.json, tensors: model.safetensors}
target: {config: config.json, tensors: model.safetensors}
"""
INF = math.inf
NUMBERED = [name for name in DTYPES if name != "float8_e8m0fnu"]  # it has no zero


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    save_file({"w": torch.arange(6.0)}, "in/model.safetensors")
    Path("in/params.json").write_text("{}")
    Path("in/config.json").write_text("{}")


def write(rest, name="mapping.yaml"):
    Path(name).write_text(HEAD + rest)
    return name


def made(rule):
    """What a rule without a source makes."""
    api.run(api.Job(write(f"tensors:\n  - w\n  - -> c: {rule}\n"), "in"), "out", sync=False)
    return load_file("out/model.safetensors")["c"]


def refused(rest, **options):
    with pytest.raises(MapengineError) as caught:
        api.run(api.Job(write(rest), "in", **options), "out", sync=False)
    assert not Path("out").exists()
    return said(caught.value)


def real(value, shape, dtype):
    kind = getattr(torch, dtype)
    if value == "arange":
        return torch.arange(math.prod(shape)).reshape(shape).to(kind)
    if value == "tril":
        return torch.tril(torch.ones(shape)).to(kind)
    return torch.full(shape, value, dtype=kind)


# -- what they are --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", NUMBERED)
@pytest.mark.parametrize("value", ["zeros", "ones", "arange", "tril"])
def test_a_constant_is_that_of_torch_in_every_dtype(value, dtype):
    shape = (2, 1) if value == "arange" else (2, 3, 2)
    words = {"zeros": 0, "ones": 1}
    found = made(f"{{value: {value}, shape: {list(shape)}, dtype: {dtype}}}")
    assert found.dtype == getattr(torch, dtype)
    assert found.shape == shape
    assert raw(found) == raw(real(words.get(value, value), shape, dtype))


@pytest.mark.parametrize(
    "value, dtype, wanted",
    [
        ("-10000.0", "bfloat16", -10000.0),
        ("0.1", "float16", 0.1),
        ("-.inf", "float32", -INF),
        ("65504", "float16", 65504.0),
        ("9223372036854775808", "uint64", 2**63),
        ("255", "uint8", 255),
        ("-128", "int8", -128),
        ("true", "bool", True),
        ("-0.0", "float32", 0.0),
        ("1 / 3", "float64", 1 / 3),
        ("1", "float8_e8m0fnu", 1.0),
        ("2", "complex64", 2.0),
    ],
)
def test_a_number_is_every_element(value, dtype, wanted):
    found = made(f"{{value: {value}, shape: [3], dtype: {dtype}}}")
    assert raw(found) == raw(torch.full((3,), wanted, dtype=getattr(torch, dtype)))


@pytest.mark.parametrize("count, dtype", [(2049, "float16"), (257, "bfloat16"), (256, "uint8")])
def test_arange_counts_as_far_as_its_dtype_does(count, dtype):
    found = made(f"{{value: arange, shape: [{count}], dtype: {dtype}}}")
    assert found.double().tolist() == list(range(count))


@pytest.mark.parametrize(
    "rule, told",
    [
        ("value: arange, shape: [2050], dtype: float16",
         "float16 has not all the numbers up to 2,049\n= another dtype counts further"),
        ("value: arange, shape: [3], dtype: bool",
         "bool has not all the numbers up to 2\n= another dtype counts further"),
        ("value: tril, shape: [3], dtype: bool", "tril is of matrices, and the shape is [3]"),
        ("value: 65520, shape: [3], dtype: float16", "65520 does not fit float16"),
        ("value: .inf, shape: [3], dtype: float8_e4m3fn", "inf does not fit float8_e4m3fn"),
        ("value: .nan, shape: [3], dtype: float32", "value is no number"),
        ("value: 0.5, shape: [3], dtype: int8", "0.5 is no int8"),
        ("value: 128, shape: [3], dtype: int8", "128 is no int8"),
        ("value: .inf, shape: [3], dtype: int8", "inf is no int8"),
        ("value: zeros, shape: [3], dtype: float8_e8m0fnu", "0 is no float8_e8m0fnu"),
        ("value: \"'eye'\", shape: [3], dtype: int8",
         'value is "eye", where a number is wanted'),
        ("value: 1, shape: [3], dtype: \"'half'\"",
         'dtype is "half", where a dtype is wanted'),
    ],
)  # fmt: skip
def test_a_constant_that_cannot_be_is_refused(rule, told):
    (found,) = refused(f"tensors:\n  - w\n  - -> c: {{{rule}}}\n")
    assert found == f"mapping.yaml:7:5: ME303 rules[1]: {told}"


def test_what_is_moved_of_a_constant_is_made_rightly_in_pieces():
    matrix = real("tril", (3, 40, 50), "int16")
    lazy = View.of(Filled("tril", (3, 40, 50), "int16"))
    pairs = [
        Pair(lazy, matrix),
        Pair(lazy.permute((2, 0, 1)), matrix.permute(2, 0, 1)),
        Pair(lazy.narrow(1, 7, 20).reshape((60, 50)), matrix[:, 7:27].reshape(60, 50)),
        Pair(lazy.reshape((6000,)).narrow(0, 1234, 999), matrix.reshape(-1)[1234:2233]),
    ]
    for pair in pairs:
        assert len(made_in_pieces(Content(), pair, Budget(3_000))) > 1
        assert working_bytes(pair.lazy, Budget(3_000)) <= 3_000
    with OpenFile(b"") as file:
        assert file.make(Filled("arange", (2, 3), "int64")).tolist() == [[0, 1, 2], [3, 4, 5]]


# -- the way back, and onwards --------------------------------------------------------------------

LARGE = "tensors:\n  - w\n  - -> c: {value: tril, shape: [2, 3000, 5000], dtype: uint8}\n"


def test_one_larger_than_the_memory_is_written_and_checked():
    job = api.Job(write(LARGE), "in")
    api.run(job, "out", sync=False, memory=SMALLEST + 2**20, workers=1)
    found = load_file("out/model.safetensors")["c"]
    assert torch.equal(found, real("tril", (2, 3000, 5000), "uint8"))
    back = api.Job("mapping.yaml", "out", reverse=True)
    assert api.plan(back).bytes_read == 24 + 30_000_000
    assert api.plan(back).peak_memory(1, SMALLEST + 2**20) <= SMALLEST + 2**20
    api.run(back, "back", sync=False, memory=SMALLEST + 2**20, workers=1)
    assert load_file("back/model.safetensors").keys() == {"w"}
    found[1, 2999, 2999] = 0
    save_file({"c": found, "w": torch.arange(6.0)}, "out/model.safetensors")
    with pytest.raises(MapengineError) as caught:
        api.run(back, "again", sync=False, memory=SMALLEST + 2**20, workers=1)
    assert "c: 1 of 30,000,000 elements are not those of `value: tril`" in str(caught.value)
    assert not Path("again").exists()


def test_a_dtype_that_is_another_tensors_is_taken_as_found_on_the_way_back():
    write("tensors:\n  - w\n  - -> c: {value: zeros, shape: [3], dtype: dtype('w')}\n")
    api.run(api.Job("mapping.yaml", "in", dtype="float16"), "out", sync=False)
    assert load_file("out/model.safetensors")["c"].dtype == torch.float16
    back = api.Job("mapping.yaml", "out", reverse=True)
    assert [str(out.wanted.spec) for out in api.plan(back).checks] == ["float16 [3]"]
    save_file({"w": torch.ones(6), "c": torch.ones(3).bfloat16()}, "out/model.safetensors")
    with pytest.raises(MapengineError) as caught:
        api.run(back, "back")
    assert "c: 3 of 3 elements are not those of `value: zeros`" in str(caught.value)


def test_a_plan_names_what_is_checked(capsys):
    from mapengine import cli

    save_file({"w": torch.arange(6.0), "c": torch.zeros(2, 3000, 5000, dtype=torch.uint8)},
              "in/model.safetensors")  # fmt: skip
    write(LARGE)
    command = ["plan", "mapping.yaml", "--source", "in", "--reverse"]
    from click.testing import CliRunner

    told = CliRunner().invoke(cli.cli, command).output
    assert "checked, and not written: c\n" in told
    told = json.loads(CliRunner().invoke(cli.cli, [*command, "--json"]).output)
    assert told["checked"] == ["c"]


def test_there_and_back_in_one_pass_checks_what_is_never_there():
    text = "tensors:\n  - w\n  - -> c: {value: 2, shape: [3], dtype: int32}\n"
    write(text)
    api.run(
        api.Job("mapping.yaml", "in", then="mapping.yaml", then_reverse=True), "out", sync=False
    )
    assert load_file("out/model.safetensors").keys() == {"w"}
    write(text.replace("value: 2", "value: 3"), "other.yaml")
    with pytest.raises(MapengineError) as caught:
        api.run(api.Job("mapping.yaml", "in", then="other.yaml", then_reverse=True), "again")
    assert "c: 3 of 3 elements are not those of `value: 3`" in str(caught.value)


def test_what_the_first_of_two_mappings_checks_is_checked():
    save_file({"w": torch.arange(6.0), "c": torch.ones(3)}, "in/model.safetensors")
    write("tensors:\n  - w\n  - -> c: {value: zeros, shape: [3], dtype: float32}\n")
    Path("second.yaml").write_text(HEAD.replace("params.json", "config.json").replace(
        "source: {config: config", "source: {config: params") + "tensors: [w]\n")  # fmt: skip
    with pytest.raises(MapengineError) as caught:
        api.run(api.Job("mapping.yaml", "in", reverse=True, then="second.yaml"), "out")
    assert "c: 3 of 3 elements are not those of `value: zeros`" in str(caught.value)


def test_a_second_mapping_takes_a_constant_as_any_tensor():
    write("tensors:\n  - w\n  - -> c: {value: tril, shape: [2, 3], dtype: float32}\n")
    second = HEAD.replace("params.json", "config.json") + (
        "tensors:\n  - w\n  - c -> d: {ops: [{transpose: [0, 1]}, {mul: 3}]}\n"
    )
    Path("second.yaml").write_text(second)
    api.run(api.Job("mapping.yaml", "in", then="second.yaml"), "out", sync=False)
    assert load_file("out/model.safetensors")["d"].tolist() == [[3, 3], [0, 3], [0, 0]]


def test_a_constant_is_proven_to_be_nothing_of_the_source():
    text = """\
config: {n: n}
dims: {i: n}
tensors:
  - x.{i} -> y.{i}: {shape: [3]}
  - -> y.{i}.mask: {value: tril, shape: [i + 1, n], dtype: bool}
example: {n: 2}
"""
    proven = api.prove(write(text))
    assert [(str(c.rule), c.exactness.value, c.tensors, c.elements) for c in proven.claims] == [
        ("x.{i} -> y.{i}", "exact", 2, 6),
        ("-> y.{i}.mask", "exact", 2, 6),
    ]
    assert proven.notes == []
