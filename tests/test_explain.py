"""What `explain` says, against the files that a run reads and writes."""

import json
from dataclasses import fields

import pytest
import torch
from click.testing import CliRunner
from language.checkpoints import read_checkpoint, write_checkpoint

import mapengine
from mapengine import api
from mapengine.checkpoints.folder import take_inventory
from mapengine.cli import cli
from mapengine.explanation.fields import fields_called
from mapengine.explanation.known import models
from mapengine.explanation.nearest import nearest
from mapengine.explanation.tensors import tensors_called
from mapengine.language.schema_ops import argument_name
from mapengine.ops import OPS
from mapengine.planning.lints import one_way

CONVERTED = [
    "mixtral native",
    "mixtral hub",
    "bloom",
    "nanogpt",
    "gpt_oss",
    "clip",
    "megatron_gpt2",
]


@pytest.fixture(scope="module", params=CONVERTED)
def job(request, tmp_path_factory):
    """A checkpoint, and a folder with what comes of it."""
    name, *layout = request.param.split()
    folder = tmp_path_factory.mktemp(name)
    mapping = api.load(name)
    chosen = api.example_layout(mapping, frozenset(layout))
    settings = api.make_example(mapping, chosen, folder / "source")
    job = mapengine.Job(mapping, folder / "source", dict(settings.values))
    mapengine.run(job, folder / "converted", sync=False)
    return job


def known(job):
    """What is known of a job's model."""
    inventory = take_inventory(job.folder, job.mapping, job.mapping.sides[job.read])
    return next(models(job.mapping, inventory, job.settings, None, job.read))


def tensors_in(folder):
    return {
        (file, key): one
        for file, held in read_checkpoint(folder).items()
        for key, one in (held.items() if isinstance(held, dict) else ())
        if isinstance(one, torch.Tensor)
    }


def stored_key(part, stored):
    """What a part is called in its file, which may say the beginning of its key, or have a root."""
    inside = [key for file, key in stored if file == part.file]
    ends = [key for key in inside if f".{part.key}".endswith(f".{key}")]
    return max(ends, key=len) if ends else next(k for k in inside if k.endswith(f"/{part.key}"))


def raw(one):
    return one.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def test_every_tensor_that_is_read_lies_where_it_is_said_to(job):
    model, stored = known(job), tensors_in(job.folder)
    seen = set()
    for key, _ in model.binding.tensors:
        for part in (part for one in tensors_called(model, key) for part in one.taken):
            real = stored[part.file, stored_key(part, stored)]
            assert str(part.spec) == f"{str(real.dtype)[6:]} {list(real.shape)}"
            assert (job.folder / part.file).read_bytes()[part.start : part.end] == raw(real), part
            seen.add((part.key, *part.rank.values()))
    there = {(key, *rank) for key, rank in model.binding.tensors if not model.binding.ignores(key)}
    assert seen == there


def test_every_tensor_that_is_written_is_what_it_is_said_to_be(job):
    model = known(job)
    for (file, key), real in tensors_in(job.folder.parent / "converted").items():
        found = [one for one in tensors_called(model, key) if "target" in one.sides]
        assert len(found) == 1, key
        (part,) = [part for part in found[0].made if part.key == key]
        assert part.file == file
        assert str(part.spec) == f"{str(real.dtype)[6:]} {list(real.shape)}"
        assert found[0].taken or found[0].rule.constant is not None


@pytest.mark.parametrize("name", api.shipped_mappings())
@pytest.mark.parametrize("read", ["source", "target"])
def test_what_ops_make_follows_from_what_they_take(name, read):
    mapping = api.load(name)
    if read == "target" and any(one_way(mapping.rules)):
        return
    model = next(models(mapping, None, mapengine.Job(mapping, None).settings, None, read))
    assert model.problems == ()
    for rule in mapping.rules:
        if not rule.holds_in(model.binding.layout):
            continue
        for found in tensors_called(model, rule.targets[0].text):
            if found.rule is not rule:
                continue
            assert found.rule.where.line == rule.where.line and not found.problems
            assert [change.call for change in found.changes] == list(
                rule.ops if read == "source" else reversed(rule.ops)
            )
            for one, other in zip(found.changes, found.changes[1:], strict=False):
                assert one.after == other.before
            if found.changes:
                assert {part.spec for part in found.taken} <= set(found.changes[0].before)
                assert found.cast or {p.spec for p in found.made} <= set(found.changes[-1].after)


def test_every_config_key_that_is_written_is_explained_by_its_field(job):
    model = known(job)
    written = json.loads((job.folder.parent / "converted" / "config.json").read_text())
    for key, value in written.items():
        if not isinstance(value, dict):
            (found,) = fields_called(model, key)
            assert [p.value for p in found.written if p.path == f"config.json:{key}"] == [value]
            assert found.field.where.file == job.mapping.document.file


