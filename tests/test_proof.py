"""Proofs of mappings, and what they find; and mappings one after another."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mapengine import api
from mapengine.errors import MapengineError
from mapengine.ops import OPS
from mapengine.ops.rope_permute import RopePermute
from mapengine.planning.pieces import is_plain_copy
from mapengine.verification import proof

HEAD = """\
mapengine: 1
name: mapping
source: {config: params.json, tensors: model.safetensors}
target: {config: config.json, tensors: model.safetensors}
"""


def write(path, text, head=HEAD):
    path.write_text(head + text)
    return path


WEAKER = {"mean": "lossy", "dequantize": "one-way"}


def test_every_rule_that_ships_is_exact_but_for_averages_and_numbers_of_few_bits():
    for path in api.shipped_mappings().values():
        proven, mapping = api.prove(path), api.load(path)
        untried = {note.path for note in proven.notes if note.code == "ME335"}
        assert {claim.rule.path for claim in proven.claims} | untried == {
            rule.path for rule in mapping.rules
        }
        for claim in proven.claims:
            weaker = [WEAKER[call.name] for call in claim.rule.ops if call.name in WEAKER]
            assert [claim.exactness.value] == (weaker or ["exact"]), claim.rule


def test_each_rule_says_what_it_does_to_values(tmp_path):
    text = """\
dims: {i: 2}
tensors:
  - kept.{i}: {shape: [4, 3]}
  - wide: {shape: [4], ops: [{cast: {to: float32, from: bfloat16}}]}
  - added: {shape: [4], ops: [{add: 1}]}
  - back:
      shape: [4]
      ops: [{cast: {to: float32, from: bfloat16}}, {cast: {to: bfloat16, from: float32}}]
example: {}
"""
    claims = api.prove(write(tmp_path / "m.yaml", text)).claims
    told = {str(claim.rule): (claim.exactness.value, claim.tensors) for claim in claims}
    assert told == {
        "kept.{i}": ("exact", 2), "wide": ("widening", 1),
        "added": ("lossy", 1), "back": ("exact", 1),
    }  # fmt: skip


def test_a_mean_uses_every_element_and_comes_back_as_copies(tmp_path):
    text = """\
dims: {rank: 3}
tensors:
  - w: {shape: [4, 3], ops: [{mean: {over: rank}}, {transpose: [0, 1]}]}
  - a, b -> c: {shape: [2], ops: [{concat: {over: rank}}, mean]}
example: {}
"""
    ranked = HEAD.replace("model.safetensors}\ntarget", "'model_{rank}.pt'}\ntarget")
    path = write(tmp_path / "m.yaml", text, ranked)
    claims = api.prove(path).claims
    assert [(claim.exactness.value, claim.elements) for claim in claims] == [
        ("lossy", 12),
        ("lossy", 6),
    ]
    one = write(tmp_path / "one.yaml", text.replace("{rank: 3}", "{rank: 1}"), ranked)
    assert [claim.exactness.value for claim in api.prove(one).claims] == ["exact", "lossy"]


def test_a_mean_of_what_a_way_back_copied_is_one_pass(tmp_path):
    text = "dims: {rank: 2}\ntensors:\n  - w: {ops: [{mean: {over: rank}}]}\n"
    ranked = HEAD.replace("model.safetensors}\ntarget", "'model_{rank}.pt'}\ntarget")
    path = write(tmp_path / "m.yaml", text, ranked)
    (tmp_path / "in").mkdir()
    tensor = torch.rand(3, 4).bfloat16()
    save_file({"w": tensor}, tmp_path / "in" / "model.safetensors")
    (tmp_path / "in" / "config.json").write_text("{}")
    job = api.Job(path, tmp_path / "in", reverse=True, then=path)
    api.run(job, tmp_path / "out", sync=False)
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(found["w"], tensor)  # twice a number, halved


def test_a_one_way_rule_is_named_and_the_others_are_counted_all_the_same(tmp_path):
    text = (
        "tensors:\n  - v: {shape: [4]}\n  - w: {shape: [4], ops: [{cast: float16}]}\nexample: {}\n"
    )
    proven = api.prove(write(tmp_path / "m.yaml", text))
    assert [claim.exactness.value for claim in proven.claims] == ["exact", "one-way"]
    assert [(note.code, note.where.line) for note in proven.notes] == [("ME330", 7)]


QUANTISED = """\
tensors:
  - v: {shape: [4]}
  - w, w_scale -> w:
      shape: [[5, 6], [3, 2]]
      dtype: [float8_e4m3fn, float32]
      ops: [{dequantize: {format: fp8_e4m3, block: [2, 3], to: bfloat16}}, {transpose: [0, 1]}]
  - u_blocks, u_scales -> u:
      shape: [[3, 2, 16], [3, 2]]
      dtype: uint8
      ops: [{dequantize: {format: mxfp4, to: bfloat16}}]
