"""The rules as a graph in text."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from click.testing import CliRunner

from mapengine.cli import cli
from report import hostile
from report.pages import shipped

TEXT = "{http://www.w3.org/2000/svg}text"
TINY = """\
mapengine: 1
name: tiny
source: {tensors: a.safetensors}
target: {tensors: b.safetensors}
dims: {layer: 2}
tensors:
  - norm
  - scope: l.{layer}. -> layer.{layer}.
    tensors:
      - q, k -> qk: {shape: [2, 3], ops: [{concat: {dim: 0, sizes: [2, 2]}}, {transpose: [0, 1]}]}
  - -> ones: {value: ones, shape: [3], dtype: float32}
example: {}
"""
MERMAID = """\
flowchart LR
  s0_0["norm"] --> t0_0["norm"]
  subgraph g1["l.#123;layer#125;. → layer.#123;layer#125;."]
    s1_0["q"] & s1_1["k"] --> o1_0(["concat dim 0 sizes #91;2, 2#93;"]) --> \
o1_1(["transpose dims #91;0, 1#93;"]) -->|"×2"| t1_0["qk"]
  end
  o2_0(["ones"]) --> t2_0["ones"]
"""


def graph(*words):
    done = CliRunner().invoke(cli, ["graph", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def tiny(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY.replace("- norm", "- norm: {shape: [3]}"))
    return tmp_path / "tiny.yaml"


def test_mermaid_has_a_subgraph_for_each_scope_and_counts_on_arrows(tiny):
    assert graph(tiny) == MERMAID


def test_the_graph_in_the_documents_is_what_the_command_prints():
    page = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    assert f"```mermaid\n{graph('mixtral', '--layout', 'hub+mistral')}```" in page


def test_svg_says_the_same(tiny):
    root = ElementTree.fromstring(graph(tiny, "--format", "svg"))
    shown = ["".join(one.itertext()) for one in root.iter(TEXT)]
    assert shown == [
        "norm", "norm", "l.{layer}.", "layer.{layer}.", "q", "k", "qk",
        "concat dim 0 sizes [2, 2]", "transpose dims [0, 1]", "×2", "ones", "ones",
    ]  # fmt: skip


@pytest.mark.parametrize("name", shipped())
def test_every_mapping_has_a_graph_that_github_takes(name):
    text = graph(name)
    assert len(text) < 50_000 and text.count("-->") < 500  # its limits


def test_hostile_names_stay_text(tmp_path):
    mapping, source = hostile.write(tmp_path)
    text = graph(mapping, "-s", source)
    assert "<" not in text and "script" in text and "#60;" in text
    root = ElementTree.fromstring(graph(mapping, "-s", source, "--format", "svg"))
    assert {one.tag.partition("}")[2] for one in root.iter()} <= {
        "svg", "style", "rect", "path", "text", "tspan",
    }  # fmt: skip
    assert any(hostile.IMAGE in "".join(one.itertext()) for one in root.iter(TEXT))
