"""Two of a kind beside each other: checkpoints by header or by value, mappings by what they do."""