example: {}
"""


def test_a_quantised_weight_and_its_scale_are_used_and_do_not_come_back(tmp_path):
    proven = api.prove(write(tmp_path / "m.yaml", QUANTISED))
    claims = [(claim.exactness.value, claim.tensors, claim.elements) for claim in proven.claims]
    assert claims == [("exact", 1, 4), ("one-way", 1, 30), ("one-way", 1, 192)]
    assert [(note.code, note.where.line, note.path) for note in proven.notes] == [
        ("ME330", 10, "rules[1].ops[0].dequantize"),
        ("ME330", 14, "rules[2].ops[0].dequantize"),
    ]


def test_scales_of_weights_that_are_all_cut_off_are_used_too(tmp_path):
    text = QUANTISED.replace("{transpose: [0, 1]}", "{unpad: {from: 5, to: 2}}")
    claims = api.prove(write(tmp_path / "m.yaml", text)).claims
    assert [(claim.exactness.value, claim.elements) for claim in claims][1] == ("one-way", 12)


def test_what_is_read_of_a_scale_is_counted_once(tmp_path):
    plan = api.check_example(api.load(write(tmp_path / "m.yaml", QUANTISED)), frozenset())
    assert plan.bytes_read == 2 * 4 + (5 * 6 + 4 * 3 * 2) + (3 * 2 * 16 + 3 * 2)
    assert plan.bytes_written == 2 * (4 + 5 * 6 + 3 * 64)


def test_a_quantised_weight_goes_on_to_another_mapping_in_one_pass(tmp_path):
    first = write(tmp_path / "first.yaml", QUANTISED)
    text = """\
tensors:
  - v
  - w -> w.0, w.1: {ops: [split]}
  - u: {ops: [{cast: {to: float32, from: bfloat16}}]}
"""
    second = write(tmp_path / "second.yaml", text, HEAD.replace("params.json", "config.json"))
    values = api.make_example(api.load(first), frozenset(), tmp_path / "in").values
    for job, to in (
        (api.Job(first, tmp_path / "in", values=values), "between"),
        (api.Job(second, tmp_path / "between"), "by two"),
        (api.Job(first, tmp_path / "in", values=values, then=second), "at once"),
    ):
        api.run(job, tmp_path / to, sync=False)
    by_two, at_once = (
        load_file(tmp_path / to / "model.safetensors") for to in ("by two", "at once")
    )
    assert at_once.keys() == {"v", "w.0", "w.1", "u"}
    assert all(torch.equal(at_once[key], by_two[key]) for key in at_once)
    with pytest.raises(MapengineError) as refused:
        api.plan(api.Job(second, tmp_path / "by two", reverse=True, then=first, then_reverse=True))
    assert [problem.code for problem in refused.value.problems] == ["ME330"] * 2


@pytest.mark.parametrize(
    "wrong",
    [
        lambda self: self,
        lambda self: type(self)(1),
    ],
    ids=["the op itself", "by another head count"],
)
def test_an_inverse_that_is_none_is_found_out(wrong, monkeypatch):
    monkeypatch.setattr(RopePermute, "inverse", wrong)
    with pytest.raises(MapengineError) as refused:
        api.prove("mixtral")
    rules = {problem.path for problem in refused.value.problems}
    assert {problem.code for problem in refused.value.problems} == {"ME320"}
    assert "do not come back to where they were" in refused.value.problems[0].message
    assert len(rules) == 2


def test_an_op_that_loses_or_doubles_elements_is_found_out(tmp_path, monkeypatch):
    text = "tensors:\n  - w: {shape: [4, 3], ops: [{transpose: [0, 1]}]}\nexample: {}\n"
    path = write(tmp_path / "m.yaml", text)

    def first_row_twice(self, tensors):
        (tensor,) = tensors
        from mapengine.views import Joined

        return [Joined.of([tensor.narrow(0, 0, 1), tensor.narrow(0, 0, tensor.shape[0] - 1)], 0)]

    monkeypatch.setattr(OPS["transpose"], "apply", first_row_twice)
    with pytest.raises(MapengineError) as refused:
        api.prove(path)
    messages = [problem.message for problem in refused.value.problems]
    assert messages == [
        "w writes 3 elements of the example several times",
        "3 of the 12 elements of w come to no target",
    ]


def test_a_config_that_does_not_come_back_is_found_out(tmp_path):
    text = """\
config:
  a: {source: a, target: a}
  b: {source: b, target: b, values: {six: seven, eight: seven}}
  c: {source: c, default: 5}
