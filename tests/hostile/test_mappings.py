"""Hostile mapping files through the command line: told where and why, at once, and nothing run."""

import json
import time

import pytest
from language.test_document import REFUSED
from language.test_expressions import CORPUS

from hostile.folders import entries
from hostile.process import MEMORY, SECONDS, mapengine
from mapengine.language.patterns import KeyPattern, PatternError, split_rule

HEAD = """\
mapengine: 1
name: m
source: {config: params.json, tensors: model.safetensors}
target: {config: config.json, tensors: model.safetensors}
"""
SIZES = "config: {n: {source: n, target: n}}\n"
SMALL = 100 * 2**20


def validated(folder, text, *words):
    """What `validate` finds; it makes no file, and takes little of anything."""
    work = folder / "work"
    work.mkdir()
    (work / "m.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    done = mapengine("validate", *words, "m.yaml", "--json", cwd=work, into=folder)
    assert entries(work) == ["m.yaml"]
    assert done.seconds < SECONDS and done.memory < MEMORY
    assert done.err == "" and "Traceback" not in done.out
    found = json.loads(done.out)["files"][0]["problems"]
    assert done.status == bool(found)
    return found


@pytest.mark.parametrize("case", REFUSED)
def test_yaml_that_is_more_than_plain_data(case, tmp_path):
    text, code, line, column = REFUSED[case]
    found = validated(tmp_path, text)[0]
    if case == "half a pair":  # as a file it is no UTF-8 at all
        code = "ME106"
    assert (found["code"], found["line"], found["column"]) == (code, line, column)


PLACES = {
    "compute": HEAD
    + "config: {NAMES, f: {target: f, compute: TEXT}}\ntensors: [x: {shape: [1]}]\n",
    "default": HEAD + "config: {NAMES, f: {source: f, target: f, default: TEXT}}\n"
    "tensors: [x: {shape: [1]}]\n",
    "when": HEAD + "config: {NAMES}\ndims: {layer: 2}\n"
    "tensors: ['x.{layer}': {shape: [1], when: TEXT}]\n",
    "shape": HEAD + "config: {NAMES}\ntensors: [x: {shape: [TEXT]}]\n",
    "dims": HEAD + "config: {NAMES}\ndims: {i: TEXT}\ntensors: ['x.{i}': {shape: [1]}]\n",
    "op": HEAD + "config: {NAMES}\n"
    "tensors: [x: {shape: [8, 4], ops: [{rope_permute: {heads: TEXT}}]}]\n",
}
KNOWN = ", ".join(f"{name}: {{source: {name}, target: {name}}}" for name in ("hidden", "heads"))
EXAMPLE = "example: {hidden: 4096, heads: 32}\n"
RUNS = [
    "__import__('os').system('touch ran')",
    "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'Popen'][0]('touch ran')",
    "eval('open(\\'ran\\', \\'w\\')')",
    "(lambda: open('ran', 'w'))()",
    "min.__globals__['__builtins__']['open']('ran', 'w')",
    'f\'{open("ran", "w")}\'',
]
ESCAPES = {**{name: text for name, text in CORPUS.items() if len(text) < 10_000},
           **{f"payload {n}": text for n, text in enumerate(RUNS)}}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_no_expression_gets_out_of_the_language(place, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    for number, text in enumerate(ESCAPES.values()):
        mapping = PLACES[place].replace("NAMES", KNOWN).replace("TEXT", json.dumps(text))
        (work / f"{number}.yaml").write_text(mapping + EXAMPLE)
    before = entries(work)
    done = mapengine("validate", ".", "--json", cwd=work, into=tmp_path)
    assert entries(work) == before
    assert done.status == 1 and done.err == ""
    assert done.seconds < SECONDS and done.memory < SMALL
    found = {one["file"]: one["problems"] for one in json.loads(done.out)["files"]}
    assert len(found) == len(ESCAPES)
    names = list(ESCAPES)
    assert [names[int(file.removesuffix(".yaml"))] for file in found if not found[file]] == []


# -- what would take the memory, or the day -------------------------------------------------------

CHOICES = ", ".join("{" + ", ".join(f"l{k}_{i}: {{}}" for i in range(10)) + "}" for k in range(8))
LARGE = {
    "a line of 300,000 rules": (
        HEAD + "tensors: [" + "a, " * 300_000 + "b]\n",
        "more than 200000 values, aliases expanded"),
    "100,000 rules": (
        HEAD + "tensors:\n" + "".join(f"  - k{i}\n" for i in range(100_000)),
        "more than 5,000 rules; an index writes many as one"),
    "5,000 rules for one key": (
        HEAD + "tensors:\n" + "  - x\n" * 5000, "x is used twice: by rules[0] (m.yaml:6:5) too"),
    "100 million layouts": (
        HEAD.replace("params.json, tensors:", f"params.json, layouts: [{CHOICES}], tensors:", 1)
        + "tensors: [x]\n",
        "more than 64 layouts: one of each choice is one"),
    "a key of two megabytes": (
        HEAD + 'tensors: ["' + "{n}" * 600_000 + '"]\n', "a key of more than 1024 characters"),
    "an example of 10 thousand million elements": (
        HEAD + SIZES + "tensors: [x: {shape: [n, n]}]\nexample: {n: 100000}\n",
        "it makes 10,000,000,000 elements, and at most 16,777,216 are made"),
    "an example of a million layers": (
        HEAD + SIZES + "dims: {i: n}\ntensors: ['x.{i}': {shape: [1]}]\nexample: {n: 1000000}\n",
        "far more keys than the 0 of the checkpoint: i goes to 1,000,000"),
    "words by words by words": (
        HEAD + f"dims: {{a: {[f'a{i}' for i in range(999)]}, b: {[f'b{i}' for i in range(999)]}}}\n"
        "tensors: ['x.{a}.{b}': {shape: [1]}]\nexample: {}\n",
        "far more keys than the 0 of the checkpoint: a goes to 999, b goes to 999"),
    "brackets in brackets": (
        HEAD + "tensors: [x: {shape: [2], ops: [{rearrange: '" + "(" * 90 + "a" + ")" * 90
        + " -> a'}]}]\nexample: {}\n", "Axis composition is one-level"),
}  # fmt: skip


@pytest.mark.parametrize("case", LARGE)
def test_what_is_too_large_is_told_before_it_is_made(case, tmp_path):
    text, message = LARGE[case]
    assert message in validated(tmp_path, text, "--prove")[0]["message"]


def test_a_place_far_out_on_a_line_is_told_in_few_words(tmp_path):
    (tmp_path / "m.yaml").write_text(HEAD + "tensors: [" + "x" * 1_900_000 + ", !!t y]\n")
    done = mapengine("validate", "m.yaml", cwd=tmp_path, into=tmp_path)
    assert done.status == 1 and "m.yaml:5:1900013: ME104" in done.out and len(done.out) < 1000


def test_patterns_take_time_in_proportion_to_their_keys():
    parts = ["{layer}", "a", "*", ".", "->", "{", "}", ","]
    started = time.process_time()
    for part in parts:
        for length in (100, 1000, 100_000):
            try:
                pattern = KeyPattern.parse(part * length)
                split_rule(part * length)
                pattern.fill({"layer": 1})
            except PatternError:
                pass
    assert time.process_time() - started < 2
