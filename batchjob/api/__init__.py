"""batchjob for a program or a notebook: what the package offers by name. See docs/guides/python.md.

The process belongs to the caller: collector, switch interval, signals, folder, warnings and streams stay as they are.
"""
