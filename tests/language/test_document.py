import math

import pytest
import yaml

from mapengine.errors import MappingError, Where
from mapengine.language import yaml_nodes
from mapengine.language.document import load_document, read_document

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies


def refusal(text):
    with pytest.raises(MappingError) as caught:
        read_document(text, "m.yaml")
    return caught.value.problems


@pytest.fixture(params=["libyaml", "pure Python"], autouse=True)
def parser(request, monkeypatch):
    if request.param == "pure Python":
        monkeypatch.setattr(yaml_nodes, "_LOADER", yaml.SafeLoader)


SCALARS = {
    "1e-5": 1e-5,
    "1.0e4": 1e4,
    "-1.5E+3": -1500.0,
    ".5": 0.5,
    "3.": 3.0,
    "010": 10,
    "0o10": 8,
    "0x1F": 31,
    "-7": -7,
    "+7": 7,
    ".inf": math.inf,
    "-.Inf": -math.inf,
    "null": None,
    "~": None,
    "": None,
    "true": True,
    "FALSE": False,
    "no": "no",
    "off": "off",
    "y": "y",
    "tRue": "tRue",
    "12:30": "12:30",
    "1:30:00": "1:30:00",
    "1_000": "1_000",
    "0b1": "0b1",
    "2024-01-01": "2024-01-01",
    "1e": "1e",
    ".": ".",
    "'1'": "1",
    '"null"': "null",
    "'true'": "true",
    "=": "=",
    "hidden // heads": "hidden // heads",
}


@pytest.mark.parametrize("text", SCALARS)
def test_a_scalar_means_what_yaml_1_2_says(text):
    data = read_document(f"a: {text}\n", "m.yaml").data
    assert data == {"a": SCALARS[text]}
    assert type(data["a"]) is type(SCALARS[text])


def test_nan_is_read_as_nan():
    assert math.isnan(read_document("a: .nan", "m.yaml").data["a"])


def test_patterns_need_no_quotes_in_block_style():
    text = """\
- layers.{layer}.wq -> b.{layer}.q: {shape: [hidden, heads * head_dim]}
- -> attn.bias:
    value: zeros
- a, b -> c
"""
    assert read_document(text, "m.yaml").data == [
        {"layers.{layer}.wq -> b.{layer}.q": {"shape": ["hidden", "heads * head_dim"]}},
        {"-> attn.bias": {"value": "zeros"}},
        "a, b -> c",
    ]


PLACED = """\
# a comment
config:
  hidden: {source: dim, target: "hidden_size"}
tensors:
  - a.weight
  - b: &body
      shape: [hidden, 2]
  - c: *body
"""


@pytest.mark.parametrize(
    "path, line, column, width",
    [
        ((), 2, 1, 6),
        (("config", "hidden"), 3, 11, 36),
        (("config", "hidden", "source"), 3, 20, 3),
        (("config", "hidden", "target"), 3, 33, 13),
        (("tensors", 0), 5, 5, 8),
        (("tensors", 1), 6, 5, 1),
        (("tensors", 1, "b"), 7, 7, 5),
        (("tensors", 1, "b", "shape"), 7, 14, 11),
        (("tensors", 1, "b", "shape", 1), 7, 23, 1),
        (("tensors", 9), 5, 3, 1),
        (("config", "hidden", "nothing", "here"), 3, 11, 36),
    ],
)
def test_every_value_has_its_place_and_a_missing_one_its_parent_s(path, line, column, width):
    assert read_document(PLACED, "m.yaml").where(path) == Where("m.yaml", line, column, width)


@pytest.mark.parametrize(
    "path, line, column, width",
    [
        (("config", "hidden"), 3, 3, 6),
        (("config", "hidden", "target"), 3, 25, 6),
        (("tensors", 1, "b", "shape"), 7, 7, 5),
        (("tensors", 0), 5, 5, 8),
        ((), 2, 1, 6),
    ],
)
def test_every_key_has_its_place(path, line, column, width):
    assert read_document(PLACED, "m.yaml").where_key(path) == Where("m.yaml", line, column, width)


