"""What `diff` finds: planted differences, values against torch, mappings written otherwise."""

import json
import subprocess
import sys
import tracemalloc

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import mapengine
from mapengine import api
from mapengine.cli import cli
from mapengine.comparison.headers import compare_headers, read_checkpoint
from mapengine.comparison.values import Tolerance, compare_values

MEMORY = 10**8


def said(*words, code=0):
    done = CliRunner().invoke(cli, ["diff", *map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


def write(folder, tensors, config=None, name="model.safetensors"):
    folder.mkdir()
    if name.endswith(".safetensors"):
        save_file({key: one.contiguous() for key, one in tensors.items()}, folder / name)
    else:
        torch.save(tensors, folder / name)
    (folder / "config.json").write_text(json.dumps(config or {}))
    return folder


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The example of a mapping, converted in one file, and cut into torch files."""
    folder = tmp_path_factory.mktemp("diff")
    mapping = api.load("llama")
    settings = api.make_example(mapping, api.example_layout(mapping, None), folder / "source")
    job = mapengine.Job(mapping, folder / "source", dict(settings.values))
    mapengine.run(job, folder / "one", sync=False)
    other = mapengine.Job(mapping, folder / "source", dict(settings.values), format="torch",
                          max_shard_size=40_000)  # fmt: skip
    mapengine.run(other, folder / "other", sync=False)
    return folder


def test_how_tensors_lie_in_files_is_no_difference(converted):
    count = len(load_file(converted / "one" / "model.safetensors"))
    assert len(list((converted / "other").glob("*.bin"))) > 2
    text = said(converted / "one", converted / "other", "--values")
    assert f"{count} tensors alike by key, shape and dtype\n" in text
    assert f"values of {count} tensors: {count} equal, 0 within the tolerance, 0 beyond" in text


CHANGES = {
    "a key": ({"l.0.a": None, "l.1.a": None}, {}, "- l.{0, 1}.a  ×2  float32 [2, 3]"),
    "a new key": ({"new": torch.zeros(3)}, {}, "+ new  float32 [3]"),
    "a shape": ({"b": torch.zeros(4, 1)}, {}, "~ b  float32 [4] → float32 [4, 1]"),
    "a dtype": (
        {"l.0.a": torch.zeros(2, 3).half(), "l.1.a": torch.zeros(2, 3).half()},
        {},
        "~ l.{0, 1}.a  ×2  float32 [2, 3] → float16 [2, 3]",
    ),
    "a value of the config": ({}, {"size": 4}, "~ config.json: size = 3 → 4"),
    "a kind of value": ({}, {"size": 3.0}, "~ config.json: size = 3 → 3.0"),
    "a true that was a one": ({}, {"one": True}, "~ config.json: one = 1 → true"),
    "an inner value": ({}, {"rope": {"theta": 2}}, "~ config.json: rope.theta = 1 → 2"),
    "a new value": ({}, {"more": None}, "+ config.json: more = null"),
    "an object that is empty": ({}, {"rope": {}}, "+ config.json: rope = {}"),
}
TENSORS = {"l.0.a": torch.zeros(2, 3), "l.1.a": torch.zeros(2, 3), "b": torch.zeros(4)}
CONFIG = {"size": 3, "one": 1, "rope": {"theta": 1}}


@pytest.mark.parametrize("tensors, config, line", CHANGES.values(), ids=CHANGES)
def test_a_planted_difference_is_told(tensors, config, line, tmp_path):
    one = write(tmp_path / "one", TENSORS, CONFIG)
    changed = {k: t for k, t in {**TENSORS, **tensors}.items() if t is not None}
    other = write(tmp_path / "other", changed, {**CONFIG, **config})
    assert line in said(one, other, code=1).splitlines()
    assert said(one, one) == "3 tensors alike by key, shape and dtype\n"


def test_plain_values_beside_the_tensors_are_compared_whatever_their_file_is_called(tmp_path):
    for name, layers in (("a.pt", 2), ("b.pt", 3)):
        torch.save({"w": torch.zeros(2), "args": {"layers": layers, "kind": "x"}}, tmp_path / name)
    text = said(tmp_path / "a.pt", tmp_path / "b.pt", code=1)
    assert text.splitlines()[0] == "~ the tensor file: args.layers = 2 → 3"


def test_a_key_of_several_files_is_told_with_its_file(tmp_path):
    for folder, last in (("one", 1.0), ("other", 2.0)):
        (tmp_path / folder).mkdir()
        for rank, value in enumerate((0.0, last)):
            torch.save({"w": torch.full((3,), value)}, tmp_path / folder / f"model.{rank}.pt")
    assert said(tmp_path / "one", tmp_path / "other").startswith("2 tensors alike")
    text = said(tmp_path / "one", tmp_path / "other", "--values", code=1)
    assert "~ model.1.pt: w  3 of 3 elements, at most 1 apart at [0]: 1 and 2; 0.5 relative" in text


# -- values -----------------------------------------------------------------------------------


def values(one, other, atol=0.0, rtol=0.0, memory=MEMORY):
    both = read_checkpoint(one), read_checkpoint(other)
    return {d.key: d for d in compare_values(*both, Tolerance(atol, rtol), memory, 2)}


DTYPES = [
    "float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int8", "uint8",
    "int16", "int32", "int64", "bool", "complex64",
]  # fmt: skip


def random(dtype, shape, seed):
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 4
    if dtype == "complex64":
        return torch.complex(made, -made)
    return (made > 0) if dtype == "bool" else made.to(getattr(torch, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("atol, rtol", [(0.0, 0.0), (0.25, 0.0), (0.0, 0.1), (0.1, 0.05)])
def test_values_are_compared_as_torch_compares_them(dtype, atol, rtol, tmp_path):
    shape = (37, 2001)  # more than is compared at a time
    a, b = random(dtype, shape, 0), random(dtype, shape, 1)
    keep = torch.rand(shape) < 0.9
    b = torch.where(keep, a, b) if not dtype.startswith("float8") else b
    found = values(write(tmp_path / "a", {"x": a}), write(tmp_path / "b", {"x": b}), atol, rtol)[
        "x"
    ]
    wide = torch.complex128 if dtype == "complex64" else torch.float64
    x, y = (one.float().to(wide) if dtype.startswith("float8") else one.to(wide) for one in (a, b))
    away = (x - y).abs()
    assert found.elements == a.numel() and found.differing == int((away > 0).sum())
    assert found.beyond == int((away > atol + rtol * y.abs()).sum())
    assert found.largest == pytest.approx(float(away.max()), rel=1e-6)
    assert float(away[found.at]) == pytest.approx(found.largest, rel=1e-6)
    relative = (away / y.abs())[away > 0]
    assert found.relative == pytest.approx(float(relative.max()) if len(relative) else 0, rel=1e-6)


@pytest.mark.parametrize("dtypes", [("bfloat16", "float32"), ("float16", "bfloat16"),
                                    ("int64", "float64"), ("uint8", "int32")])  # fmt: skip
def test_values_are_compared_across_dtypes(dtypes, tmp_path):
    a = torch.arange(100).reshape(10, 10)
    b = a.clone()
    b[3, 4] += 2
    a, b = (one.to(getattr(torch, dtype)) for one, dtype in zip((a, b), dtypes, strict=True))
    found = values(write(tmp_path / "a", {"x": a}), write(tmp_path / "b", {"x": b}))["x"]
    assert (found.differing, found.largest, found.at, found.values) == (1, 2.0, (3, 4), (34, 36))


def test_numbers_that_are_none_are_equal_to_themselves_alone(tmp_path):
    nan, inf = float("nan"), float("inf")
    a = torch.tensor([nan, nan, inf, inf, 0.0, 1.0])
    b = torch.tensor([nan, 1.0, inf, -inf, -0.0, 1.0])
    found = values(write(tmp_path / "a", {"x": a}), write(tmp_path / "b", {"x": b}), 1e9, 1e9)["x"]
    assert (found.differing, found.beyond, found.largest) == (2, 2, inf)
    same = values(write(tmp_path / "c", {"x": a[4:5]}), write(tmp_path / "d", {"x": b[4:5]}))["x"]
    assert (same.differing, same.other_bits) == (0, True)
    text = said(tmp_path / "a", tmp_path / "b", "--values", "--json", code=1)
    (told,) = json.loads(text)["values"]["tensors"]
    assert told["largest"] == "inf" and told["beyond"] == 2


def test_integers_beyond_what_a_double_holds_are_told_apart(tmp_path):
    a = torch.tensor([2**60, 5])
    found = values(write(tmp_path / "a", {"x": a}), write(tmp_path / "b", {"x": a + 1}))["x"]
    assert (found.differing, found.beyond) == (2, 2)


def test_tensors_that_are_stored_turned_are_compared_by_element(tmp_path):
    a = torch.randn(300, 400)
    turned = write(tmp_path / "a", {"x": a.T.contiguous().T, "s": torch.tensor(2.0)}, name="m.pt")
    plain = write(tmp_path / "b", {"x": a, "s": torch.tensor(2.0)})
    assert {d.differing for d in values(turned, plain).values()} == {0}
    b = a.clone()
    b[299, 7] += 1
    found = values(turned, write(tmp_path / "c", {"x": b, "s": torch.tensor(2.5)}))
    assert found["x"].at == (299, 7) and found["x"].differing == 1
    assert found["s"].at == () and found["s"].largest == 0.5


def test_no_more_memory_is_taken_than_is_said(tmp_path):
    a = torch.zeros(3000, 4000)
    b = a.clone()
    b[2999, 3999] = 1
    one = write(tmp_path / "a", {"x": a.T}, name="m.pt")
    other = write(tmp_path / "b", {"x": b.T})
    tracemalloc.start()
    found = values(one, other, memory=6 * 10**7)["x"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.at == (3999, 2999) and peak < 6 * 10**7 < 2 * a.nbytes


def test_the_worst_are_listed_first_and_the_others_folded(tmp_path):
    tensors = {f"l.{i}.w": torch.zeros(4) for i in range(14)}
    one = write(tmp_path / "one", tensors)
    other = write(tmp_path / "other", {k: t + i for i, (k, t) in enumerate(tensors.items())})
    lines = said(one, other, "--values", code=1).splitlines()[1:]
    assert [line.split()[1] for line in lines[:3]] == ["l.13.w", "l.12.w", "l.11.w"]
    assert lines[10:] == [
        "  and l.{1...3}.w  ×3",
        "values of 14 tensors: 1 equal, 0 within the tolerance, 13 beyond it",
    ]
    lines = said(one, other, "--values", "--atol", "20").splitlines()[1:]
    assert lines[0].startswith("≈ l.13.w  4 of 4 elements, at most 13 apart at [0]: 0 and 13")
    assert lines[-1] == "values of 14 tensors: 1 equal, 13 within the tolerance, 0 beyond it"


# -- mappings ---------------------------------------------------------------------------------

HEAD = """
mapengine: 1
name: small
source: {config: config.json, tensors: model.safetensors}
target: {config: config.json, tensors: model.safetensors}
config: {hidden: %s, layers: layers, heads: heads}
dims: {layer: layers}
tensors:
"""
RULES = """
  - l.{layer}.qkv -> m.{layer}.q, m.{layer}.k, m.{layer}.v:
      shape: [3 * hidden, hidden]
      ops: [split]
  - norm -> m.norm: {shape: [hidden]}
  - l.{layer}.up -> m.{layer}.up: {shape: [2 * hidden, hidden], ops: [{transpose: [0, 1]}]}
example: {hidden: 4, layers: 2, heads: 2}
"""


def mapping(folder, name, rules=RULES, hidden="hidden"):
    path = folder / f"{name}.yaml"
    path.write_text(HEAD % hidden + rules)
    return path


WRITTEN_OTHERWISE = {
    "permute": ("{transpose: [0, 1]}", "{permute: [1, 0]}"),
    "rearrange": ("{transpose: [0, 1]}", '{rearrange: "o i -> i o"}'),
    "there and back": (
        "{transpose: [0, 1]}", "{transpose: [0, 1]}, {permute: [1, 0]}, {transpose: [0, 1]}"),
    "the size of the parts": ("ops: [split]", "ops: [{split: {dim: -2}}]"),
}  # fmt: skip


@pytest.mark.parametrize("old, new", WRITTEN_OTHERWISE.values(), ids=WRITTEN_OTHERWISE)
def test_a_rule_that_is_written_otherwise_is_the_same(old, new, tmp_path):
    one = mapping(tmp_path, "one")
    other = mapping(tmp_path, "other", RULES.replace(old, new))
    assert said(one, other) == "9 targets made alike in 1 layout\n"


MADE_OTHERWISE = {
    "no op": (", ops: [{transpose: [0, 1]}]", "",
              "~ m.{0, 1}.up  ×2", "- l.0.up: transpose dims=[0, 1] → bfloat16 [4, 8]"),
    "another source": ("- norm ->", "- ln ->", "~ m.norm", "+ ln → bfloat16 [4]"),
    "another target": ("-> m.norm", "-> m.ln", "- m.norm", "- norm → bfloat16 [4]"),
    "another order": ("m.{layer}.k, m.{layer}.v", "m.{layer}.v, m.{layer}.k", "~ m.{0, 1}.k  ×2",
                      "the same tensors and ops, but other elements of them: their order differs"),
    "optional": ("norm: {shape: [hidden]}", "norm: {shape: [hidden], optional: true}", "~ m.norm",
                 "+ norm → bfloat16 [4], optional"),
    "a cast": ("norm: {shape: [hidden]}", "norm: {shape: [hidden], ops: [{cast: float32}]}",
               "~ m.norm", "+ norm: cast to=float32 → float32 [4]"),
}  # fmt: skip


@pytest.mark.parametrize("old, new, head, line", MADE_OTHERWISE.values(), ids=MADE_OTHERWISE)
def test_a_target_that_is_made_otherwise_is_told(old, new, head, line, tmp_path):
    assert old in RULES
    one, other = mapping(tmp_path, "one"), mapping(tmp_path, "other", RULES.replace(old, new))
    text = said(one, other, code=1)
    assert head in text.splitlines() and line in text
    (found,) = {change["keys"] for change in json.loads(said(one, other, "--json", code=1))[
        "targets"]} & {head[2:].split("  ")[0]}  # fmt: skip
    assert found


def test_a_field_that_is_said_otherwise_is_told_with_its_lines(tmp_path):
    one = mapping(tmp_path, "one")
    other = mapping(tmp_path, "other", hidden="{source: hidden, target: width, default: 8}")
    assert said(one, other, code=1).splitlines() == [
        "~ config.hidden.target: hidden (line 6) → width (line 6)",
        "+ config.hidden.default.source: 8 (line 6)",
        "9 targets made alike in 1 layout",
    ]
    same = mapping(tmp_path, "same", hidden="{source: hidden, target: hidden}")
    assert said(one, same) == "9 targets made alike in 1 layout\n"


@pytest.mark.parametrize("name", api.shipped_mappings())
def test_a_mapping_is_the_same_as_itself(name):
    text = json.loads(said(name, name, "--json"))
    assert text["same"] and not text["said"] and not text["targets"] and text["alike"] > 0


# -- the way out ------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["nowhere", "nowhere"], ["BROKEN", "BROKEN"], ["llama", "."],
                                   ["llama", "llama", "--values"], ["CUT", "CUT"],
                                   ["GOOD", "GOOD", "--values", "--memory", "1MB"]])  # fmt: skip
def test_what_cannot_be_compared_exits_with_2(words, tmp_path):
    (tmp_path / "broken.yaml").write_text("mapengine: 1\nname: broken\ntensrs: []\n")
    good = write(tmp_path / "good", TENSORS)
    cut = write(tmp_path / "cut", TENSORS)
    data = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(data[:-4])
    names = {"BROKEN": tmp_path / "broken.yaml", "CUT": cut, "GOOD": good}
    done = subprocess.run(
        [sys.executable, "-m", "mapengine", "diff", *(str(names.get(w, w)) for w in words)],
        capture_output=True, text=True, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and done.stderr and "internal" not in done.stderr, done


def test_headers_are_compared_without_numpy_and_torch(converted):
    words = ["mapengine", "diff", str(converted / "one"), str(converted / "other")]
    code = (
        "import sys, mapengine.cli as c\n"
        f"sys.argv = {words!r}\n"
        "assert c.invoke() == 0\n"
        "print(sorted({'torch', 'numpy', 'transformers'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1] == "[]", done.stderr


def test_the_counts_are_those_of_the_headers(converted):
    one = read_checkpoint(converted / "one")
    diff = compare_headers(one, read_checkpoint(converted / "source"))
    assert diff.same + sum(g.count for g in diff.tensors if g.one) == len(one.tensors)
    assert not diff.is_empty
