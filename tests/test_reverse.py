"""The way back: from the target to each layout of the source, from the same file."""

import json
from itertools import product

import pytest
import torch
from golden import compare, sources
from golden.cases import CASES
from safetensors.torch import load_file, save_file
from transformers import MixtralConfig, MixtralForCausalLM

from mapengine import api
from mapengine.errors import MapengineError

cases = pytest.mark.parametrize("case", CASES.values(), ids=str)


def contents(folder):
    """Every tensor and config of a folder, by file."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors":
            found[path.name] = load_file(path)
        elif path.suffix in (".pt", ".pth", ".bin"):
            found[path.name] = torch.load(path, weights_only=True)
        elif path.suffix == ".json" and path.name != "mapengine.json":
            found[path.name] = json.loads(path.read_text())
    return found


def assert_same(one, other):
    if isinstance(one, dict):
        assert isinstance(other, dict)
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    else:
        assert type(one) is type(other)
        assert one == other


def problems(job):
    with pytest.raises(MapengineError) as refused:
        api.plan(job)
    return refused.value.problems


def there_and_back(mapping, layout, folder, **values):
    """The example in one layout, what is made of it, and what comes back."""
    loaded = api.load(mapping)
    example = api.make_example(loaded, layout, folder / "source")
    values = {**example.values, **values}
    name = "+".join(layout) or None
    there = api.Job(loaded, folder / "source", values=values, layout=name)
    api.run(there, folder / "there", sync=False)
    back = api.Job(loaded, folder / "there", values=values, layout=name, reverse=True)
    api.run(back, folder / "back", sync=False)
    return [contents(folder / part) for part in ("source", "back")]


LAYOUTS = list(api.load("mixtral").layouts())


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda names: "+".join(sorted(names)))
def test_the_example_comes_back_in_every_layout(layout, tmp_path):
    assert_same(*there_and_back("mixtral", layout, tmp_path))


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_checkpoint_in_ranks_comes_back_in_as_many_files(ranks, tmp_path):
    text = api.shipped_mappings()["llama"].read_text()
    text = text.replace("{ranks: 2,", f"{{ranks: {ranks},")
    (tmp_path / "mapping.yaml").write_text(text)
    layout = frozenset({"flat", "v4"})
    source, back = there_and_back(
        tmp_path / "mapping.yaml", layout, tmp_path, ranks=ranks, multiple=32
    )
    assert [name for name in back if name.endswith(".pth")] == [
        f"consolidated.{rank:02}.pth" for rank in range(ranks)
    ]
    for name in source.keys() - {"params.json"}:
        assert_same(source[name], back[name])
    assert back["params.json"].items() >= source["params.json"].items()


@cases
def test_what_the_script_has_made_goes_back_to_what_it_was_made_of(case, tmp_path):
    source = sources.write_source(case, tmp_path / "source", "safetensors", "native")
    api.run(api.Job("mixtral", source), tmp_path / "there", sync=False)
    assert compare.tensor_differences(tmp_path / "there", compare.recorded(case.name)) == []
    for experts, words in product(["native", "hub"], ["mistral", "huggingface"]):
        folder = tmp_path / f"{experts}-{words}"
        job = api.Job("mixtral", tmp_path / "there", reverse=True, layout=f"{experts}+{words}")
        api.run(job, folder, sync=False)
        (tensors,) = (file for name, file in contents(folder).items() if "consolidated" in name)
        wanted = sources.weights(case) if experts == "native" else sources.hub_weights(case)
        assert_same(tensors, wanted)
        api.run(api.Job("mixtral", folder), tmp_path / f"{folder.name}-again", sync=False)
        again = contents(tmp_path / f"{folder.name}-again")
        assert_same(again, contents(tmp_path / "there"))


@pytest.fixture(scope="module")
def model():
    config = MixtralConfig(
        hidden_size=48, intermediate_size=40, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, head_dim=8, num_local_experts=3, vocab_size=64, sliding_window=32,
        rope_parameters={"rope_theta": 5e5, "rope_type": "default"}, attention_dropout=0.1,
    )  # fmt: skip
    return MixtralForCausalLM(config).to(torch.bfloat16)


def test_what_transformers_saves_goes_back_and_comes_again(model, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    job = api.Job("mixtral", tmp_path / "saved", reverse=True)
    assert api.plan(job).binding.layout >= {"separate", "v5"}
    api.run(job, tmp_path / "back", sync=False)
    params = json.loads((tmp_path / "back" / "params.json").read_text())
    assert params == {
        "dim": 48, "hidden_dim": 40, "n_layers": 2, "n_heads": 6, "n_kv_heads": 2, "head_dim": 8,
        "moe": {"num_experts": 3, "num_experts_per_tok": 2}, "norm_eps": 1e-5, "vocab_size": 64,
        "sliding_window": 32, "rope_theta": 5e5, "max_position_embeddings": 131072,
    }  # fmt: skip
    api.run(api.Job("mixtral", tmp_path / "back"), tmp_path / "again", sync=False)
    loaded = MixtralForCausalLM.from_pretrained(tmp_path / "again", dtype=torch.bfloat16)
    assert_same(dict(loaded.state_dict()), dict(model.state_dict()))
    assert loaded.config.rope_parameters == model.config.rope_parameters


def test_fused_experts_as_they_are_in_memory_go_back_too(model, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    save_file(dict(model.state_dict()), tmp_path / "saved" / "model.safetensors")
    fused = api.Job("mixtral", tmp_path / "saved", reverse=True)
    assert api.plan(fused).binding.layout >= {"fused", "v5"}
    api.run(fused, tmp_path / "from-fused", sync=False)
    model.save_pretrained(tmp_path / "separate")
    api.run(api.Job("mixtral", tmp_path / "separate", reverse=True), tmp_path / "other", sync=False)
    assert_same(contents(tmp_path / "from-fused"), contents(tmp_path / "other"))


def test_a_config_that_does_not_belong_to_the_weights_is_refused(model, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    path = tmp_path / "saved" / "config.json"
    path.write_text(
        path.read_text().replace('"num_key_value_heads": 2', '"num_key_value_heads": 3')
    )
    first, second = problems(api.Job("mixtral", tmp_path / "saved", reverse=True))
    assert "16 rows, not divisible into 3" in first.message
    said = "and [kv_heads * head_dim, hidden] is [24, 48]"
    assert second.message == f"layers.0.attention.wv.weight would be [16, 48], {said}"


# -- small mappings -------------------------------------------------------------------------------

HEAD = """\
mapengine: 1
name: mapping
source: {config: params.json, tensors: model.pt}
target: {config: config.json, tensors: model.safetensors}
"""


def small(folder, text, tensors, config):
    (folder / "mapping.yaml").write_text(HEAD + text)
    (folder / "in").mkdir()
    save_file(tensors, folder / "in" / "model.safetensors")
    (folder / "in" / "config.json").write_text(json.dumps(config))
    return api.Job(folder / "mapping.yaml", folder / "in", reverse=True)


def test_ops_are_undone_in_the_opposite_order(tmp_path):
    text = """\
