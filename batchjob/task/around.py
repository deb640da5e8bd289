"""Whether the text around a mark lets it stand: what runs on into it, and what follows it.

Before a mark only a sentence may stand open that announces a label. What follows may give a reason, and nothing else.
Whoever takes a label back, restates a form or quotes the text says something that is neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from typing import Protocol

from batchjob.task import prose, signals

_LOOKED_AT_BEFORE = 300
_LOOKED_AT_ABOVE = 1000
_MOST_BEHIND = 4000
"""More text behind a mark is more than a reason."""
_OPENERS = " \t\n\r\\[($`*_#>-"
"""What may stand between a sentence and what is marked, as it belongs to the mark."""

_KEY = re.compile(
    r"[\W_]*+(?P<key>[^:\n<>]{1,30}?)[\W_]*(?::(?=[*_]*(?:\s|[^\x00-\x7f]|\Z))|(?<=[^\x00-\x7f]):)|\s*+<(?P<tag>\w+)>"
)
_NOT_AT_ALL = re.compile(r"\W*(?:0(?:[.,]0+)?\s*%?|zero|none|null)\W*", re.IGNORECASE)  # how sure it is
_CLOSING_TAG = re.compile(r"\s*+</\w+>\s*+\Z")
_SENTENCE_END = re.compile(r"[.!?…।؟][\"'”»)*_]*+\s|[.!?…।؟][\"'”»)*_]*+\Z|[。！？]|\n\s*\n")


class Labels(Protocol):
    """What is asked of a set of labels."""

    @property
    def in_any_case(self) -> Set[str]:
        """Short labels that count in any case, in lower case: yes and no, where the set has both."""

    def named(self, text: str) -> str | None:
        """The label that a text is, an empty text where it may be several, or None where it is none."""

    def mentioned(self, text: str) -> set[str]:
        """The labels that stand in a text."""


def sets_aside(text: str, begin: int, start: int, labels: Labels, label: str, *, bare: bool) -> bool:
    """Whether what stands before a mark, up to the mark before it, leaves open whether the label is given.

    Args:
        bare: the mark is a mere line, as in a heading, a signature or a quotation.
    """
    above = text[max(begin, start - _LOOKED_AT_ABOVE) : start].rstrip(_OPENERS)
    before = text[max(begin, start - _LOOKED_AT_BEFORE) : start].rstrip()
    begins = max((end.end() for end in _SENTENCE_END.finditer(before)), default=0)
    sentence = before[begins:].rstrip(_OPENERS).strip()
    is_open = any(map(str.isalnum, sentence))
    announced = is_open and prose.announces_in(sentence)
    if _says_otherwise(above.removesuffix(sentence) if announced else above, labels, label):
        return True
    if sentence.endswith((":", "：")):
        return not announced
    if not is_open:
        said = _without_labels(before, labels)
        return any(map(signals.supposes, prose.sentences(said)[-1:])) or (bare and prose.addresses(said))
    if bare:
        return not (_ends_with_another(sentence, label, labels) or announced or _is_reason(sentence))
    if _KEY.match(sentence) or _ends_with_another(sentence, label, labels):
        return False
    return signals.denies(sentence) or signals.supposes(sentence)


def _says_otherwise(above: str, labels: Labels, label: str) -> bool:
    """Whether the text above asks for something first, or speaks of the label and gives another, or denies this one."""
    if prose.asks(above):
        return True
    for sentence in _SENTENCE_END.split(above):
        if prose.speaks_of_labels(sentence):
            gives_another = bool(labels.mentioned(sentence) - {label})
            if gives_another != signals.denies(sentence):
                return True
    return False


def _without_labels(text: str, labels: Labels) -> str:
    """The text without the labels in it, which may be such words as speak against one: `maybe`, `you`."""
    for label in sorted(labels.mentioned(text), key=len, reverse=True):
        text = re.sub(re.escape(label), " - ", text, flags=re.IGNORECASE)
    return text


def _is_reason(sentence: str) -> bool:
    key = _KEY.match(sentence)
    return bool(key and prose.gives_reason(key["key"] or key["tag"]))


def _ends_with_another(sentence: str, label: str, labels: Labels) -> bool:
    """Whether a sentence ends with another label, so that it is over: `not refund`."""
    spoken = sentence.split()
    found = {labels.named(" ".join(spoken[-count:])) for count in range(1, 6)}
    return bool(found - {None, label})


def takes_back(behind: str, labels: Labels, label: str, *, keys_only: bool) -> bool:
    """Whether the text behind a mark does anything else than give a reason for it.

    Args:
        keys_only: a reason must stand under a key, as prose may be what the mark is the heading of.
    """
    if len(behind) > _MOST_BEHIND:
        return bool(behind.strip())
    for said, is_reason in _parts(behind):
        if signals.retracts(said):
            return True
        others = labels.mentioned(said) - {label}
        if is_reason:
            is_other = labels.named(said) not in (None, label)
            if is_other or _NOT_AT_ALL.fullmatch(said) or (others and prose.speaks_of_labels(said)):
                return True
        elif keys_only or others or not prose.explains(said):
            return True
    return False


def _parts(behind: str) -> Iterator[tuple[str, bool]]:
    """The lines that say something, and whether each is a reason under a key; a blank line ends what a key began."""
    in_reason = key_alone = False
    for line in behind.splitlines():
        if not any(map(str.isalnum, line)) or _CLOSING_TAG.match(line):
            in_reason = in_reason and (key_alone or bool(line.strip()))
            continue
        key = _KEY.match(line)
        said = line[key.end() :] if key else line
        if key is None and prose.gives_reason(line):  # a heading
            in_reason = key_alone = True
            continue
        if key:
            name = key["key"] or key["tag"]
            in_reason = prose.gives_reason(name) or signals.announces_kind(name)
        key_alone = key is not None and not any(map(str.isalnum, said))
        yield (said if in_reason else line), in_reason
