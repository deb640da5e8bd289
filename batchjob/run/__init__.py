"""The loops that label a job's rows."""
