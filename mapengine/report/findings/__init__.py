"""What `validate` finds, in the formats that people and machines read."""

from __future__ import annotations

from collections.abc import Callable

from mapengine.report.findings.concise import concise
from mapengine.report.findings.findings import Checked, Findings
from mapengine.report.findings.full import full
from mapengine.report.findings.github import github, github_summary
from mapengine.report.findings.json import as_json
from mapengine.report.findings.junit import junit
from mapengine.report.findings.sarif import sarif

FORMATS: dict[str, Callable[[Findings], str]] = {
    "full": full,
    "concise": concise,
    "github": github,
    "json": as_json,
    "junit": junit,
    "sarif": sarif,
}

__all__ = ["FORMATS", "Checked", "Findings", "github_summary"]
