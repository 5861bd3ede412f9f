"""Mistakes that once went through without a word, each of which must be told now."""

import json
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import mapengine
from mapengine import api
from mapengine.errors import MapengineError, OutputError, PlanError

HEAD = """\
mapengine: 1
name: t
source: {config: params.json, tensors: %s}
target: {config: config.json, tensors: %s}
"""
REST = "tensors: [w]\n"


@pytest.fixture(autouse=True)
def source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    save_file({"w": torch.arange(6.0)}, "in/model.safetensors")
    Path("in/params.json").write_text("{}")


def write(rest, source="model.safetensors", target="model.safetensors"):
    Path("t.yaml").write_text(HEAD % (source, target) + rest)
    return "t.yaml"


def names(folder):
    return {path.name for path in Path(folder).iterdir()}


def codes(rest, **options):
    """What a run of the mapping is refused for; nothing must have been written."""
    mapping = write(rest, options.pop("source", "model.safetensors"),
                    options.pop("target", "model.safetensors"))  # fmt: skip
    with pytest.raises(MapengineError) as caught:
        api.run(api.Job(mapping, "in", **options), "out")
    assert not Path("out").exists()
    return {problem.code for problem in caught.value.problems}


def test_a_mapping_of_this_head_is_good():
    api.run(api.Job(write(REST), "in"), "out")
    assert torch.equal(load_file("out/model.safetensors")["w"], torch.arange(6.0))


def test_a_missing_tensor_is_told_also_where_a_condition_asks_for_it():
    rest = """\
config: {f: {source: x, default: 1, when: "size('lost.weight', 0) > 0"}}
tensors: [w, lost.weight -> out.weight]
"""
    assert "ME310" in codes(rest)


def test_a_tensor_that_hangs_below_no_file_of_the_target_is_refused():
    assert codes(REST, target='{files: model.safetensors, prefix: "h."}') == {"ME601"}


@pytest.mark.parametrize("target", ["model.gguf", "weights"])
def test_a_target_that_is_not_written_as_it_says_is_refused(target):
    assert codes(REST, target=target) == {"ME219"}


def test_keys_of_the_target_hang_below_its_root():
    text = HEAD % ("model.safetensors", "model.safetensors")
    Path("t.yaml").write_text(text.rstrip("}\n") + f", root: model/}}\n{REST}")
    mapengine.run(mapengine.Job("t.yaml", "in"), "out")
    assert load_file("out/model.safetensors").keys() == {"model/w"}


def test_the_dtype_of_a_tensor_that_a_rule_casts_is_not_to_be_asked():
    rest = """\
config: {d: {target: torch_dtype, compute: "dtype('w')"}}
tensors: [w: {ops: [{cast: bfloat16}]}]
"""
    assert codes(rest) == {"ME225"}


@pytest.mark.parametrize(
    "config, params, code",
    [
        ("{carry: [a], b: {target: a, value: true}}", '{"a": false}', "ME409"),
        ("{b: {source: b, target: b}}", '{"b": 1e999}', "ME516"),
        ("{b: {target: b, value: .nan}}", "{}", "ME409"),
        ("{b: {source: b, target: b, type: int, default: 5 / 2}}", "{}", "ME405"),
        ('{b: {source: "more.json:b", target: b}}', "{}", "ME403"),
        ("{b: {source: b, target: b, default: 1}}", None, "ME402"),
        ("{b: {source: b, target: b}}\nexample: {b: true}", '{"b": "no"}', "ME405"),
    ],
)
def test_a_config_that_would_come_out_wrong_is_refused(config, params, code):
    Path("in/more.json").write_text('{"b": 1, "c": 2}')
    Path("in/params.json").unlink()
    if params is not None:
        Path("in/params.json").write_text(params)
    assert code in codes(f"config: {config}\n{REST}")


def test_a_type_holds_for_values_that_no_file_says():
    rest = "config: {b: {source: b, target: b, type: int, default: 6 / 2}}\n" + REST
    api.run(api.Job(write(rest), "in"), "out")
    assert Path("out/config.json").read_text() == '{\n  "b": 3\n}\n'


def test_has_sees_files_that_no_field_reads():
    Path("in/more.json").write_text('{"b": 1}')
    rest = "config: {b: {target: b, compute: has('more.json:b')}}\n" + REST
    api.run(api.Job(write(rest), "in"), "out")
    assert json.loads(Path("out/config.json").read_text()) == {"b": True}


@pytest.mark.parametrize(
    "pattern", ['"m.{rank % 2}.safetensors"', '"m.{min(rank, 3)}.safetensors"']
)
def test_file_patterns_that_do_not_count_up_come_to_an_end(pattern):
    save_file({"w": torch.zeros(2)}, "in/m.0.safetensors")
    save_file({"w": torch.zeros(2)}, "in/m.1.safetensors")
    codes(REST, source=pattern)


