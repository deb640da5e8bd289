"""Work tables. SQLite is the one there is; another is a module and its .sql here, and a folder of migrations."""