def test_what_an_alias_brings_in_names_the_place_of_the_alias():
    found = read_document(PLACED, "m.yaml")
    via = Where("m.yaml", 8, 8, 5)
    assert found.data["tensors"][2] == {"c": {"shape": ["hidden", 2]}}
    assert found.where(("tensors", 2, "c")) == Where("m.yaml", 7, 7, 5, via)
    assert found.where(("tensors", 2, "c", "shape", 0)) == Where("m.yaml", 7, 15, 6, via)
    assert found.where_key(("tensors", 2, "c", "shape")) == Where("m.yaml", 7, 7, 5, via)
    assert found.where_key(("tensors", 2, "c")) == Where("m.yaml", 8, 5, 1)


def test_an_alias_within_an_alias_names_both():
    text = "a: &a x\nb: &b [*a]\nc: *b\n"
    outer = Where("m.yaml", 3, 4, 2)
    where = read_document(text, "m.yaml").where(("c", 0))
    assert where == Where("m.yaml", 1, 4, 4, Where("m.yaml", 2, 8, 2, outer))


def test_repeated_keys_are_refused_all_at_once_with_both_places():
    problems = refusal("a: 1\nb: 2\na: 3\nc: {d: 1, d: 2}\n")
    assert [str(problem) for problem in problems] == [
        "m.yaml:3:1: ME102 the key 'a' is here twice, first at m.yaml:1:1",
        "m.yaml:4:11: ME102 the key 'd' is here twice, first at m.yaml:4:5",
    ]


