"""For editors and grep: a line for each problem, and nothing else."""

from __future__ import annotations

from mapengine.report.findings.findings import Findings, on_one_line, sentence


def concise(findings: Findings) -> str:
    lines = []
    for level, checked, problem in findings.by_level():
        place = str(problem.where) if problem.where else checked.file
        said = " ".join(sentence(problem).split())
        note = "note: " if level == "note" else ""
        lines.append(on_one_line(f"{place}: {note}{problem.code} {said}"))
    return "".join(f"{line}\n" for line in lines)
