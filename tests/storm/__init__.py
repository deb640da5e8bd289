"""Storms: the installed command killed at random moments, judged by a ledger it cannot write."""
