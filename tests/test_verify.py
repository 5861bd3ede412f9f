import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from golden.cases import CASES
from golden.sources import write_json, write_source
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from mapengine.api import Job, run
from mapengine.checkpoints.inspection import read_folder
from mapengine.errors import CheckpointError
from mapengine.verification.checks import verify
from mapengine.verification.differences import reported
from mapengine.verification.expected_keys import expected_keys
from mapengine.verification.oracle import loading_info, quiet
from mapengine.verification.subject import Subject

MAPPING = Path(__file__).parent.parent / "mappings" / "mixtral.yaml"
CASE = CASES["gqa_float32"]  # 2 layers, 3 experts
SMALL_SHARDS = 40_000
FORMS: dict[str, dict[str, Any]] = {
    "single": {},
    "sharded": {"max_shard_size": SMALL_SHARDS},
    "torch": {"format": "torch"},
    "torch sharded": {"format": "torch", "max_shard_size": SMALL_SHARDS},
}
INDEX = "model.safetensors.index.json"
FILES, RECEIPT, CONFIG, CLASS, LOAD, BACK = range(6)
V5 = int(version("transformers").split(".")[0]) >= 5
EXPERT = "model.layers.{}.block_sparse_moe.experts.{}.w1.weight"


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small Mixtral, converted into every form."""
    root = tmp_path_factory.mktemp("verify")
    source = write_source(CASE, root / "source")
    for form, options in FORMS.items():
        run(Job(MAPPING, source, **options), root / form)
    return {form: root / form for form in FORMS} | {"source": source}


@pytest.fixture
def copied(converted: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a converted folder, to be spoilt, with its receipt."""
    return lambda form: Path(shutil.copytree(converted[form], tmp_path / "copy"))


def codes(folder: Path, **options: Any) -> dict[int, set[str]]:
    """The codes of the findings, by check, where there are any, but for the way back."""
    checks = verify(folder, **options)[:BACK]
    return {n: {p.code for p in c.findings} for n, c in enumerate(checks) if c.findings}


# -- folders in which all is well ---------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_a_converted_folder_passes_every_check(converted, form, capfd):
    checks = verify(converted[form])
    assert [check for check in checks if not check.passed] == []
    files = 1 if "sharded" not in form else 5
    assert [check.detail for check in checks] == [
        f"35 tensors in {files} file{'s' if files > 1 else ''}",
        f"{files + 3 + (files > 1)} files",
        "MixtralForCausalLM, float32",
        "35 keys of MixtralForCausalLM",
        "161,152 bytes loaded",
        "23 tensors by mixtral",
    ]
    assert capfd.readouterr() == ("", "")


def test_without_loading_the_last_check_is_skipped(converted):
    checks = verify(converted["single"], load=False)
    last = checks.pop(LOAD)
    assert all(check.passed for check in checks)
    assert (last.findings, last.skipped) == ((), "not asked for")


def test_a_folder_in_another_programs_names_is_checked_as_files_alone(converted):
    first, *others = verify(converted["source"])
    assert first.passed
    assert all(check.skipped and not check.findings for check in others)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="ME501"):
        verify(tmp_path / "nowhere")


# -- folders that are spoilt --------------------------------------------------------------------


def state_of(folder: Path, edit: Callable[[dict[str, Tensor]], object], key: str = "") -> None:
    """Rewrites the file with the key (or the only one), changed by `edit`."""
    for path in sorted(folder.glob("*.safetensors")):
        state = load_file(path)
        if not key or key in state:
            edit(state)
            path.unlink()
            save_file(state, path, metadata={"format": "pt"})
            return


def json_of(folder: Path, name: str, edit: Callable[[Any], object]) -> None:
    value = json.loads((folder / name).read_text())
    edit(value)
    write_json(folder / name, value)


def config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: json_of(folder, "config.json", lambda c: c.update(changes))


def reshape_head(state: dict[str, Tensor]) -> None:
    state["lm_head.weight"] = state["lm_head.weight"][:-1].clone()


def drop_last_expert(state: dict[str, Tensor]) -> None:
    for key in [key for key in state if ".experts.2." in key]:
        del state[key]


