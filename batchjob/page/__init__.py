"""A local page on which a person sees the jobs of a database: a server for one browser, which never writes to it."""
