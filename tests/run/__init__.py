"""How a run works through its rows."""