def add_layer(state: dict[str, Tensor]) -> None:
    last = [key for key in state if key.startswith("model.layers.1.")]
    state.update({key.replace(".1.", ".2.", 1): state[key].clone() for key in last})


def cast(state: dict[str, Tensor]) -> None:
    state.update({key: tensor.bfloat16() for key, tensor in state.items()})


def truncate(folder: Path) -> None:
    path = folder / "model-00002-of-00005.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def point_outside(folder: Path) -> None:
    shutil.copy(folder / "model-00002-of-00005.safetensors", folder.parent / "x.safetensors")
    key = EXPERT.format(0, 0)
    json_of(folder, INDEX, lambda index: index["weight_map"].update({key: "../x.safetensors"}))


def drop_metadata(folder: Path) -> None:
    path = folder / "model.safetensors"
    state = load_file(path)
    path.unlink()
    save_file(state, path)


SPOILT: list[tuple[str, str, Callable[[Path], object], dict[int, set[str]]]] = [
    (
        "a key missing in a shard",
        "sharded",
        lambda f: state_of(f, lambda s: s.pop("model.norm.weight"), "model.norm.weight"),
        {FILES: {"ME515", "ME704"}, CLASS: {"ME731"}, LOAD: {"ME742"}},
    ),
    (
        "a key missing",
        "single",
        lambda f: state_of(f, lambda s: s.pop("model.norm.weight")),
        {CLASS: {"ME731"}, LOAD: {"ME742"}},
    ),
    (
        "an extra key in a shard",
        "sharded",
        lambda f: state_of(f, lambda s: s.update({"x": torch.zeros(2)}), "model.norm.weight"),
        {FILES: {"ME515", "ME704"}, CLASS: {"ME732"}, LOAD: {"ME742"}},
    ),
    (
        "an extra key",
        "single",
        lambda f: state_of(f, lambda s: s.update({"x": torch.zeros(2)})),
        {CLASS: {"ME732"}, LOAD: {"ME742"}},
    ),
    (
        "a shape changed",
        "single",
        lambda f: state_of(f, reshape_head),
        {CLASS: {"ME733"}, LOAD: {"ME742"}},
    ),
    (
        "an expert's shape changed",
        "single",
        lambda f: state_of(f, lambda s: s.update({EXPERT.format(1, 2): torch.zeros(47, 32)})),
        {CLASS: {"ME733"}, LOAD: {"ME741"}},
    ),
    (
        "an expert's two matrices under each other's names",
        "single",
        lambda f: state_of(
            f,
            lambda s: s.update({EXPERT.format(0, 1): s[EXPERT.format(0, 1)].T.contiguous()}),
        ),
        {CLASS: {"ME733"}, LOAD: {"ME741"}},
    ),
    (
        "the head missing, though nothing is tied",
        "single",
        lambda f: state_of(f, lambda s: s.pop("lm_head.weight")),
        {CLASS: {"ME731"}, LOAD: {"ME742"}},
    ),
    (
        "the whole last expert missing",
        "single",
        lambda f: state_of(f, drop_last_expert),
        {CLASS: {"ME731"}, LOAD: {"ME742"}},
    ),
    (
        "a layer too many",
        "single",
        lambda f: state_of(f, add_layer),
        {CLASS: {"ME732"}, LOAD: {"ME742"}},
    ),
    (
        "a file of the index absent",
        "sharded",
        lambda f: (f / "model-00003-of-00005.safetensors").unlink(),
        {FILES: {"ME511"}},
    ),
    ("an index that points outside", "sharded", point_outside, {FILES: {"ME514"}}),
    (
        "an index without one key",
        "sharded",
        lambda f: json_of(f, INDEX, lambda i: i["weight_map"].pop("lm_head.weight")),
        {FILES: {"ME515"}},
    ),
    (
        "an index without a weight map",
        "sharded",
        lambda f: json_of(f, INDEX, lambda i: i.pop("weight_map")),
        {FILES: {"ME514"}},
    ),
    (
        "an index of nothing",
        "source",
        lambda f: write_json(f / INDEX, {"weight_map": {}}),
        {FILES: {"ME703"}, CONFIG: {"ME721"}},
    ),
    (
        "an index that is not JSON",
        "sharded",
        lambda f: (f / INDEX).write_text("{"),
        {FILES: {"ME516"}},
    ),
    ("no index", "sharded", lambda f: (f / INDEX).unlink(), {FILES: {"ME703"}}),
    (
        "a wrong total",
        "sharded",
        lambda f: json_of(f, INDEX, lambda i: i["metadata"].update(total_size=1)),
        {FILES: {"ME704"}},
    ),
    (
        "a stale single file beside the index",
        "sharded",
        lambda f: save_file({"lm_head.weight": torch.zeros(96, 32)}, f / "model.safetensors"),
        {FILES: {"ME702", "ME705"}, CLASS: {"ME731"}, LOAD: {"ME742"}},
    ),
    (
        "a stale torch file beside the safetensors",
        "single",
        lambda f: torch.save({"lm_head.weight": torch.zeros(96, 32)}, f / "pytorch_model.bin"),
        {FILES: {"ME702"}},
    ),
    (
        "a stray shard",
        "sharded",
        lambda f: shutil.copy(
            f / "model-00001-of-00005.safetensors", f / "model-00009-of-00009.safetensors"
        ),
        {FILES: {"ME515"}},
    ),
    (
        "a stray shard without tensors",
        "sharded",
        lambda f: save_file({}, f / "model-00009-of-00009.safetensors"),
        {FILES: {"ME703"}},
    ),
    ("a truncated shard", "sharded", truncate, {FILES: {"ME502"}}),
    (
        "a truncated torch file",
        "torch",
        lambda f: (f / "pytorch_model.bin").write_bytes(
            (f / "pytorch_model.bin").read_bytes()[:-100]
        ),
        {FILES: {"ME502"}},
    ),
    ("metadata without format", "single", drop_metadata, {FILES: {"ME705"}}),
    (
        "no tensor file",
        "single",
        lambda f: (f / "model.safetensors").unlink(),
        {FILES: {"ME701"}},
    ),
    (
        "another dtype than config.json names",
        "single",
        lambda f: state_of(f, cast),
        {CONFIG: {"ME724"}},
    ),
    ("a dtype that is none", "single", config(torch_dtype="float33"), {CONFIG: {"ME721"}}),
    (
        "no config.json",
        "single",
        lambda f: (f / "config.json").unlink(),
        {CONFIG: {"ME721"}},
    ),
    (
        "a config.json that is not JSON",
        "single",
        lambda f: (f / "config.json").write_text("{'a'}"),
        {CONFIG: {"ME721"}},
    ),
    (
        "a config.json that is a list",
        "single",
        lambda f: (f / "config.json").write_text("[]"),
        {CONFIG: {"ME721"}},
    ),
    (
        "a config of the wrong types",
        "single",
        config(num_attention_heads="four"),
        {CONFIG: {"ME721"}} if V5 else {CLASS: {"ME734"}},
    ),
    ("an unknown model type", "single", config(model_type="mixtrel"), {CONFIG: {"ME721"}}),
    (
        "an unknown architecture",
        "single",
        config(architectures=["MixtralForCausalLN"]),
        {CONFIG: {"ME722"}},
    ),
    (
        "an architecture that is not a model",
        "single",
        config(architectures=["pipeline"]),
        {CONFIG: {"ME722"}},
    ),
    ("no architecture", "single", config(architectures=[]), {CONFIG: {"ME722"}}),
    (
        "the class of another model",
        "single",
        config(architectures=["LlamaForCausalLM"]),
        {CONFIG: {"ME723"}},
    ),
    (
        "more layers in config.json",
        "single",
        config(num_hidden_layers=3),
        {CLASS: {"ME731"}, LOAD: {"ME742"}},
    ),
    (
        "fewer experts in config.json",
        "single",
        config(num_local_experts=2),
        {CLASS: {"ME732", "ME733"}, LOAD: {"ME742"}},
    ),
    (
        "layers without end in config.json",
        "single",
        config(num_hidden_layers=10**12),
        {CONFIG: {"ME734"}},
    ),
]


