"""An adapter's files: what is read, however hostile, and what is written, whole or not at all."""

import json
import pickle
import random

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

import mapengine
from mapengine import api
from mapengine.cli import cli
from mapengine.language.document import read_document
from mapengine.language.reading import read_mapping
from tests.adapters import making
from tests.adapters.small import HEAD, mapped, mapping_of, model, write

RULES = "  - a.weight -> b.weight: {ops: [{rope_permute: {heads: heads}}]}\n"
PLAIN = "  - a.weight -> b.weight\n"
A, B = "base_model.model.a.lora_A.weight", "base_model.model.a.lora_B.weight"


@pytest.fixture
def lora():
    return making.random_lora(model(a=(12, 5)), ["a"])


def as_torch_file(folder, tensors, config):
    folder.mkdir()
    torch.save(tensors, folder / "adapter_model.bin")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def problems(folder, rules=PLAIN, **more):
    return making.refusal(mapengine.Job(mapping_of(rules), None, adapter=folder, **more))


def test_adapter_model_bin_is_read_too(lora, tmp_path):
    folder = as_torch_file(tmp_path / "bin", lora.tensors, lora.config)
    mapengine.run(mapengine.Job(mapping_of(PLAIN), None, adapter=folder), tmp_path / "new")
    found = making.Lora.read(tmp_path / "new")
    assert all(map(torch.equal, found.factors["b"], lora.factors["a"]))


def test_turned_tensors_of_a_torch_file_are_read_as_they_are_meant(lora, tmp_path):
    a, b = lora.factors["a"]
    tensors = {A: a.T.contiguous().T, B: b.T.contiguous().T}
    folder = as_torch_file(tmp_path / "bin", tensors, lora.config)
    job = mapengine.Job(mapping_of(RULES), None, {"heads": 2}, adapter=folder)
    mapengine.run(job, tmp_path / "new")
    expected = mapped(RULES, lora, tmp_path / "plain", values={"heads": 2})
    found = making.Lora.read(tmp_path / "new")
    assert all(map(torch.equal, found.factors["b"], expected.factors["b"]))


def test_the_safetensors_file_is_read_where_there_are_both(lora, tmp_path):
    folder = lora.write(tmp_path / "both")
    (folder / "adapter_model.bin").write_bytes(b"nothing")
    assert problems(folder) == ()


def test_a_torch_file_is_written_if_asked_for(lora, tmp_path):
    job = mapengine.Job(mapping_of(PLAIN), None, adapter=lora.write(tmp_path / "a"), format="torch")
    mapengine.run(job, tmp_path / "new")
    found = torch.load(tmp_path / "new" / "adapter_model.bin", weights_only=True)
    assert {key: one.shape for key, one in found.items()} == {
        "base_model.model.b.lora_A.weight": (4, 5), "base_model.model.b.lora_B.weight": (12, 4),
    }  # fmt: skip


def test_nothing_but_the_adapter_is_written(lora, tmp_path):
    write(tmp_path / "model", model(a=(12, 5)))
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    (lora.write(tmp_path / "adapter") / "README.md").write_text("mine")
    job = mapengine.Job(mapping_of(PLAIN), tmp_path / "model", adapter=tmp_path / "adapter")
    mapengine.run(job, tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "mapengine.json",
    }  # fmt: skip
    receipt = json.loads((tmp_path / "new" / "mapengine.json").read_text())
    assert receipt["mapping"]["name"] == "small" and receipt["reads"] == "source"
    assert "adapter_model.safetensors" in receipt["source"]["files"]


def test_of_the_model_nothing_but_the_config_is_needed(lora, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"heads": 2, "groups": 3}')
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a.weight": "gone"}}')
    job = mapengine.Job(mapping_of(RULES), folder, adapter=lora.write(tmp_path / "adapter"))
    assert making.refusal(job) == ()


# -- hostile files ----------------------------------------------------------------------------


