"""Mappings of other families: tensor-parallel rank files, and experts fused and taken apart."""

import math
from pathlib import Path

import pytest
import torch
from golden import compare, sources
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from mapengine import api
from mapengine.errors import MapengineError

SHIPPED = Path(__file__).parent.parent / "mappings"
LLAMA = SHIPPED / "llama.yaml"
QWEN = SHIPPED / "qwen3_moe.yaml"


@pytest.mark.parametrize("mapping", ["mixtral", LLAMA, QWEN], ids=str)
def test_a_mapping_proves_itself_on_its_example(mapping):
    assert api.validate(mapping) == []


# -- Llama ----------------------------------------------------------------------------------------

HIDDEN, LAYERS, HEADS, KV_HEADS, VOCAB, FFN = 64, 2, 16, 8, 96, 192
PARAMS = {
    "dim": HIDDEN,
    "n_layers": LAYERS,
    "n_heads": HEADS,
    "n_kv_heads": KV_HEADS,
    "vocab_size": VOCAB,
    "multiple_of": 32,
    "norm_eps": 1e-5,
    "rope_theta": 500000.0,
}
CUT = {  # along which axis a tensor is cut in ranks; the others are replicas
    "output": 0,
    "wq": 0,
    "wk": 0,
    "wv": 0,
    "wo": 1,
    "w1": 0,
    "w3": 0,
    "w2": 1,
}


def whole(tied=False):
    """A small Llama in float32, in the keys of Meta's checkpoints."""
    kv = HIDDEN // HEADS * KV_HEADS
    shapes = {"tok_embeddings": (VOCAB, HIDDEN), "norm": (HIDDEN,), "output": (VOCAB, HIDDEN)}
    for layer in range(LAYERS):
        inner = {
            "attention.wq": (HIDDEN, HIDDEN),
            "attention.wk": (kv, HIDDEN),
            "attention.wv": (kv, HIDDEN),
            "attention.wo": (HIDDEN, HIDDEN),
            "feed_forward.w1": (FFN, HIDDEN),
            "feed_forward.w2": (HIDDEN, FFN),
            "feed_forward.w3": (FFN, HIDDEN),
            "attention_norm": (HIDDEN,),
            "ffn_norm": (HIDDEN,),
        }
        shapes |= {f"layers.{layer}.{name}": shape for name, shape in inner.items()}
    tensors = {f"{key}.weight": sources.normals(key, shape) for key, shape in shapes.items()}
    if tied:
        tensors["output.weight"] = tensors["tok_embeddings.weight"].clone()
    return tensors


def cut(tensors, ranks, table_dim):
    """What each rank holds: an equal slice of every matrix, a copy of every norm."""
    held = [{"rope.freqs": torch.ones(2)} for _ in range(ranks)]
    for key, tensor in tensors.items():
        part = key.split(".")[-2]
        dim = table_dim if part == "tok_embeddings" else CUT.get(part)
        slices = [tensor] * ranks if dim is None else tensor.chunk(ranks, dim)
        for rank, piece in zip(held, slices, strict=True):
            rank[key] = piece.clone()
    return held


def write_llama(folder, tensors, ranks, table_dim, **changes):
    folder.mkdir()
    for number, held in enumerate(cut(tensors, ranks, table_dim)):
        torch.save(held, folder / f"consolidated.{number:02}.pth")
    sources.write_json(folder / "params.json", PARAMS | changes)
    return folder


def half_split(weight, heads):
    """Rows 0, 2, 4, ... of each head first, then rows 1, 3, 5, ..."""
    rows = weight.reshape(heads, -1, weight.shape[-1])
    return torch.cat([rows[:, 0::2], rows[:, 1::2]], dim=1).reshape(weight.shape)


def by_hand(tensors, tied):
    """The same model in the keys of transformers, in bfloat16."""
    hand = {
        "model.embed_tokens.weight": tensors["tok_embeddings.weight"],
        "model.norm.weight": tensors["norm.weight"],
    }
    if not tied:
        hand["lm_head.weight"] = tensors["output.weight"]
    for layer in range(LAYERS):
        old, new = f"layers.{layer}.", f"model.layers.{layer}."
        hand[f"{new}self_attn.q_proj.weight"] = half_split(
            tensors[f"{old}attention.wq.weight"], HEADS
        )
        hand[f"{new}self_attn.k_proj.weight"] = half_split(
            tensors[f"{old}attention.wk.weight"], KV_HEADS
        )
        for ours, theirs in {
            "attention.wv": "self_attn.v_proj",
            "attention.wo": "self_attn.o_proj",
            "feed_forward.w1": "mlp.gate_proj",
            "feed_forward.w3": "mlp.up_proj",
            "feed_forward.w2": "mlp.down_proj",
            "attention_norm": "input_layernorm",
            "ffn_norm": "post_attention_layernorm",
        }.items():
            hand[f"{new}{theirs}.weight"] = tensors[f"{old}{ours}.weight"]
    return {key: tensor.to(torch.bfloat16) for key, tensor in hand.items()}


