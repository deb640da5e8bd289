"""What people said of the rows of jobs, in a log of its own beside the database: `batchjob.db.corrections`, or a table
of its own in PostgreSQL.

One process writes a database file, and a person should not wait for it. So corrections are not in the work table: the
label that the job gave stays there, and who reads both says which one counts.
"""
