"""Speed, memory and scale, measured as ratios in alternation. `python -m benchmarks --help`."""
