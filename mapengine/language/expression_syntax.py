"""What of Python's syntax is an expression of mappings, and what it names and asks for."""

from __future__ import annotations

import ast
import keyword
import re
import warnings

from mapengine.errors import suggest
from mapengine.language.arithmetic import (
    ARITHMETIC,
    COMPARISONS,
    FUNCTIONS,
    ExpressionError,
    checked,
)

MAX_LENGTH = 512
MAX_NODES = 128
MAX_DEPTH = 32

CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
# what a checkpoint or its config is asked for, and whether an axis follows the key
QUESTIONS = {
    "has": False, "length": False,
    "size": True, "dtype": False, "present": False, "count": False,
}  # fmt: skip
CONFIG_QUESTIONS = ("has", "length")

_FIXED = {"and", "or", "not", "if", "else", "in", "True", "False", "None"}
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_HELP = {
    "#": "a comment is for YAML to read: end the quotes before it",
    "=": "== compares",
    "&&": "say and",
    "||": "say or",
    "!": "say not",
    "?": "say a if b else c",
}
_READ_HELP = "numbers, config names, + - * // % and brackets are read; words stand in quotes"
_RANGE_HELP = "an index counts from 0: write its size alone"
# Python gives a backslash in quotes a meaning; here it has none, so it is hidden from Python
_BACKSLASH = "\x01"

Call = tuple[str, tuple[str | int, ...]]


