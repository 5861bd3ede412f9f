import math
import pickle

import pytest

from mapengine.errors import Where
from mapengine.language.expressions import ExpressionError, Names, parse, parse_value

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

NAMES = {
    "hidden": 4096,
    "heads": 32,
    "layer": 3,
    "dense": 1,
    "factor": 1.3,
    "tied": False,
    "layout": "hub",
    "window": None,
    "eos": [1, 2],
    "said": -1,
    "wide": 2**127,
    "endless": math.inf,
}


class Headers:
    """A scope that answers with what it was asked."""

    def name(self, name):
        return NAMES[name]

    def call(self, function, *args):
        return (function, *args)


def refusal(text, scope=NAMES):
    with pytest.raises(ExpressionError) as caught:
        parse(text).evaluate(scope)
    return caught.value


@pytest.mark.parametrize(
    "text, value",
    [
        ("hidden // heads", 128),
        ("hidden / heads", 128.0),
        ("hidden % 100", 96),
        ("2 + 3 * 4 - 1", 13),
        ("-layer + +1", -2),
        ("2 ** 3 ** 2", 512),
        ("-2 ** 2", -4),
        ("2 ** -1", 0.5),
        ("int(factor * int(8 * hidden / 3))", 14198),
        ("min(hidden, heads, 7)", 7),
        ("max(layer, 1.5)", 3),
        ("1.0e4 if layout == 'hub' else 1.0e6", 1e4),
        ("'a' if tied else 'b'", "b"),
        ("layer >= dense", True),
        ("0 <= layer < 3", False),
        ("0 <= layer < 4", True),
        ("layout in ('native', 'hub')", True),
        ("layout not in ('native',)", True),
        ('layout != "hub"', False),
        ("not tied", True),
        ("tied or layer", True),
        ("layer and not tied", True),
        ("tied and missing", False),
        ("window == null", True),
        ("window != None", False),
        ("true", True),
        ("False", False),
        ("null", None),
        ("window", None),
        ("eos", [1, 2]),
        ("endless", math.inf),
        ("(hidden)", 4096),
        ("'relu'", "relu"),
        (r"'a\.b'", r"a\.b"),
        ("  layer  ", 3),
        ("wide", 2**127),
        ("wide // 2 * 2", 2**127),
        ("0x10", 16),
        ("int(tied)", 0),
        ("int(2.9)", 2),
    ],
)
def test_an_expression_has_its_value(text, value):
    found = parse(text).evaluate(NAMES)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text, value",
    [
        ("has('moe.num_experts')", ("has", "moe.num_experts")),
        (r"has('moe\.num')", ("has", r"moe\.num")),
        ("size('tok_embeddings.weight', 0)", ("size", "tok_embeddings.weight", 0)),
        ("size('a', -1)", ("size", "a", -1)),
        ("dtype('a')", ("dtype", "a")),
        ("present('a')", ("present", "a")),
        ("count('consolidated.{rank:02}.pth')", ("count", "consolidated.{rank:02}.pth")),
    ],
)
def test_questions_go_to_the_scope_and_are_known_beforehand(text, value):
    expression = parse(text)
    assert expression.evaluate(Headers()) == value
    assert expression.calls == ((value[0], value[1:]),)


def test_names_and_calls_are_those_that_are_written():
    found = parse("said if said > 0 and true else size('w', 0) + size('w', 0) * min(heads, 2)")
    assert found.names == {"said", "heads"}
    assert found.calls == (("size", ("w", 0)),)


def test_equal_texts_are_equal_expressions_and_travel():
    assert parse(" a + b ") == parse("a + b")
    assert len({parse("a + b"), parse("a + b"), parse("b + a")}) == 2
    assert pickle.loads(pickle.dumps(parse("layer + 1"))).evaluate(NAMES) == 4