tensors: [{w: {shape: [a]}}]
example: {a: 2, b: eight, c: 6}
"""
    with pytest.raises(MapengineError) as refused:
        api.prove(write(tmp_path / "m.yaml", text))
    (problem,) = refused.value.problems
    assert problem.message == 'params.json: b was "eight", and comes back as "six"'


def test_what_no_shape_can_see_is_noted(tmp_path):
    text = """\
config: {n: n}
dims: {w: [gate, up]}
tensors:
  - a, b -> ab: {shape: [n, 3], ops: [{concat: {dim: 0}}]}
  - c, d -> cd: {shape: [[n, 3], [1, 3]], ops: [{concat: {dim: 0, sizes: [n, 1]}}]}
  - scope: x.
    tensors:
      - square: {shape: [n, n]}
      - turned: {shape: [n, n], ops: [{transpose: [0, 1]}]}
  - "{w}.e -> fused": {shape: [n], ops: [{stack: {over: w, dim: 0}}]}
  - k: {shape: [n]}
  - l: {shape: [n]}
  - m: {shape: [n], when: n > 5}
example: {n: 2}
"""
    notes = api.prove(write(tmp_path / "m.yaml", text)).notes
    assert [(note.code, note.where.line) for note in notes] == [
        ("ME332", 8), ("ME332", 14), ("ME333", 12), ("ME334", 15), ("ME335", 17),
    ]  # fmt: skip


def test_what_must_be_set_on_the_way_back_is_noted_and_what_no_one_asks_for(tmp_path):
    text = """\
presets: {small: {sizes: [1, 2]}}
config:
  read: {source: read, target: read}
  only: only
  lost: {source: lost}
  sizes: {each: i}
  rows: {compute: "size('w', 0)"}
  stands_in: {compute: "size('w', 0)", default: 2}
  worked_out: {compute: 2 * read}
  unused: {}
dims: {i: 2}
tensors:
  - w: {shape: [2]}
  - "v.{i}": {shape: [sizes, rows, stands_in, worked_out]}
example: {read: 3, only: 1, lost: 2, sizes: [1, 2], rows: 2, stands_in: 2}
"""
    notes = api.prove(write(tmp_path / "m.yaml", text)).notes
    assert [(note.code, note.path, note.message, note.help) for note in notes] == [
        ("ME331", "config.lost",
         "lost is written nowhere, and has no default: to reverse, it must be set",
         "--set lost=VALUE"),
        ("ME331", "config.sizes",
         "sizes is in no file, and has no default: to reverse, it must be set",
         "--set sizes=VALUE, or a preset"),
        ("ME331", "config.rows",
         "rows is in no file, and has no default: to reverse, it must be set",
         "--set rows=VALUE"),
        ("ME336", "config.unused",
         "unused is of no use: no side has it, and nothing asks for it", ""),
    ]  # fmt: skip


USELESS = """\
mapengine: 1
name: m
source:
  config: params.json
  tensors: "r{rank}.pt"
  ignore: {config: [n.rows, n., old, "old.json:"]}
target:
  config: config.json
  tensors: m.safetensors
  ignore: {config: ["generation.json:", rows, date]}
config:
  rows: {source: n.rows, target: rows}
  eos: {target: [eos, "generation.json:eos"], default: 2}
dims: {layer: 2, kind: [weight, bias], part: [a, b], rank: 2}
tensors:
  - w.{layer} -> w.{layer}.{part}: {shape: [rows], ops: [same: {over: rank}, copy: {into: part}]}
example: {rows: 3}
"""


def test_what_could_be_left_out_is_noted(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(USELESS)
    assert [(n.where.line, n.message) for n in api.notes(path) if n.code == "ME336"] == [
        (14, "kind is of no use: it is in no key and no file, and no op takes it"),
        (6, "n.rows need not be ignored: a field reads it"),
        (6, "old.json: need not be ignored: nothing is read of that file"),
        (10, "rows need not be ignored: a field reads it"),
    ]


def test_what_is_wrong_on_the_way_back_is_said_to_be(tmp_path):
    text = """\
config:
  tail: {source: tail, target: tail_there}
  has_tail: {compute: has('tail')}
tensors:
  - w: {shape: [2]}
  - v: {shape: [2], when: not has_tail}
