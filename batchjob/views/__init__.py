"""A job as a person or a program reads it."""
