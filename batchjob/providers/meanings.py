"""The words of an error -> what it means: the provider's own words first, then those that hold everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from batchjob.providers.table import Meaning, Provider, Signs, known


def meaning_of(
    provider: Provider,
    status: int,
    names: Iterable[str],
    message: str,
    *,
    sent: Iterable[str] = (),
    anybody: bool = False,
) -> Meaning | None:
    """What an error means, or None where its words are not known.

    Args:
        names: its code, type and reasons, lower case.
        message: its message.
        sent: the texts that were sent. Words that stand in them do not count: endpoints repeat what they were asked.
        anybody: also by the words of all other providers, as long as nothing has been answered. Statuses mean too many
            things for that.
    """
    named, message = frozenset(names), _plain(message)
    repeated = " ".join(map(_plain, sent)) if message else ""
    for signs in (provider.means, known().everywhere):
        found = _by_words(signs, named, message, repeated) or _by_status(signs, status)
        if found is not None:
            return found
    if not anybody:
        return None
    others = (_by_words(one.means, named, message, repeated) for one in known().providers)
    return next((found for found in others if found is not None), None)


def _by_words(signs: Mapping[Meaning, Signs], names: frozenset[str], message: str, repeated: str) -> Meaning | None:
    by_code = (meaning for meaning, one in signs.items() if not one.codes.isdisjoint(names))
    by_message = (
        meaning for meaning, one in signs.items() if any(part in message and part not in repeated for part in one.says)
    )
    return next(by_code, None) or next(by_message, None)


def _by_status(signs: Mapping[Meaning, Signs], status: int) -> Meaning | None:
    return next((meaning for meaning, one in signs.items() if status in one.statuses), None)


def _plain(text: str) -> str:
    """A text in lower case, with one space for any white space."""
    return " ".join(text.lower().split())