MERGE_BOMB = "a: &a {x: 1}\n" + "".join(
    f"b{i}: &b{i} {{<<: [{', '.join(['*a' if i == 0 else f'*b{i - 1}'] * 9)}]}}\n" for i in range(9)
)
ALIAS_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{i}: &b{i} [{', '.join(['*a' if i == 0 else f'*b{i - 1}'] * 9)}]\n" for i in range(9)
)
REFUSED = {
    "a repeated anchor": ("a: &a 1\nb: &a 2", "ME102", 2, 4),
    "nested [": ("[" * 50_000, "ME103", 1, 65),
    "nested {": ("{a: " * 50_000, "ME103", 1, 257),
    "nested -": ("- " * 50_000 + "x", "ME103", 1, 129),
    "nested ?": ("? " * 50_000, "ME105", 1, 3),
    "deep through aliases": (
        "- &a " + "[" * 40 + "]" * 40 + "\n- " + "[" * 40 + "*a",
        "ME103",
        2,
        43,
    ),
    "an alias bomb": (ALIAS_BOMB, "ME103", 5, 5),
    "a merge bomb": (MERGE_BOMB, "ME104", 2, 10),
    "many aliases": ("a: &a 1\nb: [" + "*a, " * 300 + "]", "ME103", 2, 805),
    "a large file": ("a" * (2 * 1024 * 1024 + 1), "ME103", 1, 1),
    "a large file in bytes": ("\u00e9" * (1024 * 1024 + 1), "ME103", 1, 1),
    "a Python tag": ("a: !!python/object/apply:os.system [x]", "ME104", 1, 4),
    "a word tag": ("a: !!str 1", "ME104", 1, 4),
    "a bare tag": ("a: ! 1", "ME104", 1, 4),
    "a tag on a key": ("!x a: 1", "ME104", 1, 1),
    "a second document": ("a: 1\n---\nb: 2", "ME104", 2, 1),
    "a merge key": ("a: &a {x: 1}\nb: {<<: *a}", "ME104", 2, 5),
    "a directive": ("%YAML 1.1\n---\na: 1", "ME104", 1, 1),
    "a tag directive": ("%TAG ! !x\n---\na: 1", "ME104", 1, 1),
    "a number for a key": ("1: x", "ME105", 1, 1),
    "null for a key": ("{~: x}", "ME105", 1, 2),
    "a truth for a key": ("true: x", "ME105", 1, 1),
    "a list for a key": ("[a]: x", "ME105", 1, 1),
    "an alias for a key": ("a: &a x\n*a : y", "ME105", 2, 1),
    "NUL": ("a: b\nc: \0", "ME106", 2, 4),
    "an escaped NUL": (r'a: "\0"', "ME106", 1, 4),
    "text turned around": ("a: \u202ex", "ME106", 1, 4),
    "a foreign line break": ("a: b\u2028c", "ME106", 1, 5),
    "half a pair": ("a: \ud800", "ME106", 1, 4),
    "nothing": ("", "ME101", 1, 1),
    "a comment alone": ("# nothing\n", "ME101", 1, 1),
    "an empty document": ("---\n...\n", "ME101", 1, 1),
    "a long number": ("a: " + "9" * 41, "ME101", 1, 4),
    "a very long number": ("a: " + "9" * 5000, "ME101", 1, 4),
    "a large number": ("a: 1e999", "ME101", 1, 4),
    "an alias of nothing": ("a: *glob", "ME101", 1, 4),
    "an alias of itself": ("a: &a [*a]", "ME101", 1, 8),
    "an open list": ("a: [b\n\n", "ME101", 1, 4),
    "an open quote": ("a: 'b\nc: d\n", "ME101", 1, 4),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_plain_data_is_refused_at_its_place(case):
    text, code, line, column = REFUSED[case]
    problem = refusal(text)[0]
    assert (problem.code, problem.where.line, problem.where.column) == (code, line, column)


@pytest.mark.parametrize(
    "text, words",
    [
        ("a: [a.{e}.b, c]", "braces inside [ ] or { } needs quotes"),
        ("a: [{e}.b, c]", "braces inside [ ] or { } needs quotes"),
        ("a: {source: a.{i}.b, c: d}", "braces inside [ ] or { } needs quotes"),
        ("tensors: [consolidated.{rank:02}.pth]", "braces inside [ ] or { } needs quotes"),
        ("- {layer}.wq -> b\n- c", "begins with { needs quotes"),
        ("{layer}.wq: b", "needs quotes"),
        ("tensors: *.safetensors", "begins with * is a YAML alias: quote it"),
        ("tensors: *glob", "quote it"),
        ("a: &body 1\nb: *bdy", "did you mean 'body'?"),
        ("compute: 'a' if x else 'b'\nb: 1", "quote it as a whole"),
        ("a: b: c", "holds ': ' needs quotes"),
        ("a:\n\tb: 1", "spaces, not tabs"),
        ('a: "x\\.y"', "use single quotes"),
        ("a: @x", "quote it"),
        ("a: [b", "never closed"),
        ("12: x", 'quote it: "12"'),
    ],
)
def test_a_refusal_says_the_way_out(text, words):
    assert words in refusal(text)[0].help


def test_at_most_twenty_problems_are_collected():
    assert len(refusal("1: x\n" * 1000)) == 20


def test_a_repeated_key_is_told_beside_a_later_syntax_error():
    assert [problem.code for problem in refusal("a: 1\na: 2\nb: [x")] == ["ME102", "ME101"]


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    found = load_document(path)
    assert found.data == {"a": 1, "b": 2}
    assert found.where(("b",)) == Where(str(path), 2, 4)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"a: 1\nb: \xff", "m.yaml:2:4: ME106 the text is not UTF-8 from here on"),
        (b"a: 1\n" * 500_000, "m.yaml:1:1: ME103 the file is larger than 2 MiB"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.yaml").write_bytes(content)
    with pytest.raises(MappingError) as caught:
        load_document("m.yaml")
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["missing.yaml", ".", "nul\0.yaml", "x" * 300])
def test_a_file_that_cannot_be_read_is_a_typed_error(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MappingError, match="ME100"):
        load_document(name)


@hypothesis.given(st.text() | st.text(alphabet="ab1:-[]{},&*!'\"\\?|>%#~<. \n\t"))
@hypothesis.settings(
    max_examples=300, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_any_text_is_read_or_refused_with_the_one_error(text):
    try:
        read_document(text, "m.yaml")
    except MappingError as error:
        assert error.problems
