"""One request and its reply, from claim to conclusion."""
