"""The shipped mapping against what the official script made of the same checkpoints."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from golden import compare, sources
from golden.cases import CASES
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoConfig, MixtralForCausalLM

from mapengine import api

cases = pytest.mark.parametrize("case", CASES.values(), ids=str)


def convert(source, output, *, workers=None, **options):
    return api.run(api.Job("mixtral", source, **options), output, workers=workers)


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def params_of(folder, **changes):
    """Changes the params.json of a source; a value of None takes the field out."""
    path = folder / "params.json"
    params = json.loads(path.read_text()) | changes
    sources.write_json(path, {word: value for word, value in params.items() if value is not None})


@pytest.fixture
def gqa(tmp_path):
    return sources.write_source(CASES["gqa"], tmp_path / "source", "torrent", "native")


@cases
def test_every_layout_with_either_params_gives_what_the_script_gives(case, tmp_path):
    record = compare.recorded(case.name)
    compared = Counter()
    for layout in sources.LAYOUTS:
        for family in sources.FAMILIES:
            name = f"{layout}-{family}"
            source = sources.write_source(case, tmp_path / name, layout, family)
            output = tmp_path / f"{name}-out"
            convert(source, output)
            assert compare.tensor_differences(output, record) == [], name
            assert compare.file_differences(output, record) == [], name
            assert compare.file_differences(output, record, "generation_config") == [], name
            compared["tensors"] += len(compare.digests_of(output))
            compared["config"] += len(compare.read_json(output / "config.json"))
            compared["conversions"] += 1
    assert compare.config_differences(output, record) == []
    experts, layers = case.params["num_local_experts"], case.params["num_hidden_layers"]
    tensors = 3 + layers * (7 + 3 * experts)
    fields = len(record["config"].keys() - compare.IGNORED)
    assert compared == {"conversions": 8, "tensors": 8 * tensors, "config": 8 * fields}


@cases
def test_transformers_loads_every_tensor_and_misses_none(case, tmp_path):
    source = sources.write_source(case, tmp_path / "source", "hub", "native")
    convert(source, tmp_path / "out")
    model, told = MixtralForCausalLM.from_pretrained(
        tmp_path / "out", output_loading_info=True, dtype=getattr(torch, case.dtype)
    )
    assert not any(told.values()), told
    logical = sources.weights(case)
    assert sum(p.numel() for p in model.parameters()) == sum(t.numel() for t in logical.values())
    norm = "model.layers.0.input_layernorm.weight"
    assert torch.equal(model.state_dict()[norm], logical["layers.0.attention_norm.weight"])


def test_a_torch_file_holds_the_same_tensors(gqa, tmp_path):
    convert(gqa, tmp_path / "safetensors")
    convert(gqa, tmp_path / "torch", format="torch")
    wanted = load_file(tmp_path / "safetensors" / "model.safetensors")
    found = torch.load(tmp_path / "torch" / "pytorch_model.bin", weights_only=True)
    assert not (tmp_path / "torch" / "model.safetensors").exists()
    assert len(found) == 65
    assert compare.digest_of_all(found) == compare.digest_of_all(wanted)


def test_a_torch_source_of_several_files_gives_a_torch_output_in_shards(tmp_path):
    source = sources.write_source(CASES["gqa"], tmp_path / "source", "hub")
    convert(source, tmp_path / "out", format="torch", max_shard_size=50_000)
    index = compare.read_json(tmp_path / "out" / "pytorch_model.bin.index.json")
    files = sorted(path.name for path in (tmp_path / "out").glob("*.bin"))
    found = {}
    for file in files:
        found |= torch.load(tmp_path / "out" / file, weights_only=True)
    assert len(files) > 2 and sorted(set(index["weight_map"].values())) == files
    record = compare.recorded("gqa")["tensors"]
    assert {key: compare.digest(tensor) for key, tensor in found.items()} == record


def test_shards_are_named_listed_and_read_as_those_of_transformers(gqa, tmp_path):
    output = tmp_path / "out"
    convert(gqa, output, max_shard_size=60_000)
    files = sorted(path.name for path in output.glob("*.safetensors"))
    count = len(files)
    assert count == 3
    assert files == [f"model-{k:05}-of-{count:05}.safetensors" for k in range(1, count + 1)]
    assert all((output / file).stat().st_size < 60_000 + 10_000 for file in files)
    assert compare.tensor_differences(output, compare.recorded("gqa")) == []
    index = compare.read_json(output / "model.safetensors.index.json")
    every = sources.weights(CASES["gqa"]).values()
    assert index["metadata"] == {
        "total_parameters": sum(tensor.numel() for tensor in every),
        "total_size": sum(tensor.nbytes for tensor in every),
    }
    for file in files:
        with safe_open(output / file, framework="pt") as opened:
            assert opened.metadata() == {"format": "pt"}
    _, told = MixtralForCausalLM.from_pretrained(output, output_loading_info=True)
    assert not any(told.values())


@pytest.mark.parametrize(
    "layout, family, changes, theta",
    [
        ("torrent", "native", {}, 1e6),
        ("torrent", "native", {"sliding_window": 4096}, 1e4),
        ("hub", "native", {}, 1e6),
        ("safetensors", "native", {"sliding_window": "4096"}, 1e4),
        ("torrent", "script", {}, 1e4),
        ("hub", "script", {"sliding_window": 8}, 1e4),
    ],
)
def test_theta_that_is_absent_is_what_the_family_of_params_means(
    layout, family, changes, theta, tmp_path
):
    case = CASES["theta_absent"]
    source = sources.write_source(case, tmp_path / "source", layout, family)
    params_of(source, rope_theta=None, **changes)
    convert(source, tmp_path / "out")
    config = compare.read_json(tmp_path / "out" / "config.json")
    assert config["rope_theta"] == theta
    window = changes.get("sliding_window")
    assert config["sliding_window"] == (int(window) if window else None)
    assert AutoConfig.from_pretrained(tmp_path / "out").rope_parameters["rope_theta"] == theta


def test_heads_need_not_fill_the_hidden_size(tmp_path):
    heads, kv_heads, head_dim, hidden = 4, 2, 16, 40
    source = sources.write_source(CASES["gqa"], tmp_path / "source", "safetensors", "native")
    weights = {}
    for key, tensor in sources.weights(CASES["gqa"]).items():
        shape = [hidden if n == 32 else n for n in tensor.shape]
        rows = {"wq": heads * head_dim, "wk": kv_heads * head_dim, "wv": kv_heads * head_dim}
        part = key.split(".")[-2]
        if part in rows:
            shape = [rows[part], hidden]
        elif part == "wo":
            shape = [hidden, heads * head_dim]
        weights[key] = sources.normals(key, shape)
    (source / "consolidated.safetensors").unlink()
    torch.save(weights, source / "consolidated.00.pth")
    params_of(source, dim=hidden, head_dim=head_dim)
    convert(source, tmp_path / "out")
    assert compare.read_json(tmp_path / "out" / "config.json")["head_dim"] == head_dim
    _, told = MixtralForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(told.values())
    found = load_file(tmp_path / "out" / "model.safetensors")
    for name, count in (("q", heads), ("k", kv_heads)):
        rows = weights[f"layers.1.attention.w{name}.weight"].reshape(count, head_dim, hidden)
        half_split = torch.cat([rows[:, 0::2], rows[:, 1::2]], dim=1).reshape(-1, hidden)
        assert torch.equal(found[f"model.layers.1.self_attn.{name}_proj.weight"], half_split)


def test_head_dim_is_not_written_where_transformers_works_it_out(gqa, tmp_path):
    convert(gqa, tmp_path / "out")
    assert "head_dim" not in compare.read_json(tmp_path / "out" / "config.json")


def test_files_have_the_mode_that_other_programs_give_them(gqa, tmp_path):
    before = os.umask(0o027)
    try:
        convert(gqa, tmp_path / "out", max_shard_size=60_000)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()}
    assert len(modes) > 5 and set(modes.values()) == {0o640}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("format", ["safetensors", "torch"])
@pytest.mark.parametrize("layout", ["hub", "sharded"])
def test_the_output_is_the_same_to_the_byte_for_any_number_of_workers(layout, format, tmp_path):
    source = sources.write_source(CASES["mqa"], tmp_path / "source", layout)
    outputs = []
    for workers in (1, 2, 4):
        output = tmp_path / f"{workers}"
        convert(source, output, workers=workers, format=format, max_shard_size=30_000)
        outputs.append(bytes_of(output))
    assert len(outputs[0]) > 5
    assert outputs[0] == outputs[1] == outputs[2]


def test_the_receipt_says_what_was_written_from_what_by_which_mapping(gqa, tmp_path):
    planned = api.plan(api.Job("mixtral", gqa, max_shard_size=60_000))
    result = convert(gqa, tmp_path / "out", max_shard_size=60_000)
    receipt = compare.read_json(tmp_path / "out" / "mapengine.json")
    text = api.shipped_mappings()["mixtral"].read_text(encoding="utf-8")
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert result.files == sizes
    assert receipt["files"] == {name: n for name, n in sizes.items() if name != "mapengine.json"}
    assert receipt["mapping"]["name"] == "mixtral"
    assert receipt["mapping"]["text"] == text
    assert receipt["layout"] == ["mistral", "native", "separate", "v4"]
    assert (receipt["reads"], receipt["after"]) == ("source", None)
    checkpoint = gqa / "consolidated.00.pth"
    assert receipt["source"]["files"] == {checkpoint.name: checkpoint.stat().st_size}
    assert receipt["options"]["max_shard_size"] == 60_000
    assert receipt["options"]["format"] == "safetensors"
    assert receipt["fingerprint"] == planned.fingerprint
    assert str(tmp_path) not in json.dumps(receipt)  # the same wherever it was made


def test_the_tokenizer_is_carried_over_as_it_is(gqa, tmp_path):
    files = {"tokenizer.model": b"\x00\xff model", "tekken.json": b"{ not read }"}
    for name, content in files.items():
        (gqa / name).write_bytes(content)
    (gqa / "README.md").write_text("not carried over")
    convert(gqa, tmp_path / "out")
    found = bytes_of(tmp_path / "out")
    assert {name: found[name] for name in files} == files
    assert found["README.md"] != b"not carried over"


def test_the_source_is_not_touched(gqa, tmp_path):
    before = bytes_of(gqa), {path: path.stat().st_mtime_ns for path in (gqa, *gqa.iterdir())}
    convert(gqa, tmp_path / "out")
    assert (bytes_of(gqa), {p: p.stat().st_mtime_ns for p in (gqa, *gqa.iterdir())}) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_the_output_does_not_depend_on_where_the_source_lies(gqa, tmp_path):
    elsewhere = shutil.copytree(gqa, tmp_path / "else" / "where")
    convert(gqa, tmp_path / "out")
    convert(elsewhere, tmp_path / "out2")
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "out2")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_another_dtype_is_that_of_every_tensor_and_of_the_config(dtype, gqa, tmp_path):
    convert(gqa, tmp_path / "out", dtype=dtype)
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert {str(tensor.dtype) for tensor in found.values()} == {f"torch.{dtype}"}
    assert compare.read_json(tmp_path / "out" / "config.json")["torch_dtype"] == dtype
    wanted = sources.weights(CASES["gqa"])["norm.weight"].to(getattr(torch, dtype))
    assert torch.equal(found["model.norm.weight"], wanted)


def test_every_case_is_converted_in_every_way():
    assert (len(CASES), len(sources.LAYOUTS), len(sources.FAMILIES)) == (19, 4, 2)
    assert Path(api.shipped_mappings()["mixtral"]).name == "mixtral.yaml"
