"""`mapengine rule`."""

from __future__ import annotations

from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

from mapengine.codes import CODES
from mapengine.commands.options import JSON
from mapengine.commands.output import print_json
from mapengine.errors import suggest


@click.command("rule", epilog="Example: mapengine rule ME301")
@click.argument("codes", nargs=-1, shell_complete=lambda _, __, begun: _begun(begun))
@click.option("--markdown", is_flag=True, help="All of them as a page, which is docs/codes.md.")
@JSON
def command(codes: Sequence[str], markdown: bool, as_json: bool) -> None:
    """Explain problem codes: what each means, an example, and the cure. Without one, list them."""
    from mapengine.report.codes import code_text, codes_dict, codes_page, codes_text

    names = [_known(code.upper()) for code in codes]
    if as_json:
        print_json(codes_dict(names or CODES))
    elif markdown:
        click.echo(codes_page(), nl=False)
    else:
        click.echo("\n".join(map(code_text, names)) or codes_text(), nl=False)


def _begun(begun: str) -> list[CompletionItem]:
    found = [(name, code) for name, code in CODES.items() if name.startswith(begun.upper())]
    return [CompletionItem(name, help=code.title) for name, code in found]


def _known(name: str) -> str:
    if name not in CODES:
        hint = suggest(name, CODES) or "`mapengine rule` lists them"
        raise click.BadParameter(f"there is no code {name!r}; {hint}", param_hint="CODES")
    return name
