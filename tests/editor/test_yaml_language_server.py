"""What an editor with the YAML language server shows of the schema: errors, completion, hover.

npm install --prefix build/editor yaml-language-server
"""

import shutil
from pathlib import Path

import pytest

from editor.language_server import LanguageServer
from mapengine.ops import OPS

ROOT = Path(__file__).parent.parent.parent
SCHEMA = ROOT / "mapengine" / "mapping.schema.json"
NAME = "yaml-language-server"
SERVER = shutil.which(NAME) or shutil.which(NAME, path=ROOT / "build/editor/node_modules/.bin")
MAPPING = f"""\
# yaml-language-server: $schema={SCHEMA}
mapengine: 1
name: demo
source: {{config: config.json, tensors: model.safetensors}}
target: {{config: config.json, tensors: model.safetensors}}
tensors:
  - a -> b:
      shape: [hidden]
      shpae: [hidden]
      ops:
        - split: {{into: expert}}
        - """

pytestmark = pytest.mark.skipif(SERVER is None, reason=f"{NAME} is not installed")


@pytest.fixture(scope="module")
def server():
    server = LanguageServer([str(SERVER), "--stdio"])
    yield server
    server.close()


@pytest.fixture(scope="module")
def mapping(server, tmp_path_factory):
    """A mapping with a slip in line 9 and an op to be written in line 12, opened."""
    file = tmp_path_factory.mktemp("editor") / "demo.yaml"
    file.write_text(MAPPING)
    server.open(file)
    return file


def test_an_unknown_word_is_underlined(server, mapping):
    told = server.diagnostics[mapping.as_uri()]
    places = {(at["range"]["start"]["line"] + 1, at["message"]) for at in told}
    assert (9, "Property shpae is not allowed.") in places


def test_every_op_is_offered(server, mapping):
    labels = {item["label"] for item in server.at("completion", mapping, 12, 11)["items"]}
    assert labels == {*OPS}


@pytest.mark.parametrize(
    "line, column, told",
    [
        (8, 8, "The shape of each source tensor"),
        (11, 12, "Cut one tensor into consecutive parts"),
        (11, 19, "The index whose members the parts become"),
        (4, 11, "The config file"),
    ],
)
def test_a_word_is_explained(line, column, told, server, mapping):
    assert told in server.at("hover", mapping, line, column)["contents"]["value"]


def test_mappings_that_ship_have_no_errors(server):
    found = {path.name: server.open(path) for path in sorted((ROOT / "mappings").glob("*.yaml"))}
    assert {name: told for name, told in found.items() if told} == {}
