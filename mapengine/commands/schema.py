"""`mapengine schema`."""

from __future__ import annotations

from pathlib import Path

import click

from mapengine.commands.options import PATH
from mapengine.commands.output import say


@click.command("schema", epilog="Example: mapengine schema -o mapping.schema.json")
@click.option("-o", "--output", type=PATH, help="Write it to a file.")
@click.option("--check", type=PATH, help="Exit with 1 unless this file is it.")
@click.option(
    "--markdown", type=click.Choice(["ops", "words"]),
    help="Instead, the reference for people: docs/ops.md or docs/words.md.",
)  # fmt: skip
def command(output: Path | None, check: Path | None, markdown: str | None) -> None:
    """Print the JSON Schema of mapping files, for editors and CI."""
    text = _text(markdown)
    if check is not None:
        fresh = check.is_file() and check.read_bytes() == text.encode()
        how = f"mapengine schema{f' --markdown {markdown}' if markdown else ''}"
        say(f"{check} is {'fresh' if fresh else f'not what `{how}` prints'}")
        raise click.exceptions.Exit(0 if fresh else 1)
    if output is not None:
        output.write_text(text, encoding="utf-8")
    else:
        click.echo(text, nl=False)


def _text(markdown: str | None) -> str:
    if markdown is None:
        from mapengine.language.schema import schema_text

        return schema_text()
    from mapengine.report.reference import ops_page, words_page

    return ops_page() if markdown == "ops" else words_page()
