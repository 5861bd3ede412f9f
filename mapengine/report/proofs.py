"""What was proven of a mapping, as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mapengine.errors import Problem, one_line
from mapengine.ops import Exactness
from mapengine.report.problems import problem_dict

if TYPE_CHECKING:
    from mapengine.api import Proof


def proof_text(file: str, proof: Proof) -> str:
    """A line for each rule with what it does to values, and what no shape can see."""
    width = max((len(claim.exactness.value) for claim in proof.claims), default=0)
    where = f"{proof.layouts} layouts" if proof.layouts > 1 else "its one layout"
    one_way = any(claim.exactness is Exactness.ONE_WAY for claim in proof.claims)
    ways = "forward, but not back," if one_way else "forward and back"
    lines = [f"{file}: the example goes {ways} in {where}; per rule"]
    for claim in proof.claims:
        name = f"{claim.rule.where.line:>6}  {claim.exactness.value.ljust(width)}  {claim.rule}"
        lines.append(f"{name}  ×{claim.tensors}, {claim.elements:,} elements")
    lines += dict.fromkeys(map(note_text, proof.notes))  # rules may share their ops
    return "\n".join(map(one_line, lines))


def note_text(note: Problem) -> str:
    return one_line(f"note: {note.where}: {note.code} {note.message}")


def proof_dict(proof: Proof) -> dict[str, Any]:
    return {
        "layouts": proof.layouts,
        "rules": [
            {
                "path": claim.rule.path,
                "line": claim.rule.where.line,
                "rule": str(claim.rule),
                "exactness": claim.exactness.value,
                "tensors": claim.tensors,
                "elements": claim.elements,
            }
            for claim in proof.claims
        ],
        "notes": [problem_dict(note) for note in proof.notes],
    }