BAD = {
    "a lone factor": {A: torch.zeros(4, 5)},
    "other ranks": {A: torch.zeros(4, 5), B: torch.zeros(12, 3)},
    "another rank than the config's": {A: torch.zeros(3, 5), B: torch.zeros(12, 3)},
    "vectors": {A: torch.zeros(4), B: torch.zeros(12)},
    "nothing in it": {A: torch.zeros(4, 0), B: torch.zeros(12, 4)},
    "integers": {A: torch.zeros(4, 5, dtype=torch.int8), B: torch.zeros(12, 4)},
    "no prefix": {A[11:]: torch.zeros(4, 5), B[11:]: torch.zeros(12, 4)},
    "an adapter's name": {A.replace(".weight", ".default.weight"): torch.zeros(4, 5)},
    "magnitudes": {
        A: torch.zeros(4, 5), B: torch.zeros(12, 4),
        "base_model.model.a.lora_magnitude_vector": torch.zeros(12)},
    "a bias of a factor": {
        A: torch.zeros(4, 5), B: torch.zeros(12, 4), B.replace("weight", "bias"): torch.zeros(12)},
    "rows of a table": {
        A: torch.zeros(4, 5), B: torch.zeros(12, 4),
        "base_model.model.e.token_adapter.trainable_tokens_delta": torch.zeros(2, 4)},
    "two kinds at once": {
        A: torch.zeros(4, 5), B: torch.zeros(12, 4),
        "base_model.model.a.lora_embedding_A": torch.zeros(4, 12),
        "base_model.model.a.lora_embedding_B": torch.zeros(5, 4)},
    "one thing twice": {
        A: torch.zeros(4, 5), B: torch.zeros(12, 4), "base_model.model.a.bias": torch.zeros(12),
        "base_model.model.a.base_layer.bias": torch.zeros(12)},
    "no factors": {"base_model.model.a.weight": torch.zeros(12, 5)},
}  # fmt: skip


@pytest.mark.parametrize("tensors", BAD.values(), ids=BAD)
def test_what_is_no_plain_lora_is_refused(tensors, lora, tmp_path):
    lora.write(tmp_path / "adapter")
    save_file(tensors, tmp_path / "adapter" / "adapter_model.safetensors")
    found = problems(tmp_path / "adapter")
    assert found and all(one.code in ("ME430", "ME431") for one in found), found
    assert all("adapter_model.safetensors" in one.message for one in found)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_named(name, lora, tmp_path):
    folder = lora.write(tmp_path / "adapter")
    (folder / name).unlink()
    (problem,) = problems(folder)
    assert problem.code == "ME511" and name in problem.message and "--adapter" in problem.help


@pytest.mark.parametrize("text", ["", "[1]", '{"r": 1, "r": 2}', "[" * 10000, '{"r": NaN}', "1"])
def test_a_broken_config_is_refused(text, lora, tmp_path):
    folder = lora.write(tmp_path / "adapter")
    (folder / "adapter_config.json").write_text(text)
    assert problems(folder)


class Runs:
    def __reduce__(self):
        return (print, ("run",))


def test_a_pickle_that_runs_is_refused(lora, tmp_path, capsys):
    folder = as_torch_file(tmp_path / "bin", {A: Runs()}, lora.config)
    (problem,) = problems(folder)
    assert problem.code == "ME504" and "run" not in capsys.readouterr().out
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({A: Runs()}))
    assert problems(folder)


@pytest.mark.parametrize("shape", [(4, 2**20), (4, 2**40)])
def test_tensors_larger_than_their_file_are_refused(shape, lora, tmp_path):
    tensors = {A: torch.zeros(4, 1).expand(shape), B: torch.zeros(12, 4)}
    (problem,) = problems(as_torch_file(tmp_path / "bin", tensors, lora.config))
    assert problem.code == "ME503"


def test_tensors_that_share_their_bytes_are_refused(lora, tmp_path):
    a, b = torch.zeros(4, 2**12), torch.zeros(12, 4)
    tensors = {k.replace(".a.", f".l.{i}.a."): t for i in range(9) for k, t in ((A, a), (B, b))}
    (problem,) = problems(as_torch_file(tmp_path / "bin", tensors, lora.config))
    assert problem.code == "ME430" and "its tensors would be" in problem.message


JOINED = """
  - a.weight, c.weight -> b.weight:
      shape: [[12, 5], [groups, 5]]
      ops: [{concat: {sizes: [12, groups]}}]
"""


def test_sizes_beyond_every_model_are_refused(lora, tmp_path):
    folder = lora.write(tmp_path / "adapter")
    (problem,) = problems(folder, JOINED, values={"groups": 2**50})
    assert problem.code == "ME340" and "beyond every model" in problem.message


