"""For code scanning: SARIF 2.1.0, with rule ids and fingerprints that outlive moved lines."""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from mapengine import __version__
from mapengine.codes import CODES
from mapengine.errors import Problem, printable
from mapengine.report.findings.findings import Checked, Findings, in_repository, sentence

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(findings: Findings) -> str:
    found = list(findings.by_level())
    rules = sorted({problem.code for _, _, problem in found})
    seen: Counter[str] = Counter()
    results = [_result(*one, rules, seen) for one in found]
    driver = {"name": "mapengine", "version": __version__, "rules": [_rule(code) for code in rules]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(name: str) -> dict[str, Any]:
    code = CODES[name]
    return {
        "id": name,
        "shortDescription": {"text": code.title},
        "fullDescription": {"text": code.cause},
        "help": {"text": code.cure, "markdown": f"{code.cure}\n\n```\n{code.example}\n```"},
        "defaultConfiguration": {"level": "note" if code.note else "error"},
    }


def _result(
    level: str, checked: Checked, problem: Problem, rules: list[str], seen: Counter[str]
) -> dict[str, Any]:
    help = f"\n{problem.help}" if problem.help else ""
    fingerprint = _fingerprint(problem)
    seen[fingerprint] += 1  # two of one kind in a run are told apart by their number
    return {
        "ruleId": problem.code,
        "ruleIndex": rules.index(problem.code),
        "level": level,
        "message": {"text": printable(sentence(problem) + help)},
        "locations": [_location(checked, problem)],
        "partialFingerprints": {
            "primaryLocationLineHash": f"{fingerprint}:{seen[fingerprint]}",
        },
    }


def _fingerprint(problem: Problem) -> str:
    text = "\0".join((problem.code, problem.path, problem.message))
    return sha256(text.encode(errors="backslashreplace")).hexdigest()[:16]


def _location(checked: Checked, problem: Problem) -> dict[str, Any]:
    where = problem.where
    path = in_repository(where.file if where else checked.file)
    uri = path.as_uri() if path.is_absolute() else quote(path.as_posix(), errors="surrogateescape")
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    if not path.is_absolute():
        physical["artifactLocation"]["uriBaseId"] = "%SRCROOT%"
    if where is not None:
        physical["region"] = {
            "startLine": where.line,
            "startColumn": where.column,
            "endColumn": where.column + where.width,
        }
    location: dict[str, Any] = {"physicalLocation": physical}
    if problem.path:
        location["logicalLocations"] = [{"fullyQualifiedName": printable(problem.path)}]
    return location
