"""The mappings that come with the package. Apart, so that naming them loads nothing else."""

from __future__ import annotations

from pathlib import Path


def shipped_mappings() -> dict[str, Path]:
    """The mappings that come with the package, by name."""
    inside = Path(__file__).parent / "mappings"
    folder = inside if inside.is_dir() else Path(__file__).parent.parent / "mappings"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
