"""Ways to reach a model. A new one is a module here and a line in the command line's wiring (cli/run.py)."""
