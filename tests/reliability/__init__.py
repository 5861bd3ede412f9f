"""What becomes of a run that is killed, starved, raced or lied to."""
