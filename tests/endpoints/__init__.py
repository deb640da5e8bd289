"""The endpoints people have, imitated: what each does, and what the first command comes to there."""
