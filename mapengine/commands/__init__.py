"""The commands, one file each; the only room that prints. What they do is in `api`."""