CORPUS = {
    "mro": "().__class__.__mro__[1].__subclasses__()",
    "Popen": "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'Popen']",
    "import": "__import__('os').system('id')",
    "import alone": "__import__('os')",
    "builtins": "__builtins__['eval']('1')",
    "f-string attribute": "f'{hidden.__class__}'",
    "f-string width": "f'{1:1000000000}'",
    "format": "'{0.__class__}'.format(1)",
    "format_map": "'{a}'.format_map(1)",
    "percent width": "'%1000000000d' % 1",
    "lambda": "(lambda: 1)()",
    "lambda globals": "(lambda: 1).__globals__",
    "generator frames": "(x for x in ()).gi_frame",
    "walrus": "(hidden := 1)",
    "comprehension bomb": "[0 for a in (1,) for b in (1,)]",
    "set comprehension": "{a for a in (1,)}",
    "pow tower": "9**9**9",
    "tall pow tower": "9**9**9**9",
    "large pow": "2**64 ** 2",
    "small pow tower": "10**(10**(10**10))",
    "pow of a float": "9.9**64**64",
    "shift bomb": "1 << 10**10",
    "negative shift": "1 << -1",
    "str repeat": "'x' * 10**10",
    "repeat of a name": "layout * 10",
    "list repeat": "[0] * 10**10",
    "bytes repeat": "b'x' * 10**10",
    "multiplication tower": "*".join(["hidden"] * 30),
    "str of a huge int": "str(10**64)",
    "parentheses": "(" * 5_000 + "1" + ")" * 5_000,
    "few parentheses": "(" * 250 + "1" + ")" * 250,
    "unary": "-" * 20_000 + "1",
    "few unary": "-" * 500 + "1",
    "binops": "+".join(["1"] * 50_000),
    "few binops": "+".join(["1"] * 200),
    "attribute": "hidden.real",
    "method": "hidden.bit_length()",
    "helper globals": "min.__globals__",
    "getattr": "getattr(hidden, '__cl' + 'ass__')",
    "starred": "min(*eos)",
    "double starred": "min(**eos)",
    "keyword": "max(1, 2, key=min)",
    "slice": "eos[0:1]",
    "index": "eos[0]",
    "await": "await hidden",
    "yield": "(yield)",
    "fullwidth": "\uff43lass",
    "NUL": "1\0",
    "newline": "1\n2",
    "semicolon": "1; 2",
    "backslash": "1 + \\\n2",
    "lone backslash": "\\x",
    "//0": "hidden // 0",
    "%0": "hidden % 0",
    "/0": "hidden / (heads - 32)",
    "0 to a negative power": "0 ** -1",
    "inf": "1e999",
    "inf by product": "1e308 * 10",
    "inf by name": "endless * 1",
    "nan": "1e308 * 10 - 1e308 * 10",
    "complex": "1j",
    "complex root": "(-8) ** 0.5",
    "misspelt": "hiden // heads",
    "dict": "{'a': 1}",
    "brace": "{hidden}",
    "list": "[1, 2]",
    "tuple": "(1, 2)",
    "long name": "a" * 1_000_000,
    "long literal": "9" * 5_000,
    "large literal": "9" * 40,
    "large sum": "wide + wide",
    "large negative": "-wide - wide - 1",
    "large int": "int(1e300)",
    "underscore": "_",
    "print": "print(1)",
    "eval": "eval('1')",
    "word in arithmetic": "layout + 'x'",
    "sign of a word": "-'x'",
    "truth in arithmetic": "tied + 1",
    "null in arithmetic": "window * 2",
    "list in arithmetic": "eos + eos",
    "order of words": "layout < 'z'",
    "order of null": "window > 1",
    "and of words": "layout and 'x'",
    "not of null": "not window",
    "condition on a word": "1 if layout else 2",
    "in a word": "layout in 'hubs'",
    "in names": "layer in (hidden, heads)",
    "in a list": "layout in ['hub']",
    "is": "layer is 3",
    "assignment": "layer = 3",
    "glued": "1if tied else 2",
    "inversion": "~layer",
    "and of bits": "layer & 1",
    "matrix product": "layer @ 1",
    "triple quotes": "'''a''' == layout",
    "glued words": "'a' 'b' == layout",
    "prefixed word": "r'a' == layout",
    "bytes": "b'a' == layout",
    "ellipsis": "...",
    "int of a word": "int('3')",
    "int of two": "int('11', 2)",
    "min of one": "min(3)",
    "min of words": "min('a', 'b')",
    "name for a call": "size(layout, 0)",
    "missing axis": "size('a')",
    "truth for an axis": "size('a', true)",
    "keyed call": "has(path='a')",
    "word too many": "has('a', 'b')",
    "called result": "min(1, 2)(3)",
    "comment": "layer # 1",
    "nothing": "",
    "blanks": "   ",
    "tab": "1 +\t2",
    "half a pair": "\ud800",
    "open quote": "'a",
    "reserved": "class == 1",
}