def said(*words, code=0):
    done = CliRunner().invoke(cli, ["explain", *map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


def refused(*words):
    """The one problem that is told instead, and what the command line would exit with."""
    error = CliRunner().invoke(cli, ["explain", *words]).exception
    assert isinstance(error, mapengine.MapengineError)
    (problem,) = error.problems
    return error.exit_code, problem


def test_a_config_field_is_found_by_its_name_and_by_its_path_on_either_side():
    texts = [said("mixtral", name) for name in ("kv_heads", "n_kv_heads", "num_key_value_heads",
             "config.kv_heads", "params.json:n_kv_heads")]  # fmt: skip
    assert len(set(texts)) == 1
    assert "value  2  (params.json: n_kv_heads)" in texts[0]
    assert "place  config.json:num_key_value_heads = 2 (target, written)" in texts[0]
    assert "else   heads (source)" in texts[0]


def test_the_value_of_a_field_is_that_of_the_user_where_he_sets_it():
    assert "value  7  (--set)" in said("mixtral", "eos", "--set", "eos=7")
    assert "place  config.json:num_key_value_heads = 2 (target, read)" in said(
        "mixtral", "kv_heads", "--reverse"
    )


def test_on_the_way_back_ops_are_undone():
    text = said("mixtral", "layers.0.attention.wk.weight", "--reverse")
    assert "takes  model.layers.0.self_attn.k_proj.weight" in text
    assert "undo rope_permute heads kv_heads" in text
    assert "makes  layers.0.attention.wk.weight" in text


def test_a_key_that_another_layout_has_is_found_in_that_one():
    text = said("mixtral", "layers.1.block_sparse_moe.w1")
    assert "layout hub+mistral" in text and "→ 5 × bfloat16 [56, 80]" in text
    code, problem = refused("mixtral", "layers.1.block_sparse_moe.w1", "--layout", "native")
    assert code == 2 and "mixtral has nothing called" in problem.message


SMALL = """
mapengine: 1
name: small
source:
  config: config.json
  tensors: model.safetensors
  ignore: {tensors: [rope.freqs, "old."], config: [junk.]}
target: {config: config.json, tensors: model.safetensors}
config: {rows: rows, carry: [kept]}
tensors:
  - a -> b: {shape: [rows, 2]}
  - maybe: {optional: true}
"""
FILES = {
    "config.json": {"rows": 3, "kept": 1, "junk": {"x": 1}, "new": 2},
    "model.safetensors": {
        "a": "float32 [2, 2]", "rope.freqs": "float32 [1]", "old.x": "float32 [1]", "c": "int64 []",
    },
}  # fmt: skip


@pytest.fixture
def small(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    write_checkpoint(FILES, tmp_path / "source")
    return [tmp_path / "small.yaml", "--source", tmp_path / "source"]


@pytest.mark.parametrize(
    "name, code, words",
    [
        ("rope.freqs", 0, "left behind by name\n  at  {}:7:12"),
        ("old.x", 0, "left behind by name"),
        ("old.y", 0, "left behind by name, and not there"),
        ("junk.x", 0, "left behind by name"),
        ("kept", 0, "carried over as it is\n  at  {}:9:22"),
        ("c", 1, "a tensor that no rule takes"),
        ("new", 1, "a config key that no field reads"),
        ("maybe", 0, "the rule is optional, and none of its tensors is there"),
        ("b", 1, "ME311 rules[0].shape: a is [2, 2] in model.safetensors, and [rows, 2] is [3, 2]"),
    ],
)
def test_what_no_rule_takes_and_what_does_not_fit_is_said(small, name, code, words):
    assert words.format(small[0]) in said(small[0], name, *small[1:], code=code)


def test_a_checkpoint_that_does_not_fit_is_explained_all_the_same(small):
    text = said(small[0], "rows", *small[1:])
    assert "value  3  (config.json: rows)" in text
    text = said(small[0], "a", *small[1:], code=1)
    assert "the plan fails, so what is written where is not known" in text


def test_the_nearest_three_are_told_of_a_name_that_is_not_there():
    code, problem = refused("mixtral", "model.layers.1.self_attn.k_porj.weight")
    names = [f"model.layers.1.self_attn.{name}_proj.weight" for name in "kvq"]
    assert (code, problem.help) == (2, f"nearest: {', '.join(names)}")
    code, problem = refused("ops.spilt")
    assert code == 2 and problem.help.startswith("nearest: ops.split, ")
    code, problem = refused("mixtral")
    assert code == 2 and problem.help.endswith("of a mapping: mapengine explain MAPPING NAME")


def test_of_keys_that_differ_in_numbers_the_nearest_number_is_told():
    keys = [f"layers.{i}.attn.{j}.weight" for i in range(40) for j in range(3)] + ["embed", "norm"]
    assert nearest("layers.37.atn.1.weight", keys) == ["layers.37.attn.1.weight"]
    assert nearest("layers.99.attn.2.weight", keys) == ["layers.39.attn.2.weight"]
    assert nearest("zzz", keys) == []


@pytest.mark.parametrize("name", OPS)
def test_every_op_and_its_arguments_are_words_of_the_language(name):
    text = said(f"ops.{name}")
    assert " ".join(OPS[name].__doc__.split()) in text
    for argument in fields(OPS[name]):
        assert argument.metadata["description"] in text
        inner = json.loads(said(f"ops.{name}.{argument_name(argument)}", "--json"))["found"][0]
        assert inner["text"] == argument.metadata["description"]
        assert inner["examples"] == [argument.metadata["example"]]


@pytest.mark.parametrize(
    "word", ["rules.shape", "config.default", "source.layouts", "dims", "scope.when", "ops"]
)
def test_parts_of_a_mapping_are_words_of_the_language(word):
    assert said(word) == said("mixtral", word)
    assert len(said(word).split()) > 4


def test_json_says_what_the_text_says():
    (found,) = json.loads(said("mixtral", "layers.0.attention.wk.weight", "--json"))["found"]
    assert found["kind"] == "tensor" and found["sides"] == ["source"] and found["example"]
    assert found["rule"]["path"] == "rules[6]" and found["rule"]["where"]["line"] == 91
    assert found["indices"] == {"layer": 0}
    (op,) = found["ops"]
    assert op["op"] == "rope_permute heads kv_heads" and op["line"] == 93 and not op["undone"]
    assert op["before"] == op["after"] == [{"dtype": "bfloat16", "shape": [32, 80]}]
    assert [part["key"] for part in found["makes"]] == ["model.layers.0.self_attn.k_proj.weight"]
    assert json.loads(said("mixtral", "heads", "--json"))["format_version"] == "1.0"
