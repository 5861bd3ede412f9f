"""The converted model computes what the source's weights mean, and a planted mistake shows.

`pytest tests/test_logits.py -rP` prints how far off each is.
"""

import functools
from dataclasses import dataclass, field

import pytest
import reference
import torch
from golden import sources
from golden.cases import CASES
from transformers import MixtralForCausalLM

from mapengine import api
from mapengine.errors import MapengineError

SHIPPED = api.shipped_mappings()["mixtral"].read_text(encoding="utf-8")
CLOSE, FAR = 1e-5, 1e-3
TOKENS = torch.tensor([[1, 17, 42, 5, 93, 17, 3, 88, 60, 2, 31, 9], [7] * 12])


@functools.cache
def meant(name):
    """The logits of the source's own tensors."""
    case = CASES[name]
    return reference.logits(sources.weights(case), sources.native_params(case), TOKENS)


def distance(mapping, source, output, name):
    """How far the logits of the converted checkpoint are from those that are meant.

    None where transformers does not take the tensors.
    """
    api.run(api.Job(mapping, source), output)
    model, told = MixtralForCausalLM.from_pretrained(
        output,
        dtype=torch.float32,
        attn_implementation="eager",
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    if any(told.values()):
        print(f"{name}: does not load: {[word for word, keys in told.items() if keys]}")
        return None
    with torch.no_grad():
        off = float((model(TOKENS).logits - meant(name)).abs().max())
    print(f"{name}: {off:.1e} off, logits up to {float(meant(name).abs().max()):.2f}")
    return off


@pytest.mark.parametrize("layout", ["torrent", "hub"])
@pytest.mark.parametrize(
    "name",
    ["gqa_float32", "mha_kv_heads_absent", "window_int", "theta_fraction", "window_string_float32"],
)
def test_the_converted_model_gives_the_logits_of_the_source(name, layout, tmp_path):
    source = sources.write_source(CASES[name], tmp_path / "source", layout, "native")
    assert distance("mixtral", source, tmp_path / "out", name) < CLOSE
    assert meant(name).abs().max() > 100 * FAR  # so that being close to it means something


# -- planted mistakes -----------------------------------------------------------------------------

UNLOADABLE = "transformers does not take it"


@dataclass(frozen=True)
class Mistake:
    """What is wrong, a source it shows on, what becomes of it, and the edits that plant it.

    `seen` is `FAR` for logits that are off, `UNLOADABLE`, or what the engine says. An edit is a
    text of the mapping, which must be there once, and what is put in its place.
    """

    name: str
    layout: str
    case: str
    seen: float | str
    edits: dict[str, str] = field(default_factory=dict)

    def __str__(self):
        return self.name

    def planted(self):
        text = SHIPPED
        for number, there in enumerate(self.edits):
            assert SHIPPED.count(there) == 1, there
            text = text.replace(there, f"\0{number}\0")  # not to be found by the next edit
        for number, instead in enumerate(self.edits.values()):
            text = text.replace(f"\0{number}\0", instead)
        return text


PERMUTED = "\n          ops: [{rope_permute: {heads: %s}}]"
HEADS, KV_HEADS = "{heads: heads}", "{heads: kv_heads}"
ONE = "experts.{expert}.%s.weight"
OF_SHAPE = ": {shape: [ffn, hidden]}"
SWAPPED = f"{ONE % 'w1'} -> {ONE % 'w3'}{OF_SHAPE}\n      - {ONE % 'w3'} -> {ONE % 'w1'}{OF_SHAPE}"
STACK = '"%s -> experts.{expert}.%s.weight":\n          shape: [experts * ffn, hidden]\n'
SPLIT = "          ops: [{split: {into: expert, dim: 0}}]\n"
STACKS_SWAPPED = f"{STACK % ('w1', 'w3')}{SPLIT}      - {STACK % ('w3', 'w1')}"
W2 = "experts.{expert}.w2.weight: {shape: [hidden, ffn]}"
BACKWARDS = "experts.{experts - 1 - expert}"
W2_BACKWARDS = W2.replace(":", f" -> {BACKWARDS}.w2.weight:", 1)
W_BACKWARDS = f"{ONE % '{w}'} -> {BACKWARDS}.{{w}}.weight{OF_SHAPE}"
BEFORE, AFTER = "-> input_layernorm", "-> post_attention_layernorm"
K, V = "-> self_attn.k_proj", "-> self_attn.v_proj"
TABLE, HEAD = "-> model.embed_tokens.weight", "-> lm_head.weight"
TRANSPOSED = ", {transpose: [0, 1]}]"
PLACE = "    target: sliding_window\n"
LAYER, LAYERS_BACKWARDS = "-> model.layers.{layer}", "-> model.layers.{layers - 1 - layer}"
GATE = """    layout: native+separate
    tensors:
      - gate.weight: {shape: [experts, hidden]}
"""

MISTAKES = [
    Mistake("q not permuted", "torrent", "gqa_float32", FAR, {PERMUTED % "heads": ""}),
    Mistake("k not permuted", "torrent", "gqa_float32", FAR, {PERMUTED % "kv_heads": ""}),
    Mistake("k by q's heads", "torrent", "gqa_float32", FAR, {KV_HEADS: HEADS}),
    Mistake("q by k's heads", "torrent", "gqa_float32", FAR, {HEADS: KV_HEADS}),
    Mistake("q permuted backwards", "torrent", "mha_kv_heads_absent", FAR,
            {"rope_permute: {heads: heads}": "rope_unpermute: {heads: heads}"}),
    Mistake("k and v swapped", "torrent", "mha_kv_heads_absent", FAR, {K: V, V: K}),
    Mistake("w1 and w3 swapped", "torrent", "gqa_float32", FAR,
            {ONE % "{w}" + OF_SHAPE: SWAPPED}),
    Mistake("stacks of w1 and w3 swapped", "hub", "gqa_float32", FAR,
            {STACK % ("{w}", "{w}"): STACKS_SWAPPED}),
    Mistake("w2 not transposed", "hub", "gqa_float32", UNLOADABLE, {TRANSPOSED: "]"}),
    Mistake("square w2 not transposed", "hub", "mha_square_ffn", FAR, {TRANSPOSED: "]"}),
    Mistake("w2 split along the wrong axis", "hub", "gqa_float32",
            "rules[14].ops[0].split: axis 1 has 32 positions, not divisible into 3",
            {f"dim: 0}}}}{TRANSPOSED}": "dim: 1}}]"}),
    Mistake("experts backwards, gate not", "torrent", "gqa_float32", FAR,
            {ONE % "{w}" + OF_SHAPE: W_BACKWARDS, W2: W2_BACKWARDS}),
    Mistake("w2 of the experts backwards", "torrent", "gqa_float32", FAR, {W2: W2_BACKWARDS}),
    Mistake("stacks backwards", "hub", "gqa_float32", FAR,
            {'"{w} -> experts.{expert}': f'"{{w}} -> {BACKWARDS}'}),
    Mistake("norms swapped", "torrent", "gqa_float32", FAR, {BEFORE: AFTER, AFTER: BEFORE}),
    Mistake("layers backwards", "torrent", "gqa_float32", FAR,
            {f"{LAYER}.\n    tensors": f"{LAYERS_BACKWARDS}.\n    tensors",
             f"{LAYER}.block_sparse_moe.\n    layout: native+separate":
             f"{LAYERS_BACKWARDS}.block_sparse_moe.\n    layout: native+separate"}),
    Mistake("table and head swapped", "torrent", "gqa_float32", FAR, {TABLE: HEAD, HEAD: TABLE}),
    Mistake("window not written", "torrent", "window_int", FAR, {PLACE: ""}),
    Mistake("theta not written", "torrent", "theta_fraction", FAR,
            {"target: {v4: rope_theta,": "target: {"}),
    Mistake("theta not read", "torrent", "gqa_float32",
            "params.json: rope_theta is read by no field", {"source: rope_theta": "#"}),
    Mistake("gate left out", "torrent", "gqa_float32", "2 tensors match no rule",
            {GATE: GATE[: GATE.index("      -")]}),
    Mistake("a layer left out", "torrent", "gqa_float32", "16 tensors match no rule",
            {"{layer: layers,": "{layer: layers - 1,"}),
    Mistake("an expert left out", "torrent", "gqa_float32", "6 tensors match no rule",
            {"expert: experts,": "expert: experts - 1,"}),
    Mistake("an expert left out of the stacks", "hub", "gqa_float32", UNLOADABLE,
            {"expert: experts,": "expert: experts - 1,"}),
    Mistake("an expert too many", "hub", "gqa_float32", "moe.num_experts is 3, where 4 is wanted",
            {"target: num_local_experts}": "target: num_local_experts, value: 4}"}),
    Mistake("hidden and ffn swapped", "torrent", "gqa_float32", "and [hidden] is [48]",
            {"mistral: dim,": "mistral: hidden_dim,", "mistral: hidden_dim,": "mistral: dim,"}),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_mistake_in_the_mapping_is_refused_or_shows_in_the_logits(mistake, tmp_path):
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(mistake.planted(), encoding="utf-8")
    source = sources.write_source(
        CASES[mistake.case], tmp_path / "source", mistake.layout, "native"
    )
    try:
        off = distance(mapping, source, tmp_path / "out", mistake.case)
    except MapengineError as refused:
        print(refused)
        assert isinstance(mistake.seen, str) and mistake.seen in str(refused)
        assert not (tmp_path / "out").exists()
    else:
        assert off is None if mistake.seen == UNLOADABLE else off > mistake.seen
