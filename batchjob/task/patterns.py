"""What rules and routes share: patterns that cannot hang a program, and names that are told apart."""

from __future__ import annotations

import difflib
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

from batchjob.errors import SettingError

SECONDS = 1.0
SECONDS_A_CHARACTER = 2e-7
"""What a search may take of the processor's time, and what it may take more for each character of the text. A usual one
takes microseconds, and less than a quarter of that for each character."""
LONGEST = 1_000_000
"""Characters of a pattern with its repetitions written out; it takes memory for each of them."""
_TOKEN = re.compile(
    r"\\[NpP]\{[^}]*\} | \\. | \[\^?\]?(?:\\.|[^\]\\])*(?:\]|\Z) | \{(?P<least>[0-9]*)(?:,[0-9]*)?\} | .",
    re.DOTALL | re.VERBOSE,
)
_REPEATS = frozenset("*+?{")


class PatternTimeout(Exception):
    """A pattern ran out of time, so that nobody knows whether it is found. Its text names the rule or route."""

    def on(self, row: int) -> SettingError:
        """What is said of it; a row is told by its number."""
        return SettingError(
            f"{self} takes too long on the text of row {row:,}, so that nobody knows whether it is found there. It "
            f"tries the same in too many ways, as (a|aa)+$ does: write it otherwise, or take words"
        )


class Pattern:
    """A regular expression, ready to be searched for.

    It means what it means to Python's `re`, but for what docs/explained/decisions.md says.

    Raises:
        SettingError: it is none. `told` begins the sentence.
    """

    def __init__(self, told: str, pattern: str, *, any_case: bool = True) -> None:
        import regex  # here, because it takes a twentieth of a second and few jobs have patterns

        self._told = told
        self._endless = not _REPEATS.isdisjoint(pattern)
        try:
            if _written_out(pattern) > LONGEST:
                raise OverflowError(f"more than {LONGEST:,} characters with its repetitions written out")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what a later Python may take for a set in a set
                flags = regex.VERSION0 | (regex.IGNORECASE if any_case else 0)
                self._search: Any = regex.compile(_as_in_re(pattern), flags).search
        except (regex.error, ValueError, OverflowError, RecursionError) as error:
            raise SettingError(f"{told} {pattern!r} is not valid: {error}") from None

    def found_in(self, text: str) -> bool:
        """Whether a text has it.

        Raises:
            PatternTimeout: nobody knows.
        """
        if not self._endless:
            return self._search(text) is not None
        try:
            return self._search(text, timeout=SECONDS + SECONDS_A_CHARACTER * len(text)) is not None
        except TimeoutError:
            raise PatternTimeout(self._told) from None


def compiled(kind: str, name: str, pattern: str | None) -> Pattern | None:
    """A pattern that is found in any case; None where there is none.

    Raises:
        SettingError: it is not a regular expression.
    """
    return None if pattern is None else Pattern(f"{kind} {name!r}: pattern", pattern)


def _as_in_re(pattern: str) -> str:
    """With each `{` escaped that begins no repetition: to `regex`, x{d} is any text that lacks an x at most."""

    def escaped(token: re.Match[str]) -> str:
        return "\\" + token[0] if token[0] in ("{", "{}") else token[0]

    return _TOKEN.sub(escaped, pattern)


def _written_out(pattern: str) -> int:
    """How long a pattern is with its least repetitions written out."""
    outer: list[int] = []
    length = last = 0
    for token in _TOKEN.finditer(pattern):
        if token[0] == "(":
            outer.append(length)
            length = last = 0
        elif token[0] == ")" and outer:
            length, last = outer.pop() + length, length
        elif token["least"]:
            length += last * (int(token["least"]) - 1)
            last *= int(token["least"])
        else:
            length, last = length + 1, 1
    return length


def check_names(kind: str, names: Sequence[str]) -> None:
    """See that no two rules, or routes, have one name.

    Raises:
        SettingError: two have, or one has none.
    """
    times = Counter(names)
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise SettingError(f"{kind} number {number} has a blank name: give it one, as reports show it")
        if times[name] > 1:
            raise SettingError(f"{kind} {name!r} is there twice: give each {kind} a name of its own")


def nearest(written: str, known: Sequence[str]) -> str:
    """A sentence that asks whether the nearest of the known names was meant; "" where none is near."""
    found = difflib.get_close_matches(written, known, n=1, cutoff=0.5)
    return f" Did you mean {found[0]!r}?" if found else ""