@pytest.mark.parametrize(
    "files",
    ['"l_{a}-{b}.safetensors"', "model.safetensors, ignore: {tensors: ['l.{a}.{b}']}"],
)
def test_products_of_large_sizes_are_not_gone_through(files):
    Path("in/params.json").write_text('{"n": 1000000}')
    save_file({"w": torch.zeros(2)}, "in/l_0-0.safetensors")
    rest = "config: {n: {source: n}}\ndims: {a: n, b: n}\n" + REST
    assert codes(rest, source=files) & {"ME302", "ME405"}


@pytest.mark.parametrize(
    "rest",
    [
        "files: [mapengine.json]\n" + REST,
        'config: {b: {target: "mapengine.json:b", value: 1}}\n' + REST,
    ],
)
def test_two_files_of_one_name_are_found_before_anything_is_written(rest):
    Path("in/mapengine.json").write_text("{}")
    assert codes(rest) == {"ME602"}


def test_a_config_cannot_be_written_into_a_file_that_holds_tensors_alone():
    rest = 'config: {b: {target: "model.safetensors:b", value: 1}}\n' + REST
    assert codes(rest) == {"ME601"}


def test_the_index_of_several_shards_is_a_file_of_the_output_too():
    save_file({"v": torch.zeros(6), "w": torch.ones(6)}, "in/model.safetensors")
    config = 'config: {b: {target: "model.safetensors.index.json:b", value: 1}}\n'
    assert codes(config + "tensors: [v, w]\n", max_shard_size=24) == {"ME602"}


@pytest.mark.parametrize("key", ["w => v", "w → v", "a b"])
def test_an_arrow_that_is_none_is_told(key):
    assert codes(f'tensors: ["{key}"]\n') == {"ME212"}


def test_what_comes_to_the_output_during_a_run_is_not_removed():
    def come(_):
        Path("out").mkdir(exist_ok=True)
        Path("out/thesis.tex").write_text("years of work")

    job = api.Job(write(REST), "in")
    with pytest.raises(OutputError, match="ME611"):
        api.run(job, "out", progress=come)
    assert names("out") == {"thesis.tex"}
    Path("out").rename("thesis")
    assert api.run(job, "out").kept == 1
    assert not {name for name in names(".") if name.startswith(".out")}


def test_a_source_that_was_exchanged_after_planning_is_told():
    planned = api.plan(api.Job(write(REST), "in"))
    save_file({"w": torch.ones(6)}, "in/other.safetensors")
    Path("in/other.safetensors").replace("in/model.safetensors")
    with pytest.raises(OutputError, match="ME615"):
        api.run(api.Job("t.yaml", "in"), "out", planned=planned)


def test_more_shards_than_files_may_be_open_are_written():
    tensors = {f"w.{i}": torch.full((4,), float(i)) for i in range(80)}
    save_file(tensors, "in/model.safetensors")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    try:
        mapping = write("dims: {i: 80}\ntensors: ['w.{i}']\n")
        result = api.run(api.Job(mapping, "in", max_shard_size=16), "out")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(result.files) == 80 + 3


def test_layouts_that_make_other_tensors_of_one_example_are_told():
    text = Path(api.shipped_mappings()["mixtral"]).read_text()
    spoilt = text.replace(
        "{split: {into: expert, dim: 0}}, {transpose: [0, 1]}", "{split: {into: expert, dim: 0}}"
    )
    assert spoilt != text
    Path("mixtral.yaml").write_text(spoilt)
    (problem,) = mapengine.validate("mixtral.yaml")
    assert problem.code == "ME224" and "[56, 80] in hub" in problem.message


def test_the_example_shows_a_wrong_head_count():
    text = Path(api.shipped_mappings()["mixtral"]).read_text()
    spoilt = text.replace("rope_permute: {heads: kv_heads}", "rope_permute: {heads: heads}")
    Path("mixtral.yaml").write_text(spoilt)
    problems = mapengine.validate("mixtral.yaml")
    assert {problem.code for problem in problems} == {"ME301"}


def test_an_unknown_format_is_told_in_the_library_too():
    with pytest.raises(PlanError, match="there is no format 'gguf'"):
        api.plan(api.Job(write(REST), "in", format="gguf"))


def test_an_example_has_files_for_layers_and_one_beside_them():
    rest = """\
config: {n: {source: n, target: n}, h: {source: h, target: h}}
dims: {block: n}
tensors:
  - embed.weight: {shape: [h]}
  - h.{block}.w: {shape: [h, h]}
example: {n: 2, h: 3}
"""
    source = '[{files: "layer_{block:02}.pt", prefix: "h.{block}."}, shared.pt]'
    assert mapengine.validate(write(rest, source)) == []
    api.make_example(mapengine.load("t.yaml"), frozenset(), "made")
    assert {"layer_00.pt", "layer_01.pt", "shared.pt"} < names("made")
    api.run(api.Job("t.yaml", "made"), "out")
    assert set(load_file("out/model.safetensors")) == {"embed.weight", "h.0.w", "h.1.w"}
