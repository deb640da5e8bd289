"""Values of a table on their way from one file to another, so that each comes out as it went in."""
