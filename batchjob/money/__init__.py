"""What requests cost, and whether another one can be afforded."""
