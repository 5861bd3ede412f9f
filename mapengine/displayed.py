"""What a notebook shows of a value: the value says that it can be shown, `report.notebook` how."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WRITER = "mapengine.report.notebook"
"""Named and not imported: no value depends on how it looks, and only a notebook pays for it."""


class Displayed:
    """A value that shows itself in a notebook."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        """What IPython, and all that follow it, ask of the last value of a cell."""
        return str(_writer().html(self))


def _writer() -> Any:
    return import_module(_WRITER)


def traceback_lines(error: Exception) -> list[str]:
    """What is printed of an error that nothing catches."""
    return list(_writer().lines(error))
