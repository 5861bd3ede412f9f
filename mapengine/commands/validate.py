"""`mapengine validate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mapengine.commands.options import JSON, PATH
from mapengine.commands.output import count, print_json, print_problems

if TYPE_CHECKING:
    from mapengine import api
    from mapengine.errors import Problem


@click.command("validate", epilog="Example: mapengine validate mappings/")
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option("-s", "--source", type=PATH, help="Check against its headers too.")
@click.option("--prove", is_flag=True, help="Take the example forward and back, and compare.")
@JSON
def command(files: Sequence[Path], source: Path | None, prove: bool, as_json: bool) -> None:
    """Check mapping files: YAML, schema, expressions, patterns, and the plan of their example.

    A folder means the .yaml files in it. Needs neither torch nor the model.
    """
    from mapengine import api
    from mapengine.errors import MapengineError

    found: dict[str, list[Problem]] = {}
    proofs: dict[str, api.Proof] = {}
    for file in map(str, _mapping_files(files)):
        found[file] = api.validate(file, source)
        if prove and not found[file]:
            try:
                proofs[file] = api.prove(file)
            except MapengineError as error:
                found[file] = list(error.problems)
    problems = [problem for one in found.values() for problem in one]
    if as_json:
        from mapengine.report.problems import problem_dict
        from mapengine.report.proofs import proof_dict

        listed = [
            {
                "file": file,
                "problems": [problem_dict(problem) for problem in listed],
                "proof": proof_dict(proofs[file]) if file in proofs else None,
            }
            for file, listed in found.items()
        ]
        print_json({"format_version": "1.0", "files": listed, "problems": len(problems)})
    else:
        for file, proof in proofs.items():
            from mapengine.report.proofs import proof_text

            click.echo(proof_text(file, proof))
        print_problems(problems, err=False)
        bad = sum(bool(one) for one in found.values())
        click.echo(
            f"{count(len(problems), 'problem')} in {bad} of {count(len(found), 'file')}"
            if problems
            else f"{count(len(found), 'mapping')} good"
        )
    raise click.exceptions.Exit(1 if problems else 0)


def _mapping_files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*.yaml")) if path.is_dir() else [path]
        if not inside:
            raise click.UsageError(f"there is no .yaml file in {path}")
        files += inside
    return files