@pytest.mark.parametrize(
    "form, spoil, expected",
    [pytest.param(*row, id=name) for name, *row in SPOILT],
)
def test_a_spoilt_folder_is_found_out(copied, form, spoil, expected, capfd):
    folder = copied(form)
    (folder / "mapengine.json").unlink(missing_ok=True)
    spoil(folder)
    found = codes(folder)
    if not V5:  # it loads by the index alone, and compares what it has not fused
        found.pop(LOAD, None)
        expected = {check: told for check, told in expected.items() if check != LOAD}
    assert found == expected
    assert capfd.readouterr() == ("", "")


SPOILT_RECEIPTS: list[tuple[str, Callable[[Path], object], set[str]]] = [
    ("not JSON", lambda f: (f / "mapengine.json").write_text("{"), {"ME516"}),
    ("no files", lambda f: write_json(f / "mapengine.json", {"files": []}), {"ME711"}),
    (
        "a file gone",
        lambda f: (f / "generation_config.json").unlink(),
        {"ME712"},
    ),
    (
        "a file outside",
        lambda f: json_of(f, "mapengine.json", lambda r: r["files"].update({"../x": 3})),
        {"ME712"},
    ),
    (
        "another size",
        lambda f: json_of(f, "mapengine.json", lambda r: r["files"].update({"config.json": 3})),
        {"ME713"},
    ),
]