@pytest.mark.parametrize("ranks", [1, 2, 8])
@pytest.mark.parametrize(
    "preset, table_dim, tied", [("llama2", 1, False), ("llama3", 0, False), ("llama32", 0, True)]
)
def test_ranks_are_merged_as_by_hand(preset, table_dim, tied, ranks, tmp_path):
    tensors = whole(tied)
    source = write_llama(tmp_path / "source", tensors, ranks, table_dim)
    job = api.Job(LLAMA, source, preset=preset, dtype="bfloat16")  # as the script does it
    result = api.run(job, tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    wanted = by_hand(tensors, tied)
    assert result.tensors == len(found) == 2 + 9 * LAYERS + (not tied)
    assert compare.digest_of_all(found) == compare.digest_of_all(wanted)
    model, told = LlamaForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(told.values()), told
    head = tensors["output.weight"].to(torch.bfloat16)
    assert torch.equal(model.lm_head.weight, head)
    config = compare.read_json(tmp_path / "out" / "config.json")
    assert (config["intermediate_size"], config["tie_word_embeddings"]) == (FFN, tied)
    assert config["head_dim"] == HIDDEN // HEADS


def test_a_scaled_rope_is_written_where_the_params_say_so(tmp_path):
    source = write_llama(tmp_path / "source", whole(), 2, 0, use_scaled_rope=True)
    api.run(api.Job(LLAMA, source, preset="llama31"), tmp_path / "out")
    assert compare.read_json(tmp_path / "out" / "config.json")["rope_scaling"] == {
        "factor": 8.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    }


def test_params_in_an_object_of_their_own_say_the_same(tmp_path):
    source = write_llama(tmp_path / "source", whole(), 2, 0)
    api.run(api.Job(LLAMA, source, preset="llama3"), tmp_path / "out")
    sources.write_json(source / "params.json", {"model": PARAMS})
    api.run(api.Job(LLAMA, source, preset="llama3"), tmp_path / "out2")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "out2" / name).read_bytes()


