"""For people: each problem with the line it stands in and the way out."""

from __future__ import annotations

from mapengine.report.findings.findings import Findings
from mapengine.report.problems import problem_text
from mapengine.report.proofs import note_text, proof_text


def full(findings: Findings) -> str:
    lines = [proof_text(one.file, one.proof) for one in findings.files if one.proof is not None]
    lines += [problem_text(problem) for one in findings.files for problem in one.problems]
    lines += [note_text(n) for one in findings.files if one.proof is None for n in one.notes]
    return "\n".join([*lines, findings.summary(), ""])
