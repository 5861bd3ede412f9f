"""What another place refuses, in our words: theirs may hold keys and signed addresses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mapengine.checkpoints.retries import TRIES, causes, may_pass, status_of
from mapengine.errors import CheckpointError, MapengineError, Problem
from mapengine.executors import Stopped
from mapengine.locations import URL

_CREDENTIALS = "credentials are looked for where the tools of the place keep them: docs/remote.md"
_DENIED = ("Credential", "Token", "Auth", "Gated")


@contextlib.contextmanager
def refusing(url: URL) -> Iterator[None]:
    """Turns whatever error asking a place raises into `CheckpointError`."""
    try:
        yield
    except (MapengineError, Stopped):
        raise
    except Exception as error:
        raise refused(error, url) from error


def refused(error: Exception, url: URL) -> Exception:
    """An error of asking for `url`, as one of ours."""
    if isinstance(error, MapengineError | Stopped):
        return error
    status = status_of(error)
    said = f" ({status})" if status else ""
    if may_pass(error):
        message = f"{url}: {_kind(error)}{said}, {TRIES} times"
        help = "give the same command later: it goes on from what is finished"
        return CheckpointError(Problem("ME522", message, help=help))
    names = [kind.__name__ for one in causes(error) for kind in type(one).__mro__]
    denied = any(word in name for name in names for word in _DENIED)
    if denied or status in (401, 403) or isinstance(error, PermissionError):
        what = "access is denied" if status else "there are no credentials for it"
        return CheckpointError(Problem("ME521", f"{url}: {what}{said}", help=_CREDENTIALS))
    if status == 404 or isinstance(error, FileNotFoundError | NotADirectoryError):
        return CheckpointError(Problem("ME501", f"{url}: there is nothing{said}"))
    return CheckpointError(Problem("ME522", f"{url}: {_kind(error)}{said}"))


def _kind(error: Exception) -> str:
    """The kind of an error: an answer's code, or the name of what was raised first."""
    first = [*causes(error)][-1]
    response = getattr(first, "response", None)
    if isinstance(response, dict):  # botocore
        return str(response.get("Error", {}).get("Code", "refused"))
    return type(first).__name__
