"""Questions about a finished checkpoint, answered as findings.

A check is a function from the `Subject` to a `Check`, and one entry in `CHECKS`. What the headers
tell keeps the codes of the readers (ME5xx), what a plan tells those of plans (ME3xx, ME4xx); the
checks' own are ME7xx.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mapengine.checkpoints.inspection import read_folder
from mapengine.locations import Location, location
from mapengine.verification.again import check_again
from mapengine.verification.back import check_back
from mapengine.verification.check import Check, Checks
from mapengine.verification.files import check_files, check_receipt
from mapengine.verification.logits import check_logits
from mapengine.verification.model import check_class, check_config, check_load
from mapengine.verification.subject import Subject

CHECKS: tuple[Callable[[Subject], Check], ...] = (
    check_files,
    check_receipt,
    check_config,
    check_class,
    check_load,
    check_back,
)
"""Those that are always asked; with a source `check_again` is too, and `check_logits` if asked."""


def verify(
    folder: str | Path,
    *,
    load: bool = True,
    source: str | Location | None = None,
    logits: bool = False,
    follow_links: bool = False,
) -> Checks:
    """Asks every check; with `load` False, all but transformers' own loading.

    With the `source` that the folder was made of, every byte is made again and compared; with
    `logits`, the model is run. Nothing in the folder is executed, nothing is fetched, nothing
    printed; links that lead out of it are findings, unless they are to be followed. Raises
    `CheckpointError` only where the folder cannot be listed.
    """
    subject = Subject(read_folder(Path(folder), follow_links), load)
    checks = Checks(check(subject) for check in CHECKS)
    if source is not None:
        checks.append(check_again(subject, location(source)))
    if logits:
        checks.append(check_logits(subject))
    return checks
