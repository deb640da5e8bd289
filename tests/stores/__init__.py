"""What stands behind the door of the work table: one suite for every store."""
