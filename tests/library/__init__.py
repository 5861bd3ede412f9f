"""The mappings that ship, held to the official scripts on small checkpoints."""
