"""How good are labels, beside those that a person gave, or beside another job's?"""
