"""A declarative mapping engine for model checkpoints."""

__version__ = "0.1.0"
