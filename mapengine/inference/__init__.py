"""Mappings from what is there: by example, from two checkpoints; as a draft, from headers alone."""
