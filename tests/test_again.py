"""A converted folder against what it was made of, byte for byte, and the model itself."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from mapengine import api
from mapengine.verification.checks import verify

NAMES = ("mixtral", "llama", "gpt2", "deepseek_v3")


def made(folder, name="mixtral", **options):
    """The source of a mapping's example, and what it is converted to."""
    mapping = api.load(name)
    settings = api.make_example(mapping, api.example_layout(mapping, None), folder / "source")
    job = api.Job(mapping, folder / "source", dict(settings.values), **options)
    api.run(job, folder / "out")
    return folder / "source", folder / "out"


@pytest.fixture(scope="module")
def mixtral(tmp_path_factory):
    return made(tmp_path_factory.mktemp("again"))


def asked(folder, source):
    return verify(folder, load=False, source=source)[-1]


def run(folder):
    return verify(folder, load=False, logits=True)[-1]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_run_has_written_is_what_it_makes_again(name, tmp_path):
    source, output = made(tmp_path, name)
    check = asked(output, source)
    assert check.passed, check
    assert check.detail.startswith(f"{len(load_file(output / 'model.safetensors'))} tensors")


@pytest.mark.parametrize(
    "options", [{"dtype": "float16"}, {"max_shard_size": 100_000}, {"format": "torch"}]
)
def test_a_cast_shards_and_torch_files_are_made_again_too(options, tmp_path):
    source, output = made(tmp_path, **options)
    assert asked(output, source).passed


def test_the_way_back_is_made_again_too(mixtral, tmp_path):
    _, output = mixtral
    api.run(api.Job("mixtral", output, reverse=True), tmp_path / "back")
    assert asked(tmp_path / "back", output).passed


def test_a_byte_that_is_another_is_found(mixtral, tmp_path):
    source, output = mixtral
    spoilt = shutil.copytree(output, tmp_path / "spoilt")
    file = spoilt / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    (problem,) = asked(spoilt, source).findings
    assert problem.code == "ME715" and "1 of" in problem.message and "model." in problem.message
    assert problem.where.line > 1


def test_tensors_that_are_swapped_absent_or_of_another_shape_are_found(mixtral, tmp_path):
    source, output = mixtral
    spoilt = shutil.copytree(output, tmp_path / "spoilt")
    tensors = load_file(spoilt / "model.safetensors")
    first, second = (f"model.layers.{n}.self_attn.q_proj.weight" for n in (0, 1))
    tensors[first], tensors[second] = tensors[second], tensors[first]
    del tensors["model.norm.weight"]
    tensors["lm_head.weight"] = tensors["lm_head.weight"][:-1]
    save_file(tensors, spoilt / "model.safetensors", {"format": "pt"})
    codes = sorted(problem.code for problem in asked(spoilt, source).findings)
    assert codes == ["ME715", "ME715", "ME731", "ME733"]


def test_another_source_is_found(mixtral, tmp_path):
    source, output = mixtral
    other = shutil.copytree(source, tmp_path / "other")
    params = json.loads((other / "params.json").read_text())
    (other / "params.json").write_text(json.dumps({**params, "dim": params["dim"] + 1}))
    assert asked(output, other).findings


def test_without_a_receipt_it_is_not_known(mixtral, tmp_path):
    source, output = mixtral
    bare = shutil.copytree(output, tmp_path / "bare", ignore=shutil.ignore_patterns("mapengine*"))
    assert "mapengine.json" in asked(bare, source).skipped


def test_the_model_runs_on_a_few_tokens(mixtral):
    check = run(mixtral[1])
    assert check.passed and check.detail.startswith("8 tokens, logits from ")


def test_logits_that_are_not_numbers_are_found(mixtral, tmp_path):
    spoilt = shutil.copytree(mixtral[1], tmp_path / "spoilt")
    tensors = load_file(spoilt / "model.safetensors")
    tensors["model.norm.weight"][0] = float("nan")
    save_file(tensors, spoilt / "model.safetensors", {"format": "pt"})
    (problem,) = run(spoilt).findings
    assert problem.code == "ME752" and "not finite" in problem.message


def test_logits_that_do_not_depend_on_the_token_are_found(mixtral, tmp_path):
    spoilt = shutil.copytree(mixtral[1], tmp_path / "spoilt")
    tensors = load_file(spoilt / "model.safetensors")
    tensors["model.norm.weight"].zero_()
    save_file(tensors, spoilt / "model.safetensors", {"format": "pt"})
    (problem,) = run(spoilt).findings
    assert problem.code == "ME752" and "whatever the token" in problem.message


def test_a_model_of_pictures_is_not_asked_for_logits(tmp_path):
    _, output = made(tmp_path, "vit")
    assert "takes no tokens" in run(output).skipped