def read(text: str) -> ast.expr:
    """Python's reading of `text`, which is short and ASCII."""
    if not text:
        raise ExpressionError("an expression is missing here", 0)
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression of more than {MAX_LENGTH} characters", 0)
    for offset, character in enumerate(text):
        if not " " <= character <= "~":
            raise ExpressionError(f"the character {character!a} is not read here", offset)
    if "#" in _without_words(text):
        raise _misread(text, 0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # `1if x else 2` and the like
            return ast.parse(text.replace("\\", _BACKSLASH), mode="eval").body
    except SyntaxError as error:
        offset = error.offset - 1 if error.offset else len(text)  # 0 is the end
        raise _misread(text, offset) from None
    except (ValueError, MemoryError, RecursionError, Warning):
        raise ExpressionError("this does not read as an expression", 0) from None


def _misread(text: str, offset: int) -> ExpressionError:
    bare = _without_words(text)
    for word in re.finditer(r"[A-Za-z_]+", bare):
        if keyword.iskeyword(word[0]) and word[0] not in _FIXED:
            message = f"{word[0]!r} is a reserved word, not a name for expressions"
            return ExpressionError(message, word.start())
    found = re.search(r"#|&&|\|\||\?|!(?!=)|(?<![=<>!])=(?!=)", bare)
    if found:
        message = f"{found[0]} is not read here"
        return ExpressionError(message, found.start(), _HELP[found[0]])
    help = _RANGE_HELP if ".." in bare else _READ_HELP
    if re.search(r"\w [x×] \w", bare):
        help = "* multiplies; the sizes of a shape are a list: [a, b]"
    return ExpressionError("this does not read as an expression", min(offset, len(text)), help)


def _without_words(text: str) -> str:
    """`text` with what stands in quotes blotted out, as long as before."""
    return _QUOTED.sub(lambda match: "'" * len(match[0]), text)


class Checker:
    """Walks a tree with a stack of its own; `names` and `calls` are what was found."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: set[str] = set()
        self.calls: dict[Call, None] = {}

    def check(self, tree: ast.expr) -> None:
        waiting, nodes = [(tree, 1)], 0
        while waiting:
            node, depth = waiting.pop()
            nodes += 1
            if nodes > MAX_NODES or depth > MAX_DEPTH:
                message = f"an expression has at most {MAX_NODES} parts, nested {MAX_DEPTH} deep"
                raise ExpressionError(message, node.col_offset)
            waiting += [(child, depth + 1) for child in self.parts(node)]

    def parts(self, node: ast.expr) -> list[ast.expr]:
        """The expressions directly below `node`, which itself is checked."""
        match node:
            case ast.Constant():
                self.constant(node)
                return []
            case ast.Name(id=name):
                if name not in CONSTANTS:
                    self.names.add(name)
                return []
            case ast.BinOp(left, op, right) if type(op).__name__ in ARITHMETIC:
                return [self.no_word(left), self.no_word(right)]
            case ast.UnaryOp(ast.USub() | ast.UAdd(), operand):
                return [self.no_word(operand)]
            case ast.UnaryOp(ast.Not(), operand):
                return [operand]
            case ast.BoolOp(values=values):
                return values
            case ast.IfExp(test, body, orelse):
                return [test, body, orelse]
            case ast.Compare(left, ops, rights):
                pairs = zip(ops, rights, strict=True)
                return [left, *(part for op, right in pairs for part in self.compared(op, right))]
            case ast.Call(ast.Name(id=function), args, []):
                return self.call(node, function, args)
            case ast.Attribute(value):
                help = "name the field under config: and use that name"
                raise ExpressionError("a name has no dots", value.end_col_offset, help)
        help = "a list stands in [ ]" if isinstance(node, ast.Tuple) else _READ_HELP
        if isinstance(node, ast.BitXor):
            help = "a power is **"
        message = "this is not part of the language of expressions"
        raise ExpressionError(message, node.col_offset, help)

    def constant(self, node: ast.Constant) -> None:
        source = self.text[node.col_offset : node.end_col_offset]
        match node.value:
            case str(value):
                node.value = value.replace(_BACKSLASH, "\\")
                if source != f"{source[0]}{node.value}{source[0]}":
                    message = "a word stands in one pair of plain quotes"
                    raise ExpressionError(message, node.col_offset)
            case None | bool():
                pass
            case int() | float():
                try:
                    checked(node.value)
                except ExpressionError as error:
                    raise ExpressionError(str(error), node.col_offset) from None
            case _:
                raise ExpressionError(f"{source} is neither a number nor a word", node.col_offset)

    def no_word(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            raise ExpressionError("a word is not a number", node.col_offset)
        return node

    def compared(self, op: ast.cmpop, right: ast.expr) -> list[ast.expr]:
        if type(op).__name__ not in COMPARISONS:
            raise ExpressionError("this is not a comparison; == compares", right.col_offset)
        if not isinstance(op, ast.In | ast.NotIn):
            return [right]
        if isinstance(right, ast.Tuple) and all(isinstance(x, ast.Constant) for x in right.elts):
            return right.elts
        message = "`in` is followed by words in parentheses: ('a', 'b')"
        raise ExpressionError(message, right.col_offset)

    def call(self, node: ast.Call, function: str, args: list[ast.expr]) -> list[ast.expr]:
        if function in FUNCTIONS:
            if (len(args) != 1) if function == "int" else (len(args) < 2):
                wanted = "one number" if function == "int" else "two numbers or more"
                raise ExpressionError(f"{function}() takes {wanted}", node.col_offset)
            return args
        if function not in QUESTIONS:
            help = suggest(function, [*FUNCTIONS, *QUESTIONS])
            help = _RANGE_HELP if function == "range" else help
            raise ExpressionError(f"there is no function {function!r}", node.col_offset, help)
        for arg in args:
            self.parts(arg)
        words = tuple(word for word in map(_literal, args) if word is not None)
        axis = QUESTIONS[function]
        if len(words) != len(args) or [type(word) for word in words] != [str, int][: 1 + axis]:
            wanted = "a quoted key and the number of an axis" if axis else "one quoted word"
            raise ExpressionError(f"{function}() takes {wanted}", node.col_offset)
        self.calls[function, words] = None
        return args


def _literal(node: ast.expr) -> str | int | None:
    match node:
        case ast.Constant(value=str() | int() as value):
            return value
        case ast.UnaryOp(ast.USub(), ast.Constant(value=int() as value)):
            return -value
    return None
