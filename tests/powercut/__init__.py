"""Simulated power cuts under the work table's own SQL."""
