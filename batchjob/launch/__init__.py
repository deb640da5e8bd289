"""Workers begun by what a company already has. It starts processes, and knows nothing of rows."""