@pytest.mark.parametrize("case", CORPUS)
def test_what_is_not_arithmetic_is_refused(case):
    assert str(refusal(CORPUS[case]))


@pytest.mark.parametrize(
    "text, offset, message, help",
    [
        ("1 + hiden", 4, "there is no name 'hiden' here", "did you mean 'hidden'?"),
        ("1 + sise('a', 0)", 4, "there is no function 'sise'", "did you mean 'size'?"),
        ("2 * window", 4, "window: a number is needed here, found null", ""),
        ("2 * eos", 4, "eos: a number is needed here, found a list", ""),
        ("1 if layout else 2", 5, "layout: true or false is needed here, found 'hub'", ""),
        ("layer // (heads - 32)", 0, "division by zero", ""),
        ("9 ** 65", 0, "an exponent beyond 64", ""),
        ("moe.experts + 1", 3, "a name has no dots", "name the field under config:"),
        ("a = 1", 2, "= is not read here", "== compares"),
        ("tied && 1", 5, "&& is not read here", "say and"),
        ("1 + class", 4, "'class' is a reserved word, not a name for expressions", ""),
        ("caf\u00e9", 3, "the character '\\xe9' is not read here", ""),
        ("has('a')", 0, "has() asks a checkpoint, and there is none here", ""),
    ],
)
def test_a_refusal_says_where_and_what(text, offset, message, help):
    error = refusal(text)
    assert (error.offset, str(error)) == (offset, message)
    assert error.help.startswith(help)


@pytest.mark.parametrize(
    "width, column",
    [
        (9, 24),  # plain
        (11, 25),  # in quotes
        (30, 20),  # folded or escaped: the place of the whole
    ],
)
def test_a_refusal_has_its_place_in_the_file(width, column):
    where = Where("m.yaml", 7, 20, width)
    with pytest.raises(ExpressionError) as caught:
        parse("1 + hiden", where).evaluate(NAMES)
    assert (caught.value.where.line, caught.value.where.column) == (7, column)
    problem = caught.value.problem("ME401", "config.ffn.compute")
    assert str(problem) == (
        f"m.yaml:7:{column}: ME401 config.ffn.compute: there is no name 'hiden' here"
    )
    assert problem.help == "did you mean 'hidden'?"


@pytest.mark.parametrize("value", [3, 1.5, True, None, math.inf, -2])
def test_a_yaml_scalar_is_a_constant(value):
    expression = parse_value(value)
    assert expression.evaluate({}) is value
    assert (expression.names, expression.calls) == (frozenset(), ())


def test_a_constant_reads_as_it_would_be_written():
    values = [3, 1.5, True, None, -2, "a + b"]
    assert [str(parse_value(value)) for value in values] == [
        "3",
        "1.5",
        "true",
        "null",
        "-2",
        "a + b",
    ]
    assert parse_value(3) == parse("3")


@pytest.mark.parametrize("value", [[1], {"a": 1}, 2**200])
def test_what_is_no_scalar_is_no_expression(value):
    with pytest.raises(ExpressionError):
        parse_value(value)


PIECES = (
    "hidden heads tied layout window 1 0 2.5 'a' ( ) , + - * / // % ** < == and or not if else in"
)


@hypothesis.given(st.text() | st.lists(st.sampled_from(PIECES.split()), max_size=30).map(" ".join))
def test_any_text_has_a_bounded_value_or_the_one_error(text):
    try:
        value = parse(text).evaluate(Names(NAMES))
    except ExpressionError:
        return
    assert not isinstance(value, int) or abs(value) < 2**129
