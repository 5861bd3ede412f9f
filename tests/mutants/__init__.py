"""Mistakes planted in the mappings that ship, one at a time, and what catches each."""