def test_heads_that_straddle_ranks_are_merged_before_they_are_permuted(tmp_path):
    tensors = whole()  # one key-value head lies on two ranks
    for layer in range(LAYERS):
        for name in ("wk", "wv"):
            key = f"layers.{layer}.attention.{name}.weight"
            tensors[key] = sources.normals(key, (3 * HIDDEN // HEADS, HIDDEN))
    source = write_llama(tmp_path / "source", tensors, 2, 0, n_kv_heads=3)
    api.run(api.Job(LLAMA, source, preset="llama3"), tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    wanted = half_split(tensors["layers.1.attention.wk.weight"], 3)
    assert torch.equal(found["model.layers.1.self_attn.k_proj.weight"], wanted)


def refused(source, output, mapping=LLAMA, preset="llama3"):
    with pytest.raises(MapengineError) as error:
        api.run(api.Job(mapping, source, preset=preset), output)
    assert not output.exists()
    return error.value.problems


def test_a_replica_that_differs_between_ranks_is_refused(tmp_path):
    source = write_llama(tmp_path / "source", whole(), 4, 0)
    held = torch.load(source / "consolidated.02.pth", weights_only=True)
    held["layers.1.ffn_norm.weight"][7] += 1e-6
    torch.save(held, source / "consolidated.02.pth")
    (problem,) = refused(source, tmp_path / "out")
    assert problem.code == "ME306"
    files = ", ".join(f"consolidated.{rank:02}.pth" for rank in range(4))
    assert problem.message == (
        "model.layers.1.post_attention_layernorm.weight: "
        f"the tensors that should be the same are not, in {files}"
    )
    assert problem.where.line == 1 + next(
        number
        for number, line in enumerate(LLAMA.read_text().splitlines())
        if "- ffn_norm.weight ->" in line
    )


def test_a_tied_head_that_is_another_one_is_refused(tmp_path):
    source = write_llama(tmp_path / "source", whole(), 2, 0)
    problems = refused(source, tmp_path / "out", preset="llama32")
    assert problems[0].message.startswith("model.embed_tokens.weight: the tensors that should be")


def test_a_missing_rank_is_refused_by_name(tmp_path):
    source = write_llama(tmp_path / "source", whole(), 4, 0)
    (source / "consolidated.02.pth").unlink()
    problems = refused(source, tmp_path / "out")
    assert any(problem.message.startswith("consolidated.02.pth is missing") for problem in problems)


def test_a_key_that_one_rank_lacks_is_refused(tmp_path):
    source = write_llama(tmp_path / "source", whole(), 4, 0)
    held = torch.load(source / "consolidated.03.pth", weights_only=True)
    del held["layers.0.attention.wq.weight"]
    torch.save(held, source / "consolidated.03.pth")
    problems = refused(source, tmp_path / "out")
    assert "layers.0.attention.wq.weight" in problems[0].message
    assert problems[0].code == "ME310"


@pytest.mark.parametrize(
    "there, instead, message",
    [
        ("ops: [{same: {over: rank}}]", "", "the rule does not use 'rank' up"),
        ("ops: [{concat: {over: rank, dim: 1}}]", "", "the rule does not use 'rank' up"),
        ("{concat: {over: rank, dim: 0}}, same", "same", "the rule does not use 'rank' up"),
    ],
)
def test_a_rule_that_does_not_use_the_ranks_up_is_refused(there, instead, message, tmp_path):
    mapping = tmp_path / "mapping.yaml"
    text = LLAMA.read_text(encoding="utf-8")
    assert there in text
    mapping.write_text(text.replace(there, instead, 1), encoding="utf-8")
    preset = "llama32" if "same" in instead else "llama3"
    source = write_llama(tmp_path / "source", whole(tied=True), 2, 0)
    problems = refused(source, tmp_path / "out", mapping, preset)
    assert [problem.message for problem in problems] == [message]


# -- Qwen3-MoE ------------------------------------------------------------------------------------


def test_experts_are_fused_as_by_hand(tmp_path):
    hidden, ffn, experts, layers, vocab, heads, kv_heads, head_dim = 32, 24, 11, 2, 40, 4, 2, 16
    shapes = {
        "model.embed_tokens": (vocab, hidden),
        "model.norm": (hidden,),
        "lm_head": (vocab, hidden),
    }
    for layer in range(layers):
        inner = {
            "input_layernorm": (hidden,),
            "post_attention_layernorm": (hidden,),
            "self_attn.q_proj": (heads * head_dim, hidden),
            "self_attn.k_proj": (kv_heads * head_dim, hidden),
            "self_attn.v_proj": (kv_heads * head_dim, hidden),
            "self_attn.o_proj": (hidden, heads * head_dim),
            "self_attn.q_norm": (head_dim,),
            "self_attn.k_norm": (head_dim,),
            "mlp.gate": (experts, hidden),
        }
        for expert in range(experts):
            inner[f"mlp.experts.{expert}.gate_proj"] = (ffn, hidden)
            inner[f"mlp.experts.{expert}.up_proj"] = (ffn, hidden)
            inner[f"mlp.experts.{expert}.down_proj"] = (hidden, ffn)
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in inner.items()}
    tensors = {
        f"{key}.weight": sources.normals(key, shape).to(torch.bfloat16)
        for key, shape in shapes.items()
    }
    keys = sorted(tensors)
    source = tmp_path / "source"
    source.mkdir()
    for number in (1, 2):
        part = {key: tensors[key] for key in keys[number - 1 :: 2]}
        save_file(part, source / f"model-0000{number}-of-00002.safetensors")
    config = {
        "hidden_size": hidden,
        "moe_intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_experts": experts,
        "vocab_size": vocab,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "rope_theta": 1e6,
        "nested": {"carried": [1, 2]},
    }
    sources.write_json(source / "config.json", config)
    api.run(api.Job(QWEN, source), tmp_path / "out")

    wanted = {key: tensor for key, tensor in tensors.items() if ".experts." not in key}
    for layer in range(layers):
        start = f"model.layers.{layer}.mlp.experts."
        halves = [
            torch.cat([tensors[f"{start}{e}.{half}_proj.weight"] for half in ("gate", "up")])
            for e in range(experts)
        ]
        downs = [tensors[f"{start}{e}.down_proj.weight"] for e in range(experts)]
        wanted[f"{start}gate_up_proj"] = torch.stack(halves)
        wanted[f"{start}down_proj"] = torch.stack(downs)
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert len(found) == 3 + 11 * layers
    assert compare.digest_of_all(found) == compare.digest_of_all(wanted)
    written = compare.read_json(tmp_path / "out" / "config.json")
    assert {key: written[key] for key in config} == config
    assert sum(math.prod(t.shape) for t in found.values()) == sum(
        math.prod(shape) for shape in shapes.values()
    )
