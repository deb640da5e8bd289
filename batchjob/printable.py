"""What a file or an endpoint said, made fit for a terminal or a spreadsheet."""

from __future__ import annotations

import re

REPLACED = "\N{REPLACEMENT CHARACTER}"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet may take for a formula (OWASP, "CSV Injection")."""

_PLAIN_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_NO_NUMBER = re.compile(
    r"[+-]?0\d[\d.]*|\d{16,}|\d+e\d+|\d{1,4}[-/]\d{1,4}" rf"|{_MONTH}[- /.]?\d{{1,4}}|\d{{1,4}}[- /.]?{_MONTH}",
    re.ASCII | re.IGNORECASE,
)
"""Digits that are none of a number: leading zeros, more than a spreadsheet keeps, 12E3 as a name. Nor are 1-2 or MAR1 a
date: one has three parts.
"""


_PASSWORD = re.compile(r"(:/{1,2}[^\s/:@]*):\S*@")
"""Of an address, also of one that was taken for a path."""
_PARAMETER = re.compile(r"([?&](?:ssl)?password=)[^&\s'\"]+", re.IGNORECASE)
"""The same as a parameter of an address."""


def without_passwords(text: str) -> str:
    """Text whose addresses (https://user:password@host, or ?password=...) have none."""
    text = _PASSWORD.sub(r"\1@", text)
    return _PARAMETER.sub(r"\1PASSWORD", text) if "password=" in text.lower() else text


def printable(text: str) -> str:
    """Text on one line, without control characters or terminal escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char in "\n\t\r" else REPLACED for char in text)


def neutral_cell(value: str) -> str:
    """The cell, with an apostrophe before what a spreadsheet would run as a formula. Numbers such as -5 stay."""
    if value.startswith(FORMULA_STARTS) and not _PLAIN_NUMBER.fullmatch(value):
        return "'" + value
    return value


def spreadsheet_cell(value: str) -> str:
    """The cell as a spreadsheet will show it: formulas harmless, and digits such as 007 not taken for a number."""
    return f'="{value}"' if _NO_NUMBER.fullmatch(value) else neutral_cell(value)
