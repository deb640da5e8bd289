"""An endpoint that lies, and its lies: cases.py has them as a table, docs/reference/faults.md as text."""
