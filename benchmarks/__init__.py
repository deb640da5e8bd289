"""One script per question; `python -m benchmarks` runs them all and writes each result beside its script."""
