"""What `--json` prints is what `docs/json/` says: every word, and no other."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from safetensors.torch import load_file, save_file

from mapengine.cli import COMMANDS, cli

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs" / "json"
SCHEMAS = {path.name.split(".")[0]: json.loads(path.read_text()) for path in DOCS.glob("*.json")}
REGISTRY = Registry().with_resources(
    (schema["$id"], Resource.from_contents(schema)) for schema in SCHEMAS.values()
)
SLIP = ROOT / "tests" / "cases" / "slips" / "axis_for_dim.yaml"


def has_json(name):
    command = cli.get_command(None, name)
    return any("--json" in option.opts for option in command.params)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A folder with an example's source and what was made of it."""
    folder = tmp_path_factory.mktemp("example")
    done = CliRunner().invoke(cli, ["run", "mixtral", "-o", str(folder / "converted")])
    assert done.exit_code == 0, done.output
    shutil.copytree(folder / "converted", folder / "wide")
    tensors = load_file(folder / "wide" / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"].float() * float("inf")
    save_file(tensors, folder / "wide" / "model.safetensors")
    return folder


def printed(words, folder):
    words = [word.format(folder=folder, slip=SLIP) for word in words.split()]
    return json.loads(CliRunner().invoke(cli, [*words, "--json"]).stdout)


def wrong(name, told):
    validator = Draft202012Validator(SCHEMAS[name], registry=REGISTRY)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(told)]


@pytest.mark.parametrize(
    "name, words",
    [
        ("run", "run mixtral -s {folder}/converted-source -o {folder}/again"),
        ("part", "run mixtral -s {folder}/converted-source -o {folder}/parted --part 1/1"),
        ("publish", "publish {folder}/parted"),
        ("publish", "publish {folder}/converted"),
        ("plan", "run mixtral --dry-run"),
        ("plan", "plan litgpt_pythia"),
        ("plan", "plan mixtral --reverse -s {folder}/converted"),
        ("validate", "validate {slip} mappings/mistral.yaml"),
        ("validate", "validate mappings/mistral.yaml --prove"),
        ("explain", "explain mixtral model.layers.1.self_attn.k_proj.weight"),
        ("explain", "explain mixtral norm.weight -s {folder}/converted-source"),
        ("explain", "explain mixtral heads"),
        ("explain", "explain mixtral use_cache --reverse"),
        ("explain", "explain ops.split"),
        ("explain", "explain deepseek_v3 model.embed_tokens.weight"),
        ("inspect", "inspect {folder}/converted"),
        ("inspect", "inspect {folder}"),
        ("diff", "diff {folder}/converted {folder}/converted-source"),
        ("diff", "diff {folder}/converted {folder}/wide --values"),
        ("diff", "diff mixtral mistral"),
        ("diff", "diff litgpt_pythia gpt_neox"),
        ("verify", "verify {folder}"),
        ("infer", "infer {folder}/converted-source {folder}/converted"),
        ("init", "init -s {folder}/converted-source -t {folder}/converted"),
        ("list", "list"),
        ("rule", "rule ME301 ME334"),
        ("env", "env"),
    ],
)
def test_an_output_is_what_its_schema_says(name, words, example, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert wrong(name, printed(words, example)) == []


def test_a_saved_plan_is_what_the_schema_of_plans_says(example):
    words = f"plan mixtral -s {example}/converted-source -o {example}/plan.json"
    assert CliRunner().invoke(cli, words.split()).exit_code == 0
    assert wrong("plan", json.loads((example / "plan.json").read_text())) == []


def test_a_failure_is_what_its_schema_says(monkeypatch, capfd):
    from mapengine.cli import invoke

    monkeypatch.setattr("sys.argv", ["mapengine", "plan", "no_such_mapping", "--json"])
    assert invoke() == 2
    assert wrong("failure", json.loads(capfd.readouterr().out)) == []


@pytest.mark.parametrize("command", list(filter(has_json, COMMANDS)))
def test_every_command_with_json_has_a_schema_and_a_line_on_the_page(command):
    assert SCHEMAS[command]["title"].startswith(f"mapengine {command}")
    assert f"| `{command}` | [{command}.schema.json]" in (DOCS / "README.md").read_text()


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_word_of_a_schema_is_described(name):
    Draft202012Validator.check_schema(SCHEMAS[name])

    def undescribed(schema, place=""):
        if isinstance(schema, dict):
            for word, inner in schema.get("properties", {}).items():
                if not {"description", "$ref"} & inner.keys():
                    yield f"{place}.{word}"
            for key, inner in schema.items():
                yield from undescribed(inner, f"{place}/{key}")

    assert list(undescribed(SCHEMAS[name])) == []


def test_a_wrong_output_would_be_seen(example):
    told = printed("list", example)
    assert wrong("list", {**told, "more": 1}) and wrong("list", {"format_version": "1.0"})