@pytest.mark.parametrize(
    "spoil, expected", [pytest.param(*row, id=name) for name, *row in SPOILT_RECEIPTS]
)
def test_a_folder_that_is_not_as_its_receipt_says_is_found_out(copied, spoil, expected):
    folder = copied("single")
    spoil(folder)
    assert codes(folder, load=False) == {RECEIPT: expected}


# -- what the findings say ----------------------------------------------------------------------


def test_keys_that_differ_in_numbers_alone_are_one_finding(copied):
    folder = copied("single")
    state_of(folder, drop_last_expert)
    told = [str(problem) for problem in verify(folder)[CLASS].findings]
    assert told == [
        f"ME731 MISSING model.layers.{{0, 1}}.block_sparse_moe.experts.2.w{n}.weight (2 tensors)"
        for n in (1, 2, 3)
    ]


def test_a_near_miss_of_a_class_name_is_suggested(copied):
    folder = copied("single")
    config(architectures=["MixtralForCausalLn"])(folder)
    (problem,) = verify(folder, load=False)[CONFIG].findings
    assert problem.help == "did you mean 'MixtralForCausalLM'?"


# -- what a folder must not be able to do -------------------------------------------------------


def test_code_of_the_checkpoint_is_not_run(copied, monkeypatch):
    folder = copied("single")
    monkeypatch.setattr("sys.stdin", None)  # nobody is asked
    (folder / "custom.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    config(
        auto_map={"AutoConfig": "custom.Config", "AutoModelForCausalLM": "custom.Model"},
        model_type="custom",
        attn_implementation="someone/kernels",
    )(folder)
    assert codes(folder) == {RECEIPT: {"ME713"}, CONFIG: {"ME721"}}
    assert not (folder / "ran").exists()


