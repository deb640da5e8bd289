"""The work table in SQLite."""
