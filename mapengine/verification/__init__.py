"""Questions about a finished checkpoint, and the proof of a mapping."""