config: {n: {source: n, target: n}}
dims: {i: n}
tensors:
  - fused -> part.{i}:
      ops:
        - transpose: [0, 1]
        - rearrange: "(a 2) b -> a 2 b"
        - split: {into: i, dim: 2}
        - permute: [2, 0, 1]
"""
    fused = torch.arange(6 * 8).reshape(6, 8).float()
    parts = fused.T.reshape(4, 2, 6).chunk(3, dim=2)
    tensors = {f"part.{i}": part.permute(2, 0, 1).contiguous() for i, part in enumerate(parts)}
    api.run(small(tmp_path, text, tensors, {"n": 3}), tmp_path / "out", sync=False)
    assert_same(contents(tmp_path / "out"), {"model.pt": {"fused": fused}, "params.json": {"n": 3}})


def test_a_tied_table_comes_back_twice_and_nested_dicts_are_nested(tmp_path):
    text = """\
tensors:
  - a/embed.weight, a/head.weight -> embed.weight: {ops: [same]}
"""
    table = torch.rand(3, 4)
    api.run(small(tmp_path, text, {"embed.weight": table}, {}), tmp_path / "out", sync=False)
    (state,) = (file for name, file in contents(tmp_path / "out").items() if name == "model.pt")
    assert_same(state["a"], {"embed.weight": table, "head.weight": table})


def test_config_words_defaults_and_conditions_hold_backwards(tmp_path):
    text = """\
