"""Where an output is made, whichever place it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from mapengine.checkpoints.journal import Finished


class ShardPlace(Protocol):
    """Where shards are made, in `parts`, and who takes those that are whole."""

    @property
    def parts(self) -> Path: ...

    @property
    def sync(self) -> bool: ...

    def add(self, name: str, finished: Finished) -> None: ...


class Place(ShardPlace, Protocol):
    """Where a whole output is made: all but its shards in `new`, those that are whole in `made`."""

    @property
    def new(self) -> Path: ...

    @property
    def made(self) -> Mapping[str, Finished]: ...
