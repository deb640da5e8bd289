"""An endpoint that lies, and the table of its lies: see cases.py for the table, docs/faults.md for the same as text."""