example: {tail: 1}
"""
    with pytest.raises(MapengineError) as refused:
        api.prove(write(tmp_path / "m.yaml", text))
    (problem,) = refused.value.problems
    assert problem.code == "ME310"
    assert problem.message == "on the way back: 1 tensor is missing from the checkpoint:\n  v"


def test_validate_prints_the_proof(tmp_path, capsys, monkeypatch):
    from mapengine import cli

    text = "tensors:\n  - v: {shape: [4]}\nexample: {}\n"
    path = write(tmp_path / "m.yaml", text)
    monkeypatch.setattr("sys.argv", ["mapengine", "validate", "--prove", "--json", str(path)])
    assert cli.invoke() == 0
    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert file["proof"]["rules"] == [
        {
            "path": "rules[0]",
            "line": 6,
            "rule": "v",
            "exactness": "exact",
            "tensors": 1,
            "elements": 4,
        }
    ]


# -- one mapping after another --------------------------------------------------------------------


@pytest.fixture
def example(tmp_path):
    mapping = api.load("mixtral")
    api.make_example(mapping, next(mapping.layouts()), tmp_path / "source")
    return tmp_path / "source"


def test_there_and_back_in_one_pass_only_copies(example, tmp_path):
    job = api.Job("mixtral", example, then="mixtral", then_reverse=True)
    plan = api.plan(job)
    assert all(is_plain_copy(tensor.content) for tensor in plan.tensors)
    api.run(job, tmp_path / "out", sync=False)
    name = "consolidated.safetensors"
    assert (tmp_path / "out" / name).read_bytes() == (example / name).read_bytes()
    receipt = json.loads((tmp_path / "out" / "mapengine.json").read_text())
    assert (receipt["reads"], receipt["after"]["reads"]) == ("target", "source")


def test_one_pass_makes_what_two_runs_make(example, tmp_path):
    job = api.Job("mixtral", example, layout="hub+huggingface", then="mixtral", then_reverse=True)
    api.run(job, tmp_path / "one", sync=False)
    api.run(api.Job("mixtral", example), tmp_path / "half", sync=False)
    second = api.Job("mixtral", tmp_path / "half", layout="hub+huggingface", reverse=True)
    api.run(second, tmp_path / "two", sync=False)
    one, two = (torch.load(tmp_path / n / "consolidated.00.pt") for n in ("one", "two"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    params = [(tmp_path / n / "params.json").read_text() for n in ("one", "two")]
    assert params[0] == params[1]


def test_casts_that_undo_one_another_are_gone(tmp_path):
    wide = "tensors:\n  - w: {ops: [{cast: {to: float32, from: bfloat16}}]}\n"
    path = write(tmp_path / "wide.yaml", wide)
    (tmp_path / "in").mkdir()
    save_file({"w": torch.rand(3, 4).bfloat16()}, tmp_path / "in" / "model.safetensors")
    (tmp_path / "in" / "params.json").write_text("{}")
    job = api.Job(path, tmp_path / "in", then=path, then_reverse=True)
    (tensor,) = api.plan(job).tensors
    assert is_plain_copy(tensor.content)
    narrow = write(
        tmp_path / "narrow.yaml", wide.replace("float32, from: bfloat16", "float16, from: bfloat16")
    )
    (tensor,) = api.plan(api.Job(narrow, tmp_path / "in", then=narrow, then_reverse=True)).tensors
    assert not is_plain_copy(tensor.content)  # what float16 cannot hold must be noticed


def test_what_is_set_goes_to_the_mapping_that_knows_it(tmp_path):
    first = "config: {a: {source: a, target: a}}\ntensors: [w]\n"
    second = (
        "config: {a: {source: a, target: b}, c: {target: c}}\ntensors: [{w -> v: {shape: [c]}}]\n"
    )
    paths = (
        write(tmp_path / "1.yaml", first),
        write(
            tmp_path / "2.yaml",
            second.replace("source: {", "source: {"),
            HEAD.replace("params", "config"),
        ),
    )
    (tmp_path / "in").mkdir()
    save_file({"w": torch.rand(3)}, tmp_path / "in" / "model.safetensors")
    (tmp_path / "in" / "params.json").write_text('{"a": 1}')
    job = api.Job(paths[0], tmp_path / "in", values={"a": 9, "c": 3}, then=paths[1])
    assert api.plan(job).configs == {"config.json": {"b": 9, "c": 3}}
    api.run(job, tmp_path / "out", sync=False)
    assert load_file(tmp_path / "out" / "model.safetensors")["v"].shape == (3,)
    with pytest.raises(MapengineError) as refused:
        api.plan(api.Job(paths[0], tmp_path / "in", values={"c": 3, "d": 1}, then=paths[1]))
    assert "d: the mapping has no such name" in str(refused.value)


def test_claims_of_several_layouts_are_the_weakest(tmp_path):
    claims = [
        proof.prove(api.check_example(api.load("mixtral"), one))
        for one in api.load("mixtral").layouts()
    ]
    merged = proof.merged(claims)
    assert [claim.rule.where.line for claim in merged] == sorted(c.rule.where.line for c in merged)
