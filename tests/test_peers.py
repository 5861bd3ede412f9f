"""Where other converters go wrong in silence: here each is refused, with nothing written, or right.

The numbers of the tests' names are those of the behaviours seen in tools of today: wrong experts
after a gap, both spellings of a layer, an output head made up, layers dropped, keys permuted by
the wrong head count, a theta nobody reads, orientation guessed from a shape, words passed over.
"""

import json
from pathlib import Path

import pytest
import torch
from golden import sources
from golden.cases import CASES
from language.test_cases import said
from safetensors.torch import load_file
from transformers import AutoConfig

from mapengine import api
from mapengine.errors import MapengineError

MAPPING = Path(__file__).parent.parent / "mappings" / "mixtral.yaml"
CASE = CASES["gqa_wide"]  # 8 heads, 2 of them for keys and values, 4 experts, 2 layers


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mixtral.yaml").write_text(MAPPING.read_text())


def write(case=CASE, layout="torrent", family="native", change=lambda tensors: None):
    """The case as a source folder, its tensors changed by `change` if they are in one file."""
    sources.write_source(case, Path("source"), layout, family)
    if layout == "torrent":
        path = Path("source/consolidated.00.pth")
        tensors = torch.load(path)
        change(tensors)
        torch.save(tensors, path)


def refused(mapping="mixtral.yaml") -> list[str]:
    """Every problem, and that nothing was written: no output, and no staging folder beside it."""
    before = sorted(Path().iterdir())
    with pytest.raises(MapengineError) as caught:
        api.run(api.Job(mapping, "source"), "output")
    assert sorted(Path().iterdir()) == before
    return said(caught.value)


def converted() -> tuple[dict[str, torch.Tensor], dict]:
    api.run(api.Job("mixtral.yaml", "source"), "output")
    config = json.loads(Path("output/config.json").read_text())
    return load_file("output/model.safetensors"), config


def line(text: str) -> int:
    """The line of the mapping that begins with `text`."""
    lines = MAPPING.read_text().splitlines()
    return next(n for n, one in enumerate(lines, 1) if one.strip().startswith(text))


def source_line() -> str:
    return f"mixtral.yaml:{line('source:')}:1"


def move(old: str, new: str):
    def change(tensors):
        for key in [key for key in tensors if old in key]:
            tensors[key.replace(old, new)] = tensors.pop(key)

    return change


SIZES = "layers is 2 (params.json: n_layers); experts is 4 (params.json: moe.num_experts)"


def test_1_a_gap_in_the_numbers_of_experts():
    write(change=move("layers.1.feed_forward.experts.2.", "layers.1.feed_forward.experts.9."))
    assert refused() == [
        f"mixtral.yaml:{line('- experts.{expert}.{w}')}:9: ME310 rules[10]: "
        "3 tensors are missing from the checkpoint:\n"
        "  layers.1.feed_forward.experts.2.w1.weight\n"
        "  layers.1.feed_forward.experts.2.w3.weight\n"
        "  layers.1.feed_forward.experts.2.w2.weight\n"
        f"= {SIZES}; files read: consolidated.00.pth",
        f"{source_line()}: ME314 tensors: 3 tensors match no rule:\n"
        "  layers.1.feed_forward.experts.9.w1.weight\n"
        "  layers.1.feed_forward.experts.9.w2.weight\n"
        "  layers.1.feed_forward.experts.9.w3.weight\n"
        "= a rule, or ignore.tensors",
    ]


def test_1_a_matrix_under_another_experts_number():
    write(change=move("layers.0.feed_forward.experts.3.w1", "layers.0.feed_forward.experts.4.w1"))
    assert refused() == [
        f"mixtral.yaml:{line('- experts.{expert}.{w}')}:9: ME310 rules[10]: "
        "1 tensor is missing from the checkpoint:\n"
        "  layers.0.feed_forward.experts.3.w1.weight\n"
        f"= {SIZES}; files read: consolidated.00.pth",
        f"{source_line()}: ME314 tensors: 1 tensor of the checkpoint matches no rule:\n"
        "  layers.0.feed_forward.experts.4.w1.weight\n"
        "= a rule, or ignore.tensors",
    ]


def test_2_both_spellings_of_one_layer():
    hub = sources.hub_weights(CASE)
    key = "layers.0.block_sparse_moe.w1"
    write(change=lambda tensors: tensors.update({key: hub[key]}))
    assert refused() == [
        f"{source_line()}: ME314 tensors: 1 tensor of the checkpoint matches no rule:\n"
        "  layers.0.block_sparse_moe.w1\n"
        "= a rule, or ignore.tensors",
    ]


