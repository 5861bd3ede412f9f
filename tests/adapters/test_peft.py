"""PEFT itself, on the models and the adapters that come of a mapping."""

import copy
import re
import warnings

import pytest
import torch
import transformers
from safetensors.torch import load_file

import mapengine
from mapengine import api
from mapengine.planning.example import example_settings
from tests.adapters import making
from tests.adapters.small import mapping_of

TABLE = re.compile(r"emb|wte|wpe")
pytestmark = pytest.mark.filterwarnings("ignore")
peft = pytest.importorskip("peft")


def loaded(folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    kind = getattr(transformers, config.architectures[0])
    return kind.from_pretrained(folder, dtype=torch.float32)


def merged_by_peft(model, adapter):
    """The tensors of a model after PEFT has merged an adapter into it; all of it must be used."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        adapted = peft.PeftModel.from_pretrained(model, adapter)
    assert [str(o.message) for o in told if "missing adapter keys" in str(o.message)] == []
    names = {name.replace(".default", "") for name, _ in adapted.named_parameters()}
    factors = [k for k in load_file(adapter / "adapter_model.safetensors") if ".lora_" in k]
    if not any(".experts." in key for key in factors):  # those PEFT fuses on its own
        assert set(factors) <= names
    return adapted.merge_and_unload().state_dict()


def first_layout(name):
    return next(iter(api.load(name).layouts()))


# Of bloom's base, of gpt_neox's head and of vit transformers 5 has modules of other names than its
# files; PEFT refuses mamba's `out_proj`.
MAPPINGS = [
    "bert", "biogpt", "clip", "falcon", "flex_olmo", "gemma", "gemma2", "gpt2", "litgpt_falcon",
    "llama", "megatron_gpt2", "mistral", "mixtral", "nanogpt", "olmo", "olmoe", "opt", "persimmon",
    "phi", "recurrent_gemma", "roberta", "rwkv", "whisper",
]  # fmt: skip
INPUTS_FIRST = {"gpt2"}
"""Mappings whose source has Conv1D too."""


@pytest.mark.parametrize("name", MAPPINGS)
def test_peft_merges_what_mapping_the_merged_model_gives(name, tmp_path):
    job = making.example(name, first_layout(name), False, tmp_path)
    weights = making.Checkpoint.read_by(api.plan(job), job.folder).load()
    for number, modules in enumerate(making.groups(job, weights, tmp_path)[0]):
        tables = [module for module in modules if TABLE.search(module)]
        both = tmp_path / f"group{number}"
        lora = making.random_lora(
            weights, modules, tables=tables, fan_in_fan_out=name in INPUTS_FIRST
        )
        making.both_ways(job, lora, both)
        expected = loaded(both / "then").state_dict()
        merged = merged_by_peft(loaded(both / "base"), both / "new")
        assert making.deviation(expected, merged) < 1e-5


ADAPTED = {
    "mistral": {
        "target_modules": ["q_proj", "v_proj", "embed_tokens", "down_proj"],
        "rank_pattern": {"v_proj": 5}, "alpha_pattern": {"layers.1.self_attn.v_proj": 3},
        "modules_to_save": ["lm_head"],
    },
    "phi": {"target_modules": "all-linear", "bias": "all", "use_rslora": True},
    "opt": {"target_modules": ["q_proj", "k_proj", "v_proj", "fc1"], "bias": "lora_only"},
    "llama": {"target_modules": ["o_proj"], "layers_to_transform": [1]},
}  # fmt: skip


@pytest.mark.parametrize("name", ADAPTED)
def test_an_adapter_of_peft_goes_back_and_comes_again(name, tmp_path):
    layout = first_layout(name)
    job = making.example(name, layout, False, tmp_path)
    mapengine.run(job, tmp_path / "base", sync=False)
    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, lora_alpha=8, init_lora_weights=False, **ADAPTED[name])
    adapted = peft.get_peft_model(loaded(tmp_path / "base"), config)
    for key, one in adapted.named_parameters():
        if one.requires_grad and ".lora_" not in key:
            one.data += torch.randn_like(one)
    adapted.save_pretrained(tmp_path / "adapter")
    values = dict(example_settings(job.mapping, layout, "target").values)
    back = mapengine.Job(job.mapping, tmp_path / "base", values, layout=job.layout, reverse=True,
                         adapter=tmp_path / "adapter")  # fmt: skip
    mapengine.run(back, tmp_path / "back", sync=False)
    there = mapengine.Job(job.mapping, tmp_path / "model", job.values, layout=job.layout,
                          adapter=tmp_path / "back")  # fmt: skip
    mapengine.run(there, tmp_path / "again", sync=False)
    merged = [merged_by_peft(loaded(tmp_path / "base"), tmp_path / n) for n in ("adapter", "again")]
    assert making.deviation(*merged) < 1e-6
    assert making.deviation(merged[0], loaded(tmp_path / "base").state_dict()) > 1e-3


@pytest.mark.parametrize("modules", [["a"], ["b"], ["a", "c"], ["a", "b", "c"]], ids="".join)
def test_a_name_that_is_the_end_of_another_is_the_right_module(modules, tmp_path):
    rules = "  - a.weight -> x.weight\n  - b.weight -> m.x.weight\n  - c.weight -> c.y.weight\n"
    x, mx, cy = (torch.nn.Linear(6, 4, bias=False) for _ in range(3))
    inner = {"m": torch.nn.ModuleDict({"x": mx}), "c": torch.nn.ModuleDict({"y": cy})}
    base = torch.nn.ModuleDict({**inner, "x": x})
    weights = {f"{name}.weight": x.weight for name in "abc"}
    lora = making.random_lora(weights, modules, ranks={modules[0]: 3})
    job = mapengine.Job(mapping_of(rules), None, adapter=lora.write(tmp_path / "adapter"))
    mapengine.run(job, tmp_path / "new", sync=False)
    merged = merged_by_peft(copy.deepcopy(base), tmp_path / "new")
    wanted = making.Lora.read(tmp_path / "new").merged(base.state_dict())
    torch.testing.assert_close(dict(merged), wanted)


CONV1D = """
  - h.{layer}.down.weight -> transformer.h.{layer}.mlp.c_proj.weight
  - h.{layer}.proj.weight -> transformer.h.{layer}.attn.c_proj.weight:
      ops: [{transpose: [0, 1]}]
  - h.{layer}.up.weight -> transformer.h.{layer}.mlp.c_fc.weight:
      ops: [{transpose: [0, 1]}]
"""


def test_a_turned_weight_is_what_peft_expects_of_conv1d(tmp_path):
    config = transformers.GPT2Config(vocab_size=32, n_positions=16, n_embd=8, n_layer=3, n_head=2)
    model = transformers.GPT2LMHeadModel(config)
    weights = {}
    for i in range(3):
        weights[f"h.{i}.proj.weight"] = model.transformer.h[i].attn.c_proj.weight.detach().T.clone()
        weights[f"h.{i}.up.weight"] = model.transformer.h[i].mlp.c_fc.weight.detach().T.clone()
    lora = making.random_lora(weights, making.matrices(weights)).write(tmp_path / "adapter")
    job = mapengine.Job(mapping_of(CONV1D), None, adapter=lora)
    mapengine.run(job, tmp_path / "new", sync=False)
    merged = merged_by_peft(model, tmp_path / "new")
    wanted = making.Lora.read(lora).merged(weights)
    for i in range(3):
        for name, key in (("proj", "attn.c_proj"), ("up", "mlp.c_fc")):
            found = merged[f"transformer.h.{i}.{key}.weight"].T
            torch.testing.assert_close(found, wanted[f"h.{i}.{name}.weight"])
