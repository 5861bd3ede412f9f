"""For programs: everything, in the words of `docs/json/validate.schema.json`."""

from __future__ import annotations

import json
from typing import Any

from mapengine.report.findings.findings import Checked, Findings
from mapengine.report.problems import problem_dict
from mapengine.report.proofs import proof_dict


def as_json(findings: Findings) -> str:
    told = {
        "format_version": "1.0",
        "files": [_file(checked) for checked in findings.files],
        "problems": findings.count,
    }
    return json.dumps(told, indent=2) + "\n"


def _file(checked: Checked) -> dict[str, Any]:
    return {
        "file": checked.file,
        "problems": [problem_dict(problem) for problem in checked.problems],
        "notes": [problem_dict(note) for note in checked.notes],
        "proof": proof_dict(checked.proof) if checked.proof is not None else None,
    }
