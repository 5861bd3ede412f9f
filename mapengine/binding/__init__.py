"""A mapping's names bound to one model: its config, its layout, its tensors by key."""
