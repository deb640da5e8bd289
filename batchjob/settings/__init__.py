"""Every setting: how it is declared, its default and check, and the files that give it."""