def test_a_model_without_end_is_refused(lora, tmp_path):
    rules = "  - l.{layer}.a.weight -> b.{layer}.weight\n"
    text = HEAD.replace("layer: 3", "layer: groups") + rules
    mapping = read_mapping(read_document(text, "small.yaml"))
    folder = lora.write(tmp_path / "adapter")
    job = mapengine.Job(mapping, None, {"groups": 900_000}, adapter=folder)
    (problem,) = making.refusal(job)
    assert problem.code == "ME302" and "far more keys" in problem.message


def test_broken_bytes_give_errors_and_no_traceback(lora, tmp_path):
    random.seed(1)
    folder = lora.write(tmp_path / "adapter")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        whole = (folder / name).read_bytes()
        for _ in range(300):
            broken = bytearray(whole)
            for _ in range(random.randint(1, 4)):
                broken[random.randrange(min(len(broken), 400))] = random.randrange(256)
            (folder / name).write_bytes(broken)
            problems(folder)  # raises for anything that is not a MapengineError
        (folder / name).write_bytes(whole)
    assert problems(folder) == ()


def test_values_that_do_not_survive_leave_nothing_behind(lora, tmp_path):
    lora.factors["a"][1][0, 0] = 1e9
    job = mapengine.Job(
        mapping_of(PLAIN), None, dtype="float16", adapter=lora.write(tmp_path / "a")
    )
    with pytest.raises(mapengine.PlanError) as raised:
        mapengine.run(job, tmp_path / "new")
    assert raised.value.problems[0].code == "ME305" and "b.lora_B" in str(raised.value)
    assert {path.name for path in tmp_path.iterdir()} == {"a"}


# -- the commands -----------------------------------------------------------------------------


@pytest.fixture
def folders(lora, tmp_path):
    """A shipped mapping's example, an adapter of it, and the command that maps that."""
    mapping = api.load("mistral")
    layout = next(iter(mapping.layouts()))
    making.write_model(mapping, layout, tmp_path / "model")
    weights = making.load(tmp_path / "model" / "consolidated.safetensors")
    adapter = making.random_lora(weights, ["layers.0.attention.wq", "layers.0.attention.wo"])
    adapter.write(tmp_path / "adapter")
    return tmp_path


def command(folders, *words):
    words = [*words, "--adapter", folders / "adapter", "--source", folders / "model"]
    return CliRunner().invoke(cli, list(map(str, words)))


def test_a_plan_shows_rules_and_shapes(folders):
    shown = command(folders, "plan", "mistral")
    assert shown.exit_code == 0, shown.output
    first, *_ = shown.output.splitlines()
    assert first.endswith(", an adapter") and "attention.wq.weight" in shown.output
    assert "4 tensors" in shown.output and "also: adapter_config.json" in shown.output


def test_a_plan_as_json_has_keys_and_the_config(folders):
    told = json.loads(command(folders, "plan", "mistral", "--json").output)
    assert [shard["name"] for shard in told["shards"]] == ["adapter_model.safetensors"]
    assert told["configs"]["adapter_config.json"]["target_modules"] == [
        "0.self_attn.o_proj",
        "0.self_attn.q_proj",
    ]


def test_a_run_writes_it_once_and_never_into_what_it_reads(folders):
    done = command(folders, "run", "mistral", "--output", folders / "new", "--base-model", "org/x")
    assert done.exit_code == 0, done.output
    config = json.loads((folders / "new" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "org/x"
    for output in ("new", "adapter", "model", "adapter/inside"):
        again = command(folders, "run", "mistral", "--output", folders / output)
        assert again.exit_code != 0


def test_verify_knows_an_adapter(folders):
    command(folders, "run", "mistral", "--output", folders / "new")
    shown = CliRunner().invoke(cli, ["verify", str(folders / "new")])
    assert shown.exit_code == 0 and "it is an adapter" in shown.output


@pytest.mark.parametrize("words", [["--then", "mixtral"], ["--format", "onnx"]])
def test_what_does_not_go_together_is_refused(words, folders):
    assert command(folders, "plan", "mistral", *words).exit_code != 0


def test_a_base_model_is_for_an_adapter(folders):
    shown = CliRunner().invoke(cli, ["plan", "mistral", "--base-model", "x"])
    assert shown.exit_code == 2 and "--adapter" in shown.output
