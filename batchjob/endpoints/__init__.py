"""Ways to reach a model. A new one is a module here, and is chosen in `_endpoint` in jobs/run.py."""
