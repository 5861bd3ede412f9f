"""The reference of the language in Markdown, from the code: `docs/ops.md` and `docs/words.md`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any

from mapengine.errors import OpError
from mapengine.explanation.words import WordExplained, word_called, words
from mapengine.language.schema_ops import argument_name, is_required
from mapengine.ops import NAMES, OPS, Op
from mapengine.ops.shown import Shown

_OPS_HEAD = """\
# The ops

Written by `mapengine schema --markdown ops`, from the code that runs them. An op stands in the
`ops` of a [rule](language.md#ops), as `name: {argument: value}`; of those with one plain value, as
`name: value`; where every argument may be left out, as `name`. A number may be an expression over
config names. Each example below is run by a test, and taken back where the op has a way back.

| op | does | undone by |
|---|---|---|
"""
_WORDS_HEAD = """\
# The words of a mapping

Written by `mapengine schema --markdown words`, from the schema that mappings are checked against.
[The mapping language](language.md) says how they go together; `mapengine explain rules.shape`
prints what is said of one of them here.
"""
_SECTIONS = {
    "": "The file",
    "source": "A side: `source` and `target`",
    "layouts": "A layout of a side",
    "config": "A config field",
    "rules": "A rule",
    "scope": "A scope",
}
_KINDS = {"object": "an object", "array": "a list", "string": "a text", "integer": "a whole number",
          "number": "a number", "boolean": "true or false", "null": "null"}  # fmt: skip
_ARGUMENTS = {
    "integer": "a whole number",
    "integers": "a list of whole numbers",
    "number": "a number",
    "fan": "the name of an index",
    "axes": "`axes -> axes`, in quotes",
    "dtype": "a dtype",
    "flag": "true or false",
}


# -- ops ------------------------------------------------------------------------------------------


def ops_page() -> str:
    """Every op: what it does, its arguments, its inverse, and it at work."""
    rows = (
        f"| [`{name}`](#{name}) | {_sentence(op)} | {_undone_by(op)} |\n"
        for name, op in OPS.items()
    )
    return _OPS_HEAD + "".join(rows) + "".join(_op(name, op) for name, op in OPS.items())


def _op(name: str, op: type[Op]) -> str:
    return f"\n## {name}\n\n{_sentence(op)}\n\n{_facts(op)}{_arguments(op)}{_shown(op)}"


def _sentence(op: type[Op]) -> str:
    return " ".join((op.__doc__ or "").split())


def _undone_by(op: type[Op]) -> str:
    example = next(iter(op.examples()))[0]
    try:
        return f"`{NAMES[type(example.inverse())]}`"
    except OpError:
        return "nothing"


def _facts(op: type[Op]) -> str:
    exactly = "; ".join(f"**{kind}** {when}" for kind, when in op.exactly.items())
    first = f"- Stands: first in its rule, for {op.first}\n" if op.first else ""
    return (
        f"- Takes: {_taken(op)}\n- Shape: {op.shapes}\n- Dtype: {op.dtypes}\n"
        f"- Exactness: {exactly}\n- Undone by: {_undone_by(op)}\n{first}\n"
    )


def _taken(op: type[Op]) -> str:
    example = next(iter(op.examples()))[0]
    if example.uses:
        return "several tensors, and makes one"
    return "one tensor, and makes several" if example.makes else "one tensor, and makes one"


def _arguments(op: type[Op]) -> str:
    head = "| argument | is | where unsaid | for example |\n|---|---|---|---|\n"
    rows = (
        f"| `{argument_name(one)}` | {_kind(one)}: {_lower(one.metadata['description'])} | "
        f"{_unsaid(one)} | {_code(one.metadata['example'])} |\n"
        for one in fields(op)
    )
    return f"{head}{''.join(rows)}"


def _kind(argument: Field[Any]) -> str:
    kind: str = argument.metadata["kind"]
    return _ARGUMENTS.get(kind) or _listed([f"`{word}`" for word in kind.split("|")], "or")


def _unsaid(argument: Field[Any]) -> str:
    if is_required(argument):
        return "must be said"
    plain = argument.default is not MISSING and isinstance(argument.default, int | float | str)
    return _code(argument.default) if plain else "-"


def _shown(op: type[Op]) -> str:
    return "".join(
        f"\n```yaml\n{one.text()}```\n\n```text\n{_work(one)}```\n" for one in op.shown()
    )


def _work(one: Shown) -> str:
    """The tensors before and after, a line each."""
    names = [f"{name} = {size}" for name, size in one.sizes.items()]
    rows = [("  ", key, _spec(key, value, one.was), value) for key, value in one.given.items()]
    rows += [("→ ", key, _spec(key, value, one.becomes), value) for key, value in one.made.items()]
    keys, specs = (max(len(row[column]) for row in rows) for column in (1, 2))
    lines = [f"with {', '.join(names)}"] if names else []
    lines += [
        f"{a}{key:{keys}}  {spec:{specs}}  {json.dumps(value)}" for a, key, spec, value in rows
    ]
    return "".join(f"{line}\n" for line in lines)


def _spec(key: str, values: Any, dtypes: Mapping[str, str]) -> str:
    shape, inner = [], values
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0]
    return f"{dtypes.get(key, 'float32')} {shape}"


# -- words ----------------------------------------------------------------------------------------


def words_page() -> str:
    """Every word of the schema but the ops, section by section, and the words for constants."""
    return _WORDS_HEAD + "".join(map(_section, _SECTIONS))


def _section(root: str) -> str:
    head = f"\n## {_SECTIONS[root]}\n\n"
    if root:
        head += f"{_known(root).text}\n\n"
    head += "| word | is | where unsaid | for example |\n|---|---|---|---|\n"
    return head + "".join(f"{_row(root, _known(name))}\n" for name in _inside(root))


def _inside(root: str) -> Iterator[str]:
    """The words of a section: of the file its own, of any other all that are below it."""
    for name in words():
        if root and name.startswith(f"{root}."):
            yield name
        if not root and "." not in name and name not in ("rules", "scope", "layouts", "ops"):
            yield name


def _known(name: str) -> WordExplained:
    found = word_called(name)
    assert found is not None
    return found


def _row(root: str, word: WordExplained) -> str:
    name = word.name.removeprefix(f"{root}.")
    said = [_listed([_KINDS[kind] for kind in word.kinds], "or")] if word.kinds else []
    if word.choices:
        said = [_listed([f"`{choice}`" for choice in word.choices], "or")]
    is_ = ": ".join([*said, _lower(word.text) if said else word.text])
    if word.name == "rules.ops":
        is_ += " [All of them](ops.md)."
    unsaid = "must be said" if word.required else "-"
    if word.default is not None:
        unsaid = _code(word.default)
    shown = " · ".join(_code(example) for example in word.examples)
    return f"| `{name}` | {is_} | {unsaid} | {shown} |"


# -- text -----------------------------------------------------------------------------------------


def _code(value: Any) -> str:
    """A value as YAML on one line, fit for a table."""
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    text = text.removesuffix("\n").removesuffix("\n...")
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _lower(text: str) -> str:
    """A sentence within another one."""
    return text[0].lower() + text[1:]


def _listed(parts: Sequence[str], word: str) -> str:
    *most, last = parts
    return f"{', '.join(most)} {word} {last}" if most else last
