"""A config as the text of its file: JSON, or YAML where the name ends so."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any

from mapengine.specs import YAML_SUFFIXES


def config_text(name: str, value: Any, sort: bool = True) -> str:
    """`value` as a file of this name holds it."""
    if PurePath(name).suffix in YAML_SUFFIXES:
        return _yaml(value, sort)
    return json.dumps(value, indent=2, sort_keys=sort) + "\n"


def _yaml(value: Any, sort: bool) -> str:
    """YAML that is read alike as version 1.1, which most readers of Python know, and as 1.2.

    JSON would not do: its `1e-05` is a number in 1.2 and a word in 1.1, its `Infinity` a word in
    both. Words are quoted, for what is a word in one may be a number in the other.
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

        def represent_str(self, data: str) -> yaml.ScalarNode:
            return self.represent_scalar("tag:yaml.org,2002:str", data, style='"')

    Dumper.add_representer(str, Dumper.represent_str)
    text: str = yaml.dump(value, Dumper=Dumper, sort_keys=sort, width=float("inf"))
    return text
