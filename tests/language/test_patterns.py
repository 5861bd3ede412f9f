import fnmatch
import pickle

import pytest

from mapengine.errors import Where
from mapengine.language.expressions import ExpressionError
from mapengine.language.patterns import KeyPattern, PatternError, split_rule, split_scope

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

NAMES = {
    "layer": 7,
    "stage": 2,
    "rank": 3,
    "w": "w1",
    "path": "self_attn.q",
    "layout": "hub",
    "below": -1,
    "tied": True,
    "half": 0.5,
    "nothing": None,
    "up": "..",
    "away": "/etc/passwd",
    "empty": "",
    "spaced": "a b",
}


@pytest.mark.parametrize(
    "text, key",
    [
        ("norm.weight", "norm.weight"),
        ("layers.{layer}.wq", "layers.7.wq"),
        ("{w}.weight", "w1.weight"),
        ("{layer}{w}{rank}", "7w13"),
        ("h.{layer + 1}", "h.8"),
        ("h.{stage * 4 + layer}.x", "h.15.x"),
        ("h.{ layer }", "h.7"),
        ("c.{rank:02}.pth", "c.03.pth"),
        ("c.{rank + 100:02}.pth", "c.103.pth"),
        ("c.{layer + 3:05}", "c.00010"),
        ("{path}.weight", "self_attn.q.weight"),
        ("{'a' if layout == 'hub' else 'b'}.w", "a.w"),
        ("{'}' == w and 1 or 2 > 1}", None),
        ("a{{b}}c", "a{b}c"),
        ("{{{layer}}}", "{7}"),
        ("{{layer}}", "{layer}"),
        ("a/b c/{layer}", "a/b c/7"),
    ],
)
def test_a_pattern_is_filled_from_names(text, key):
    if key is None:
        with pytest.raises(PatternError, match="is true, not an index or a word"):
            KeyPattern.parse(text).fill(NAMES)
    else:
        assert KeyPattern.parse(text).fill(NAMES) == key


@pytest.mark.parametrize(
    "text", ["below", "tied", "half", "nothing", "up", "away", "empty", "spaced", "layer / 1"]
)
def test_only_an_index_or_a_word_fills_a_pattern(text):
    with pytest.raises(PatternError, match="not an index or a word"):
        KeyPattern.parse(f"a.{{{text}}}").fill(NAMES)


def test_only_an_index_has_a_width():
    with pytest.raises(PatternError, match=r"\{w\} is 'w1', not an index"):
        KeyPattern.parse("a.{w:02}").fill(NAMES)


@pytest.mark.parametrize(
    "text, offset, message",
    [
        ("", 0, "a key is missing"),
        ("a.{layer", 2, "a { that is not closed"),
        ("a.{", 2, "a { that is not closed"),
        ("a.layer}", 7, "a } that closes nothing"),
        ("a.{b{c}}", 2, "a { that is not closed"),
        ("a.{layer}}", 9, "a } that closes nothing"),
        ("a.{}", 3, "an expression is missing"),
        ("a.{:02}", 3, "an expression is missing"),
        ("a.{rank:2}", 3, "a width is written with a zero before it"),
        ("a.{rank:>2}", 3, "a width is written with a zero before it"),
        ("a.{rank:02d}", 3, "a width is written with a zero before it"),
        ("a.{rank:}", 3, "a width is written with a zero before it"),
        ("a.{rank:0999999}", 3, "a width is written with a zero before it"),
        ("a.{rank!r}", 7, "! is not read here"),
        ("a.{layer.real}", 8, "a name has no dots"),
        ("a.{layer + lambda}", 11, "'lambda' is a reserved word"),
        ("a.{'x}", 2, "a { that is not closed"),
        ("a" * 1025, 0, "a key of more than 1024 characters"),
    ],
)
def test_a_pattern_that_is_wrong_says_where(text, offset, message):
    with pytest.raises(PatternError) as caught:
        KeyPattern.parse(text)
    assert caught.value.offset == offset
    assert message in str(caught.value)


def test_an_unknown_name_is_told_at_its_place_in_the_file():
    pattern = KeyPattern.parse("a.{rank}.{layr + 1}", Where("m.yaml", 4, 9, 19))
    with pytest.raises(PatternError) as caught:
        pattern.fill(NAMES)
    error = caught.value
    assert (str(error), error.help) == ("there is no name 'layr' here", "did you mean 'layer'?")
    assert (error.offset, str(error.where)) == (10, "m.yaml:4:19")