config:
  act:    {source: activation, target: hidden_act, values: {squared-relu: relu2, swiglu: silu}}
  only:   {source: only_here, default: 7}
  extra:  {target: only_there, default: 1}
  odd:    {source: odd, target: odd, default: {source: 3, target: 3}, when: {source: odd != 3}}
  kind:   {target: model_type, value: demo}
  window: {source: window, target: window, default: {target: null}, optional: true}
tensors: [w]
"""
    config = {"hidden_act": "relu2", "only_there": 5, "model_type": "demo"}
    job = small(tmp_path, text, {"w": torch.rand(2)}, config)
    made = api.plan(job).configs["params.json"]
    assert made == {"activation": "squared-relu", "only_here": 7}
    (tmp_path / "in" / "config.json").write_text(json.dumps(config | {"model_type": "other"}))
    (problem,) = problems(job)
    assert problem.code == "ME407"


def test_a_name_that_only_headers_of_the_source_tell_must_be_set(tmp_path):
    text = """\
config: {rows: {source: rows, compute: "size('w', 0)"}}
tensors: [w]
"""
    job = small(tmp_path, text, {"w": torch.rand(2, 3)}, {})
    (problem,) = problems(job)
    assert (problem.code, problem.help) == ("ME401", "--set rows=VALUE")
    values = {"rows": 2}
    made = api.plan(api.Job(job.mapping, job.source, values=values, reverse=True))
    assert made.configs["params.json"] == values


def test_what_the_target_may_say_and_nothing_asks_for_need_not_be_there(tmp_path):
    text = """\
config: {kind: {target: torch_dtype, compute: "dtype('w')"}}
tensors: [w]
"""
    job = small(tmp_path, text, {"w": torch.rand(2, 3)}, {})
    assert api.plan(job).configs == {"params.json": {}}


def test_what_has_no_way_back_says_so_and_where(tmp_path):
    text = "tensors:\n  - w:\n      ops: [{cast: float16}]\n  - v:\n      ops: [{cast: float16}]\n"
    job = small(tmp_path, text, {"w": torch.rand(2), "v": torch.rand(2)}, {})
    found = problems(job)
    assert [problem.where.line for problem in found] == [7, 9]
    assert all("one-way" in problem.message for problem in found)


@pytest.mark.parametrize(
    "config, file",
    [("{at: args}", "model.pt"), ("{file: model.pt, at: args}", "model.pt"),
     ("{file: args.pth, at: args}", "args.pth")],
)  # fmt: skip
def test_a_config_inside_a_torch_file_comes_back_into_it(config, file, tmp_path):
    text = "config: {n: {source: sizes.n, target: n}, some: {source: some, target: some}}\n"
    tensor, values = torch.rand(2), {"n": 2, "some": [1.5, "two", True, None]}
    job = small(tmp_path, text + "tensors: [w]\n", {"w": tensor}, values)
    path = tmp_path / "mapping.yaml"
    path.write_text(path.read_text().replace("params.json", config))
    api.run(job, tmp_path / "out", sync=False)
    wanted = {"model.pt": {"w": tensor}}
    wanted.setdefault(file, {})["args"] = {"sizes": {"n": 2}, "some": values["some"]}
    assert_same(contents(tmp_path / "out"), wanted)
    api.run(api.Job(path, tmp_path / "out"), tmp_path / "again", sync=False)
    assert json.loads((tmp_path / "again" / "config.json").read_text()) == values


def test_files_with_prefixes_are_written_each_with_its_keys(tmp_path):
    text = """\
dims: {block: 2}
tensors:
  - h.{block}.w -> w.{block}
  - norm
"""
    tensors = {"w.0": torch.rand(2), "w.1": torch.rand(2), "norm": torch.rand(3)}
    job = small(tmp_path, text, tensors, {})
    path = tmp_path / "mapping.yaml"
    files = '[{files: "layer_{block:02}.pt", prefix: "h.{block}."}, shared.pt]'
    path.write_text(path.read_text().replace("tensors: model.pt", f"tensors: {files}"))
    api.run(job, tmp_path / "out", sync=False)
    assert_same(
        contents(tmp_path / "out"),
        {
            "layer_00.pt": {"w": tensors["w.0"]},
            "layer_01.pt": {"w": tensors["w.1"]},
            "shared.pt": {"norm": tensors["norm"]},
            "params.json": {},
        },
    )
