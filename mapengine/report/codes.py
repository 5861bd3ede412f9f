"""The catalogue of problem codes as text, as the page `docs/codes.md`, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mapengine.codes import BASE, CODES, SERIES, Code

_HEAD = f"""\
# Problem codes

Written by `mapengine rule --markdown`. `mapengine rule ME301` prints one of these.

Codes are stable: they mean the same in every version. Examples in YAML are put in place of the
parts of the same name in this mapping, which is good:

```yaml
{BASE}```
"""


def code_text(name: str) -> str:
    """One code for the terminal."""
    code = CODES[name]
    example = "\n".join(f"    {line}" for line in code.example.split("\n"))
    return f"{_title(name, code)}\n\n{code.cause}\n\nExample:\n{example}\n\nCure: {code.cure}\n"


def codes_text() -> str:
    """A line for each code."""
    return "".join(f"{_title(name, code)}\n" for name, code in CODES.items())


def codes_page() -> str:
    """All of it in Markdown."""
    page = _HEAD
    for series, room in SERIES.items():
        page += f"\n## {series}xx: {room}\n"
        for name, code in CODES.items():
            if name.startswith(series):
                page += f"\n### {name}\n\n{_entry(code)}"
    return page


def codes_dict(names: Iterable[str]) -> dict[str, Any]:
    listed = [
        {
            "code": name,
            "title": CODES[name].title,
            "cause": CODES[name].cause,
            "example": CODES[name].example,
            "example_is": "mapping" if CODES[name].is_yaml else "output",
            "cure": CODES[name].cure,
            "note": CODES[name].note,
        }
        for name in names
    ]
    return {"format_version": "1.0", "codes": listed}


def _title(name: str, code: Code) -> str:
    return f"{name}  {code.title}{' (a note)' if code.note else ''}"


def _entry(code: Code) -> str:
    kind = "yaml" if code.is_yaml else "text"
    note = " (a note, no mistake by itself)" if code.note else ""
    fence = f"```{kind}\n{code.example}\n```"
    return f"**{code.title}**{note}. {code.cause}\n\n{fence}\n\n{code.cure}\n"
