"""The ops, one by one: against their inverses, and against torch."""
