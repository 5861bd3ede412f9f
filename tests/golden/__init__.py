"""What the official script makes of small checkpoints, and the means to compare with it."""