ENDLESS: list[tuple[str, dict[str, Any]]] = [
    ("n_layer", {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}),
    ("encoder_layers", {"model_type": "bart", "architectures": ["BartModel"]}),
    ("decoder_layers", {"model_type": "bart", "architectures": ["BartModel"]}),
    ("num_layers", {"model_type": "t5", "architectures": ["T5Model"]}),
    ("num_local_experts", {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"]}),
    ("num_labels", {"model_type": "bert", "architectures": ["BertForSequenceClassification"]}),
    ("depth", {"model_type": "qwen2_vl", "architectures": ["Qwen2VLForConditionalGeneration"]}),
]


@pytest.mark.parametrize("name, words", ENDLESS, ids=[name for name, _ in ENDLESS])
def test_a_model_without_end_is_not_made(copied, name, words):
    folder = copied("single")
    count = {name: 100_000_000}
    write_json(
        folder / "config.json", words | ({"vision_config": count} if name == "depth" else count)
    )
    (problem,) = verify(folder)[CONFIG].findings
    told = f"config.json has {name} 100,000,000, the files hold 35 tensors"
    assert (problem.code, problem.message) == ("ME734", told)


def test_few_layers_of_many_experts_are_a_model_without_end_too(copied):
    folder = copied("single")
    config(num_hidden_layers=1000, num_local_experts=1000)(folder)
    (problem,) = verify(folder)[CONFIG].findings
    told = "config.json has 1,000 layers of 1,000 experts, the files hold 35 tensors"
    assert (problem.code, problem.message) == ("ME734", told)


def test_layers_are_counted_by_whatever_name_the_class_has_for_them(copied):
    if not V5:
        pytest.skip("transformers 4 has no other name for these")
    folder = copied("single")
    words = {"model_type": "segformer", "architectures": ["SegformerModel"]}
    words |= {"num_encoder_blocks": 2000}
    write_json(folder / "config.json", words)
    (problem,) = verify(folder)[CONFIG].findings
    assert problem.message == "config.json has num_hidden_layers 2,000, the files hold 35 tensors"


def test_sizes_of_layers_and_experts_are_not_counts_of_them(copied):
    folder = copied("single")
    config(shared_expert_intermediate_size=10**6, vocab_size_per_layer_input=10**6)(folder)
    assert verify(folder)[CONFIG].passed


def test_what_transformers_says_of_a_config_is_told_to_its_end(copied):
    folder = copied("single")
    write_json(folder / "config.json", {"model_type": "gpt2", "n_layer": "two"})
    (problem,) = verify(folder)[CONFIG].findings
    assert problem.code == ("ME721" if V5 else "ME722")
    assert not V5 or problem.message.endswith(
        "Validation error for field 'n_layer': "
        "TypeError: Field 'n_layer' expected int, got str (value: 'two')"
    )


def test_a_checkpoint_larger_than_memory_is_not_read(copied):
    folder = copied("single")
    rows = 2**33  # one terabyte, most of it a hole
    header = {"lm_head.weight": {"dtype": "F32", "shape": [rows, 32], "data_offsets": [0, 2**40]}}
    header["__metadata__"] = {"format": "pt"}
    text = json.dumps(header).encode()
    path = folder / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with path.open("r+b") as file:
        file.truncate(8 + len(text) + 2**40)
    *_, in_class, loading, _ = verify(folder)
    assert {problem.code for problem in in_class.findings} == {"ME731", "ME733"}
    assert loading.skipped.startswith("1,099,511,627,776 bytes are more than half of the free")


def test_a_model_larger_than_memory_is_not_made_for_a_small_checkpoint(copied):
    folder = copied("single")
    config(vocab_size=10**10)(folder)
    *_, in_class, loading, _ = verify(folder)
    assert {problem.code for problem in in_class.findings} == {"ME733"}
    if V5 and find_spec("accelerate"):  # it is made without data
        assert {problem.code for problem in loading.findings} == {"ME742"}
    else:
        assert "bytes are more than half of the free" in loading.skipped


def test_a_load_report_without_the_data_is_a_true_one(copied):
    pytest.importorskip("accelerate")
    if not V5:
        pytest.skip("transformers 4 reads the data")
    folder = copied("sharded")
    subject = Subject(read_folder(folder))

    def found() -> list[str]:
        with quiet():
            info = loading_info(subject.model_class, subject.config, folder, on_meta=True)
        return [problem.message for problem in reported(info)]

    assert found() == []
    state_of(folder, reshape_head, "lm_head.weight")
    state_of(folder, lambda s: s.update({"x": torch.zeros(2)}), "model.norm.weight")
    state_of(folder, lambda s: s.pop("model.norm.weight"), "model.norm.weight")
    assert found() == [
        "from_pretrained reports missing model.norm.weight",
        "from_pretrained reports unexpected x",
        "from_pretrained reports mismatched lm_head.weight: [95, 32], the class has [96, 32]",
    ]


def test_files_and_receipt_are_checked_without_torch(converted):
    script = (
        "import sys; from pathlib import Path\n"
        "from mapengine.checkpoints.inspection import inspect, read_folder\n"
        "from mapengine.verification.checks import CHECKS, Subject\n"
        "folder = Path(sys.argv[1]); inspect(folder); subject = Subject(read_folder(folder))\n"
        "assert all(check(subject).passed for check in CHECKS[:2])\n"
        "assert not {'torch', 'transformers'} & sys.modules.keys()\n"
    )
    for form in ("sharded", "torch"):
        subprocess.run([sys.executable, "-c", script, str(converted[form])], check=True)


def test_the_library_logs_as_before_afterwards(converted, copied):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled(), sys.stdout, sys.stderr
    folder = copied("single")
    (folder / "config.json").write_text("{}")
    verify(folder)
    verify(converted["single"])
    after = logging.get_verbosity(), logging.is_progress_bar_enabled(), sys.stdout, sys.stderr
    assert after == before


# -- the keys a class expects -------------------------------------------------------------------


SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64}
FFN = {"intermediate_size": 48}
TIED = {"tie_word_embeddings": True}
HEADS_OF_BERT = {f"cls.predictions.decoder.{end}" for end in ("weight", "bias")}
MODELS: list[tuple[str, str, dict[str, Any], set[str]]] = [
    ("Mixtral", "ForCausalLM", SIZES | FFN | {"num_local_experts": 3}, set()),
    ("Mixtral", "ForCausalLM", SIZES | FFN | TIED, {"lm_head.weight"}),
    ("Llama", "ForCausalLM", SIZES | FFN, set()),
    ("Llama", "ForCausalLM", SIZES | FFN | TIED, {"lm_head.weight"}),
    ("GPT2", "LMHeadModel", SIZES, {"lm_head.weight"}),
    ("Bert", "ForMaskedLM", SIZES | FFN, HEADS_OF_BERT),
]


@pytest.mark.parametrize("family, kind, words, tied", MODELS)
def test_expected_keys_are_those_that_save_pretrained_writes(family, kind, words, tied, tmp_path):
    import transformers

    config = getattr(transformers, f"{family}Config")(**words)
    cls = getattr(transformers, family + kind)
    with torch.device("meta"):
        expected = expected_keys(cls(config))
    cls(config).save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        saved = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    assert {k: v for k, v in expected.shapes.items() if k not in expected.tied} == saved
    assert expected.tied == tied
    assert all(check.passed or check.skipped for check in verify(tmp_path))


# -- the way back ---------------------------------------------------------------------------------


def edit_receipt(folder, **changes):
    path = folder / "mapengine.json"
    write_json(path, json.loads(path.read_text()) | changes)


def test_a_folder_taken_back_is_held_against_the_mapping_too(converted, tmp_path):
    run(Job(MAPPING, converted["single"], reverse=True, layout="hub"), tmp_path / "back")
    check = verify(tmp_path / "back")[BACK]
    assert (check.findings, check.detail) == ((), "35 tensors by mixtral")
    path = tmp_path / "back" / "params.json"
    write_json(path, json.loads(path.read_text()) | {"n_heads": 8})
    assert {problem.code for problem in verify(tmp_path / "back")[BACK].findings} == {"ME311"}


@pytest.mark.parametrize(
    ("spoil", "codes"),
    [
        (lambda folder: (folder / "mapengine.json").unlink(), "skipped"),
        (lambda folder: edit_receipt(folder, reads="nothing"), {"ME711"}),
        (lambda folder: edit_receipt(folder, layout=7), {"ME711"}),
        (lambda folder: edit_receipt(folder, mapping={"text": "a: ["}), {"ME101"}),
        (lambda folder: edit_receipt(folder, mapping={"text": "name: x"}), {"ME203"}),
        (lambda folder: edit_receipt(folder, layout=["hub", "wrong"]), {"ME422"}),
        (lambda folder: config(num_key_value_heads=1)(folder), {"ME311"}),
        (lambda folder: config(more=1)(folder), {"ME403"}),
    ],
)
def test_what_does_not_fit_the_way_back_is_found_out(copied, spoil, codes):
    folder = copied("single")
    spoil(folder)
    check = verify(folder, load=False)[BACK]
    assert bool(check.skipped) if codes == "skipped" else {p.code for p in check.findings} == codes


def test_a_mapping_without_a_way_back_is_not_asked(tmp_path):
    text = MAPPING.read_text().replace(
        "  - norm.weight -> model.norm.weight: {shape: [hidden]}\n",
        "  - norm.weight -> model.norm.weight: {shape: [hidden], ops: [{cast: float32}]}\n",
    )
    (tmp_path / "mapping.yaml").write_text(text)
    source = write_source(CASE, tmp_path / "source")
    run(Job(tmp_path / "mapping.yaml", source), tmp_path / "out")
    assert "one-way" in verify(tmp_path / "out", load=False)[BACK].skipped