def test_2_both_published_forms_in_one_folder():
    write()
    sources.write_hub(CASE, Path("source"))
    keep = (
        "= a copy does not belong in the folder; parts of one whole are told apart by the "
        "`prefix` of their files, or by an index in the file pattern"
    )
    assert refused() == [
        "ME513 9 tensors are both in consolidated.00.pth and in consolidated.00.pt; "
        f"first: tok_embeddings.weight\n{keep}",
        "ME513 6 tensors are both in consolidated.00.pth and in consolidated.04.pt; "
        f"first: layers.1.attention_norm.weight\n{keep}",
    ]


def test_3_an_output_head_that_is_not_there():
    write(change=lambda tensors: tensors.pop("output.weight"))
    assert refused() == [
        f"mixtral.yaml:{line('- output.weight')}:5: ME310 rules[2]: "
        "1 tensor is missing from the checkpoint:\n"
        "  output.weight\n"
        "= files read: consolidated.00.pth",
    ]


def test_4_more_layers_and_keys_than_the_config_says():
    def add(tensors):
        tensors["rope.freqs"] = torch.zeros(4)
        for n in (2, 3):
            tensors[f"layers.{n}.attention.wq.weight"] = torch.zeros(64, 64)

    write(change=add)
    assert refused() == [
        f"{source_line()}: ME314 tensors: 3 tensors match no rule:\n"
        "  rope.freqs\n"
        "  layers.{2, 3}.attention.wq.weight  ×2\n"
        "= a rule, or ignore.tensors",
    ]


def test_5_keys_are_permuted_by_their_own_number_of_heads():
    write()
    tensors, _ = converted()
    for layer in range(2):
        for name, heads in (("q", 8), ("k", 2)):
            weight = sources.weights(CASE)[f"layers.{layer}.attention.w{name}.weight"]
            rows = weight.unflatten(0, (heads, -1))  # row 2i + j of a head goes to row j * d/2 + i
            halves = torch.cat([rows[:, 0::2], rows[:, 1::2]], dim=1).flatten(0, 1)
            found = tensors[f"model.layers.{layer}.self_attn.{name}_proj.weight"]
            assert torch.equal(found, halves)


def test_5_a_number_of_heads_that_is_not_these_weights():
    write()
    params = json.loads(Path("source/params.json").read_text())
    sources.write_json(Path("source/params.json"), params | {"n_kv_heads": 8})
    sizes = (
        "= head_dim 8 (params.json: head_dim); hidden 64 (params.json: dim); "
        "kv_heads 8 (params.json: n_kv_heads)"
    )
    assert refused() == [
        f"mixtral.yaml:{line(f'- attention.{name}.')}:9: ME311 rules[{rule}].shape: "
        f"layers.0.attention.{name}.weight is [16, 64] in consolidated.00.pth, "
        f"and [kv_heads * head_dim, hidden] is [64, 64]\n{sizes}"
        for name, rule in (("wk", 6), ("wv", 7))
    ]


def test_9_theta_stands_where_readers_of_either_version_look():
    write(CASES["theta_fraction"])
    _, config = converted()
    assert config["rope_theta"] == 500000.5
    assert "rope_parameters" not in config
    loaded = AutoConfig.from_pretrained("output")
    theta = getattr(loaded, "rope_theta", None) or loaded.rope_parameters["rope_theta"]
    assert theta == 500000.5


@pytest.mark.parametrize("layout", sources.LAYOUTS)
def test_10_and_15_square_experts_keep_their_orientation(layout):
    case = CASES["mha_square_ffn"]
    assert case.params["hidden_size"] == case.params["intermediate_size"]
    write(case, layout, "script")
    tensors, _ = converted()
    assert_experts_are(tensors, sources.weights(case))


def test_15_the_hubs_w2_is_cut_by_expert_and_then_turned():
    write(layout="hub", family="script")
    tensors, _ = converted()
    assert_experts_are(tensors, sources.weights(CASE))


def assert_experts_are(tensors, wanted):
    experts = [key for key in wanted if ".experts." in key]
    assert len(experts) == 2 * 4 * 3
    for key in experts:
        found = tensors[f"model.{key}".replace("feed_forward", "block_sparse_moe")]
        assert torch.equal(found, wanted[key])


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("title:", "titel:", "'titel'\n= did you mean 'title'?"),
        ("  config: params.json", "  confg: params.json", "'confg'\n= did you mean 'config'?"),
        ("default: 2}", "defualt: 2}", "'defualt'\n= did you mean 'default'?"),
        ("permute: {heads: heads}", "permute: {head: heads}", "'head'\n= did you mean 'heads'?"),
        ("{shape: [vocab, hidden]}", "{shap: [vocab, hidden]}", "'shap'\n= did you mean 'shape'?"),
    ],
)  # fmt: skip
def test_14_words_that_mean_nothing_are_refused(old, new, message):
    write()
    text = MAPPING.read_text()
    Path("wrong.yaml").write_text(text.replace(old, new, 1))
    (told,) = refused("wrong.yaml")
    row = text[: text.index(old)].count("\n") + 1
    assert told.startswith(f"wrong.yaml:{row}:") and told.endswith(f"unknown word {message}")