@pytest.mark.parametrize("text, column", [("a.{b", 11), ("a.{1 + }", 15)])
def test_a_wrong_pattern_is_told_at_its_place_in_the_file(text, column):
    with pytest.raises(PatternError) as caught:
        KeyPattern.parse(text, Where("m.yaml", 4, 9, len(text)))
    assert str(caught.value.where) == f"m.yaml:4:{column}"


def test_a_pattern_knows_its_names_and_equals_its_text():
    pattern = KeyPattern.parse("a.{layer + n:02}.{w}.{true}")
    assert pattern.names == {"layer", "n", "w"}
    assert pattern == KeyPattern.parse("a.{layer + n:02}.{w}.{true}")
    assert len({pattern, KeyPattern.parse("b")}) == 2
    assert pickle.loads(pickle.dumps(pattern)) == pattern


@pytest.mark.parametrize(
    "text, wildcard",
    [
        ("model.safetensors", "model.safetensors"),
        ("c.{rank:02}.pth", "c.*.pth"),
        ("l_{layer + 3:02}-m_{rank:02}.pt", "l_*-m_*.pt"),
        ("{a}{b}.pt", "*.pt"),
        ("a[1]*?{{x}}", "a[[]1][*][?]{x}"),
    ],
)
def test_a_pattern_finds_files(text, wildcard):
    assert KeyPattern.parse(text).wildcard() == wildcard


def test_a_filled_pattern_is_among_the_files_it_finds():
    pattern = KeyPattern.parse("a[{rank:02}]*.{layer}")
    assert fnmatch.fnmatchcase(pattern.fill(NAMES), pattern.wildcard())


@pytest.mark.parametrize(
    "text, sources, targets",
    [
        ("a.weight", ("a.weight",), ("a.weight",)),
        ("a -> b", ("a",), ("b",)),
        ("a->b", ("a",), ("b",)),
        (" a  ->  b ", ("a",), ("b",)),
        ("a, b -> c", ("a", "b"), ("c",)),
        ("a -> b,c", ("a",), ("b", "c")),
        ("-> attn.bias", (), ("attn.bias",)),
        ("a-b -> c-d", ("a-b",), ("c-d",)),
        ("{w}, {w}_s -> x.{layer + 1}", ("{w}", "{w}_s"), ("x.{layer + 1}",)),
        ("{a if x - 1 > 2 else b} -> c", ("{a if x - 1 > 2 else b}",), ("c",)),
    ],
)
def test_the_key_of_a_rule_names_sources_and_targets(text, sources, targets):
    assert split_rule(text) == (sources, targets)


@pytest.mark.parametrize(
    "text, offset, message",
    [
        ("", 0, "a key is missing"),
        ("->", 2, "no key right of the arrow"),
        ("a ->", 4, "no key right of the arrow"),
        ("a -> b -> c", 7, "a second arrow"),
        ("a -> -> c", 5, "a second arrow"),
        ("a,, b -> c", 2, "a key is missing beside this comma"),
        (", b -> c", 0, "a key is missing beside this comma"),
        ("a -> b,", 7, "a key is missing beside this comma"),
        ("a, a -> c", 2, "the key 'a' is here twice"),
        ("a, b", 0, "needs an arrow"),
        ("a.{min(x, y)} -> b", 2, "no comma and no arrow"),
        ("a -> b.{x -> y}", 7, "no comma and no arrow"),
    ],
)
def test_a_rule_that_is_wrong_says_where(text, offset, message):
    with pytest.raises(PatternError) as caught:
        split_rule(text)
    assert caught.value.offset == offset
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text, prefixes",
    [
        ("h.{block}.", ("h.{block}.", "h.{block}.")),
        ("layers.{layer}. -> model.layers.{layer}.", ("layers.{layer}.", "model.layers.{layer}.")),
        ("-> model.", ("", "model.")),
        ("transformer. ->", ("transformer.", "")),
    ],
)
def test_a_scope_names_two_prefixes(text, prefixes):
    assert split_scope(text) == prefixes


@pytest.mark.parametrize("text", ["", "a, b -> c", "a -> b -> c", "a -> b, c"])
def test_a_scope_that_is_wrong_is_refused(text):
    with pytest.raises(PatternError):
        split_scope(text)


@hypothesis.given(st.text() | st.text(alphabet="ab1{}:02'\",->. +*[]"))
@hypothesis.example("{\n}")
def test_any_text_is_a_pattern_or_the_one_error(text):
    try:
        pattern = KeyPattern.parse(text)
        split_rule(text)
        pattern.fill({"a": 1, "b": "x"})
    except ExpressionError as error:
        assert type(error) is PatternError
        assert 0 <= error.offset <= len(text)
