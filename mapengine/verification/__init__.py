"""Questions about a finished checkpoint, answered as findings.

A check is a function from the `Subject` to a `Check`, and one entry in `CHECKS`. What the headers
tell keeps the codes of the readers (ME5xx), what a plan tells those of plans (ME3xx, ME4xx); the
checks' own are:

ME701  no tensor file            ME702  two checkpoints in one folder
ME703  shards without an index   ME704  wrong total in the index
ME705  metadata without `format: pt`
ME711  a receipt that is none    ME712  a file of the receipt is missing
ME713  a file is not of the size in the receipt
ME714  bytes are not those of the SHA-256 in the receipt
ME715  bytes are not those that the mapping makes of the source
ME721  no good config.json       ME722  no model class that is known
ME723  class and config differ   ME724  a dtype that the tensors are not
ME731  missing keys              ME732  unexpected keys
ME733  other shapes              ME734  no model can be made of this config
ME741  from_pretrained fails     ME742  its report is not empty
ME751  the model does not run    ME752  its logits are of no use
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mapengine.checkpoints.inspection import read_folder
from mapengine.verification.again import check_again
from mapengine.verification.back import check_back
from mapengine.verification.check import Check
from mapengine.verification.files import check_files, check_receipt
from mapengine.verification.logits import check_logits
from mapengine.verification.model import check_class, check_config, check_load
from mapengine.verification.subject import Subject

__all__ = ["CHECKS", "Check", "verify"]

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
    source: str | Path | None = None,
    logits: bool = False,
) -> list[Check]:
    """Asks every check; with `load` False, all but transformers' own loading.

    With the `source` that the folder was made of, every byte is made again and compared; with
    `logits`, the model is run. Nothing in the folder is executed, nothing is fetched, nothing
    printed. Raises `CheckpointError` only where the folder cannot be listed.
    """
    subject = Subject(read_folder(Path(folder)), load)
    checks = [check(subject) for check in CHECKS]
    if source is not None:
        checks.append(check_again(subject, Path(source)))
    if logits:
        checks.append(check_logits(subject))
    return checks
