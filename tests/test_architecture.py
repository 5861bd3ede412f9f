"""The house rules that a reader of imports can see."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mapengine"
FILES = sorted(PACKAGE.rglob("*.py"))

MEANING = ("language", "binding", "planning", "explanation", "ops", "views", "axes", "errors",
           "specs", "fold", "codes")  # fmt: skip
BYTES = ("formats", "checkpoints", "executors", "verification", "inference", "adapters",
         "comparison")  # fmt: skip
DOORS = ("cli", "commands", "api", "report")
HEAVY = {"torch", "transformers", "numpy", "einops", "jsonschema", "rich", "huggingface_hub",
         "fsspec", "ray"}  # fmt: skip
ALONE = {"fsspec": ["checkpoints/remote.py"], "ray": ["executors/ray.py"]}
"""What is imported in one place, so that it is one place's matter whether it is there."""
FAMILIES = re.compile(
    r"mixtral|mistral|llama|gemma|falcon|deepseek|qwen|bloom|gpt|mamba|olmo", re.IGNORECASE
)


def imports(path, top_level_only=False):
    """The modules a file imports; those under `if TYPE_CHECKING` are not counted."""
    tree = ast.parse(path.read_text())
    checked = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if id(node) in checked:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in MEANING], ids=str)
def test_rooms_of_meaning_never_see_the_rooms_of_bytes(path):
    seen = {name.split(".")[1] for name in imports(path) if name.startswith("mapengine.")}
    assert not seen & {*BYTES, *DOORS}


@pytest.mark.parametrize("path", [p for p in FILES if room(p) == "formats"], ids=str)
def test_formats_see_no_rule(path):
    seen = {name.split(".")[1] for name in imports(path) if name.startswith("mapengine.")}
    assert seen <= {"formats", "specs", "errors"}


LIGHT = [p for p in FILES if room(p) in (*MEANING, "formats", *DOORS, "__init__")]


@pytest.mark.parametrize("path", LIGHT, ids=str)
def test_light_rooms_import_nothing_heavy_at_module_level(path):
    assert not {name.split(".")[0] for name in imports(path, top_level_only=True)} & HEAVY


@pytest.mark.parametrize("module", ALONE)
def test_what_may_be_missing_is_imported_in_one_file(module):
    users = [p for p in FILES if module in {name.split(".")[0] for name in imports(p)}]
    assert [str(path.relative_to(PACKAGE)) for path in users] == ALONE[module]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_the_command_line_prints_or_exits(path):
    if room(path) in ("cli", "commands", "report"):
        return
    calls = {
        ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }  # fmt: skip
    assert not calls & {"print", "sys.exit", "exit", "quit"}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_the_engine_knows_no_model_family(path):
    assert [line for line in path.read_text().splitlines() if FAMILIES.search(line)] == []


@pytest.mark.parametrize("path", FILES, ids=str)
def test_nothing_evaluates_code_from_a_file(path):
    calls = {
        ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }  # fmt: skip
    forbidden = {"eval", "exec", "pickle.load", "pickle.loads", "torch.load", "yaml.load"}
    assert not calls & forbidden
