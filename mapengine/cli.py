"""The command line: the table of commands, and the one way out of each.

A command is a file in `commands/`, imported when it is asked for. Results go to stdout, progress
and logs to stderr. Heavy rooms are imported inside the commands that need them, so that the others
start in a blink.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import signal
import sys
import traceback

import click

from mapengine import __version__
from mapengine.commands.output import fail, say

COMMANDS = (
    "run",
    "publish",
    "plan",
    "report",
    "graph",
    "validate",
    "explain",
    "rule",
    "inspect",
    "diff",
    "verify",
    "infer",
    "init",
    "list",
    "cp",
    "schema",
    "env",
)
"""Each is the `command` of the module of its name in `commands/`."""

_UNREAD = 128 + signal.SIGPIPE
_EXIT_CODES = "Exits with 0 (clean), 1 (findings), 2 (could not run) or 128 + n (signal n)."


class _Commands(click.Group):
    """Those of the table, in its order."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from mapengine.errors import suggest

        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from mapengine.shipped import shipped_mappings

            if args[0] in shipped_mappings() or args[0].endswith((".yaml", ".yml")):
                context.fail(f"{args[0]!r} is a mapping; mapengine run {args[0]} is the command")
            hint = suggest(args[0], COMMANDS) or f"there are {', '.join(COMMANDS)}"
            context.fail(f"No such command {args[0]!r}; {hint}")
        return super().resolve_command(context, args)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"mapengine.commands.{name}").command
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "MAPENGINE"},
    epilog=_EXIT_CODES,
)
@click.version_option(__version__, "-V", "--version", prog_name="mapengine")
@click.option("--debug", is_flag=True, help="Show the traceback of an internal error.")
def cli(debug: bool) -> None:
    """Convert model checkpoints by a declarative mapping.

    A mapping is a YAML file; those that ship are known by name too (`mapengine list`).
    """


def main() -> None:
    """The console script: runs a command and exits with what it came to.

    At once, for the interpreter would take a twentieth of a second to clear its memory.
    """
    status = invoke()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = _UNREAD
    except OSError as error:
        say(f"stdout: {error.strerror}", err=True)
        status = 2
    with contextlib.suppress(OSError):  # whoever reads it may be gone
        sys.stderr.flush()
    os._exit(status)


class _Terminated(BaseException):
    """A signal that ends us, raised so that what is half done is cleared away."""

    def __init__(self, number: int) -> None:
        self.number = number


def _terminate(number: int, frame: object) -> None:
    raise _Terminated(number)


def _stopped(how: str, error: BaseException) -> str:
    """What became of the run, with what was noted on the way out."""
    cause = error.__context__ if isinstance(error, click.Abort) else error
    return "; ".join([how, *getattr(cause, "__notes__", ["nothing is left behind"])])


def _way_out(error: click.ClickException) -> list[str]:
    """What a command line that cannot be read is told beside what click says of it."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None or context.command is cli or context.command.epilog is None:
        return []
    extra = "unexpected extra argument" in error.message
    quoted = ["What holds a blank is one word in quotes, and 5GB has none."] if extra else []
    return [*quoted, context.command.epilog]


def invoke() -> int:
    """Runs the command that `sys.argv` names; its exit status."""
    from mapengine.errors import MapengineError

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, _terminate)
    gc.set_threshold(100_000)  # a plan is many small values, without a cycle among them
    try:
        return int(cli.main(standalone_mode=False) or 0)
    except SystemExit:  # click's answer to a reader that has gone, and to nothing else here
        return _UNREAD
    except (KeyboardInterrupt, click.Abort) as error:
        say(_stopped("interrupted", error), err=True)
        return 128 + signal.SIGINT
    except _Terminated as error:
        say(_stopped("terminated", error), err=True)
        return 128 + error.number
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        for line in [*shown.getvalue().splitlines(), *_way_out(error)]:
            say(line, err=True)
        return 2
    except MapengineError as error:
        return fail(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _UNREAD
    except OSError as error:
        say(f"{error.filename or 'mapengine'}: {error.strerror or error}", err=True)
        return 2
    except Exception as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        kind = type(error).__name__
        say(f"internal error: {kind}: {error} (--debug shows where; please report it)", err=True)
        return 2
