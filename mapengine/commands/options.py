"""Options that several commands take, and the job that they describe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from mapengine.api import Job
    from mapengine.locations import Location


class _Place(click.Path):
    """A path; or a URL too, which `Path` would mangle, or the reason why none will do."""

    def __init__(self, urls: bool) -> None:
        super().__init__(path_type=Path)
        self.urls = urls

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from mapengine.errors import CheckpointError
        from mapengine.locations import is_url, location

        if not isinstance(value, str) or not is_url(value):
            return super().convert(value, param, ctx)
        if not self.urls:
            self.fail(f"{value!r} is a URL, and this must be a path", param, ctx)
        try:
            return location(value)
        except CheckpointError as error:
            problem = error.problems[0]
            self.fail(f"{problem.message}; {problem.help}", param, ctx)


PATH = _Place(urls=False)
LOCATION = _Place(urls=True)
JSON = click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
FOLLOW_LINKS = click.option(
    "--follow-links",
    is_flag=True,
    help="Follow links that lead out of the folder, not only those of the Hub's cache.",
)


class _Named(click.Choice[str]):
    """One of some names, with the one that may be meant where it is none of them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from mapengine.errors import suggest

        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            near = suggest(str(value), map(str, self.choices))
            raise click.BadParameter(f"{error.message} {near}".rstrip(), ctx, param) from None


DTYPES = _Named(["bfloat16", "float16", "float32", "float64"])


def _size(context: click.Context, option: click.Parameter, value: str) -> int:
    from mapengine.report.units import parse_size

    try:
        return parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _settings(
    context: click.Context, option: click.Parameter, pairs: Sequence[str]
) -> dict[str, Any]:
    """`name=value` pairs; values are read as in the YAML of a mapping."""
    from mapengine.errors import MapengineError
    from mapengine.language.document import read_document

    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE")
        if name in values:
            raise click.BadParameter(f"{name} is given twice")
        try:
            values[name] = read_document(f"value: {text}", "--set").data["value"]
        except MapengineError as error:
            raise click.BadParameter(f"{pair!r}: {error.problems[0].message}") from None
    return values


def mapping_names(
    context: click.Context, option: click.Parameter, begun: str
) -> list[CompletionItem]:
    """The mappings that ship, and files."""
    from mapengine.shipped import shipped_mappings

    names = [CompletionItem(name) for name in shipped_mappings() if name.startswith(begun)]
    return [*names, CompletionItem(begun, type="file")]


SETTINGS = click.option(
    "--set", "values", multiple=True, callback=_settings, metavar="NAME=VALUE",
    help="A config name's value; beats the files. May be given again.",
)  # fmt: skip
MEMORY = click.option(
    "--memory", default="512MB", show_default=True, callback=_size,
    help="The most that is allocated, beside the interpreter and its libraries.",
)  # fmt: skip
WORKERS = click.option(
    "--workers", type=click.IntRange(1, 256),
    help="Threads.  [default: cores + 1, or cores if unsynced]",
)  # fmt: skip
_READING_OPTIONS = (
    click.argument("mapping", shell_complete=mapping_names),
    click.option("-s", "--source", type=LOCATION, help="The checkpoint's folder, or its URL."),
    FOLLOW_LINKS,
    SETTINGS,
    click.option("--preset", help="A named set of config values of the mapping."),
    click.option("--reverse", is_flag=True,
                 help="The way back: the folder holds the target, its source is written."),
    click.option("--then", help="A mapping that goes on from there, with no files in between."),
    click.option("--then-reverse", is_flag=True, help="That one backwards."),
    click.option("--layout", help="The layout: of the source, where its files do not tell; "
                                  "or of the side that is written."),
    click.option("--dtype", type=DTYPES, help="Cast every floating tensor that no rule casts."),
)  # fmt: skip

_ADAPTER_OPTIONS = (
    click.option("--adapter", type=LOCATION,
                 help="Convert this LoRA adapter; --source is its model, whose config will do."),
    click.option("--base-model", metavar="NAME_OR_PATH",
                 help="What the new adapter's config names as the model it is for."),
)  # fmt: skip

_WRITING_OPTIONS = (
    click.option("--format", "format_", type=_Named(["safetensors", "torch"]),
                 help="The format of the files written.  [default: as the mapping says]"),
    click.option("--select", multiple=True, metavar="KEYS",
                 help="Write these tensors alone, `*` for any text in a key; no config. May be "
                      "given again."),
    click.option("--max-shard-size", default="5GB", show_default=True, callback=_size,
                 help="The most that one file holds; 1GB is 10⁹ bytes."),
    MEMORY,
    WORKERS,
)  # fmt: skip


def job_options(command: Any) -> Any:
    """Gives a command the argument and the options that describe a job."""
    return _given(command, *_READING_OPTIONS, *_ADAPTER_OPTIONS, *_WRITING_OPTIONS)


def model_options(command: Any) -> Any:
    """Those of a model's job, which is not an adapter's."""
    return _given(command, *_READING_OPTIONS, *_WRITING_OPTIONS)


def reading_options(command: Any) -> Any:
    """Those of them that say what is made of what; not how it is cut, stored and worked on."""
    return _given(command, *_READING_OPTIONS)


def _given(command: Any, *options: Any) -> Any:
    for option in reversed(options):
        command = option(command)
    return command


def make_job(source: Location | None, given: dict[str, Any]) -> Job:
    """The job that a command was given; `given` holds what `job_options` parsed, but the source."""
    from mapengine.api import Job, load

    adapter, base_model = given.get("adapter"), given.get("base_model")
    if base_model and not adapter:
        raise click.UsageError("--base-model is for the config of an --adapter")
    return Job(
        load(given["mapping"]), source, given["values"], given["preset"], given["dtype"],
        given["layout"], given["format_"], given["max_shard_size"], given["reverse"],
        given["then"], given["then_reverse"], adapter, base_model, given["follow_links"],
        given.get("select", ()),
    )  # fmt: skip
