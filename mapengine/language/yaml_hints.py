"""The way out of the YAML mistakes that mappings invite, told from the line they stand on."""

from __future__ import annotations

import re
from typing import Any

from mapengine.errors import Problem, Where

BRACES_HELP = "a pattern with braces inside [ ] or { } needs quotes"
START_HELP = "a pattern that begins with { needs quotes: quote it"
KEYS_HELP = "several keys stand without brackets, with commas: a, b -> c"

_QUOTE_HELP = "a value that begins with a quote ends at the next one: quote it as a whole"
_START_HELP = {
    "{": START_HELP,
    "*": "a value that begins with * is a YAML alias: quote it",
    "'": _QUOTE_HELP,
    '"': _QUOTE_HELP,
    "@": "a value cannot begin with @: quote it",
    "`": "a value cannot begin with `: quote it",
    "%": "a value cannot begin with %: quote it",
}
_RULE_HELP = "a colon and a blank stand between a rule and its body: a -> b: {shape: [...]}"
_BODY_HELP = "the body of a rule stands in { }, or on lines of its own: a -> b: {shape: [...]}"
_TORN_RULE = re.compile(r"->[^:]*(?::?\{|\s\{)\s*\w+\s*:\s")
_VALUE_START = re.compile(r"(?:^|(?<=[\s\[{,]))[{*'\"@`%]")


def syntax_problem(error: Exception, file: str, text: str) -> Problem:
    """The parser's complaint about `text`, with its place and, where one is known, the way out."""
    mark: Any = getattr(error, "problem_mark", None)
    if mark is None:
        return Problem("ME101", f"not YAML: {error}", Where(file, 1, 1))
    problem = getattr(error, "problem", None) or "not YAML"
    context = getattr(error, "context", None) or ""
    opening = getattr(error, "context_mark", None)
    lines = text.split("\n")[mark.line :] or [""]
    if opening and not "".join([lines[0][mark.column + 1 :], *lines[1:]]).strip():
        mark = opening  # what is never closed, rather than the end of the file
        help = "what opens here is never closed"
    else:
        help = _hint(context, problem, lines[0], mark.column) or _unclosed(context, opening)
    message = f"{problem}, {context}" if context else problem
    return Problem("ME101", message, Where(file, mark.line + 1, mark.column + 1), help=help)


def _hint(context: str, problem: str, line: str, column: int) -> str:
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "YAML is indented with spaces, not tabs"
    if "expected key" in problem and _TORN_RULE.search(line):
        return _RULE_HELP
    if "flow" in context and line[:column].rstrip()[-1:] in ("'", '"'):
        return _QUOTE_HELP
    if "flow" in context and (line[column : column + 1] == "{" or line[:column].endswith("}")):
        return BRACES_HELP
    if "escape" in problem:
        return "in double quotes a backslash begins an escape: use single quotes"
    if "mapping values" in problem:
        return _BODY_HELP if "->" in line[:column] else "a value that holds ': ' needs quotes"
    starts = _VALUE_START.findall(line[: column + 1])
    return _START_HELP[starts[-1]] if starts and "flow" not in context else ""


def _unclosed(context: str, opening: Any) -> str:
    """What is said of a bracket in which something is not as it should be."""
    if "flow" not in context or opening is None:
        return ""
    bracket = "[" if "sequence" in context else "{"
    place = f"{opening.line + 1}:{opening.column + 1}"
    return f"a comma is missing here, or the {bracket} at {place} is not closed before"
