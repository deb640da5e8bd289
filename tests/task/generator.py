"""Answers as models give them, each with the label a person would take from it, or None.

What is right follows from the meaning of each form, and not from how answers are read. Where a person could take an
answer for either of two labels, it gives none.

    python -m tests.task.generator 1000000 [SEED]

prints how many were read wrongly (a label that is not the right one) and how many were refused that have a label.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from batchjob.task.labels import LabelSet
from tests.task.templates import (
    ABOUT,
    CUT_THOUGHT,
    DENIABLE,
    DENIED,
    DENIED_ABOVE,
    KEYS,
    LABEL_SETS,
    PROSE,
    REASONED,
    SAID,
    TALK,
    THOUGHT,
    TWO,
)
from tests.task.templates_around import EXPLAINED, SET_ASIDE


class Case(NamedTuple):
    labels: tuple[str, ...]
    answer: str
    right: str | None
    form: str


_Chance = random.Random
_Make = Callable[[_Chance, tuple[str, ...], str, str], tuple[str, str | None]]


def _of(templates: tuple[str, ...], *, gives: bool) -> _Make:
    """A form made of templates, of which each says x, or says none."""

    def make(chance: _Chance, labels: tuple[str, ...], x: str, y: str) -> tuple[str, str | None]:
        template = chance.choice(templates)
        jx, jy, jnotx = (json.dumps(text, ensure_ascii=chance.random() < 0.3) for text in (x, y, f"not {x}"))
        answer = template.format(x=x, y=y, jx=jx, jy=jy, jnotx=jnotx, about=chance.choice(ABOUT))
        return answer, x if gives else None

    return make


def _respelled(chance: _Chance, labels: tuple[str, ...], x: str, _: str) -> tuple[str, str | None]:
    """The label in other capitals, or with other signs between its words, alone or in a form that gives it."""
    changes: list[Callable[[str], str]] = [
        *(str.upper, str.lower, str.title, str.capitalize, str.swapcase),
        *(
            lambda text: text.replace("_", " "),
            lambda text: text.replace(" ", "_"),
            lambda text: text.replace(" ", "  "),
        ),
        lambda text: text.replace("-", "_") if not any(letter.isdigit() for letter in text) else text,
    ]
    said = chance.choice(changes)(x)
    answer = _of(SAID, gives=True)(chance, labels, said, said)[0]
    return answer, _heard(labels, said)


def _altered(chance: _Chance, labels: tuple[str, ...], x: str, _: str) -> tuple[str, str | None]:
    """The label with a sign, a digit or a symbol more, less or other than it has: another answer."""
    mirrored = x.translate(str.maketrans("()<>+-", ")(><-+"))
    said = chance.choice(
        [
            *(f"-{x}", f"+{x}", f"<{x}", f">{x}", f"{x}+", f"{x}-", f"{x}#", f"{x}%", f"{x}/10", f"{x}.5", f"0.{x}"),
            *(
                f"{x}{x}",
                f"{x}0",
                f"{x}²",
                f"~{x}",
                f"!{x}",
                f"{x}*",
                f"${x}",
                f"{x}=",
                f"≥{x}",
                f"- {x[1:]}",
                mirrored,
            ),
            *(x[1:], x[:-1], f"{x}s", f"un{x}"),
        ]
    )
    inner = said.strip()
    wrap = chance.choice(("{}", "{}", "**{}**", "Label: {}", '{{"label": "{}"}}', "So:\n\n{}"))
    return wrap.format(said), inner if inner in labels else _heard(labels, inner) if inner != mirrored else None


def _talk(chance: _Chance, labels: tuple[str, ...], x: str, _: str) -> tuple[str, str | None]:
    talk = chance.choice(TALK)
    return talk, _heard(labels, talk.strip().rstrip("."))


def _heard(labels: tuple[str, ...], said: str) -> str | None:
    """The label a person hears in something said alone: the only one that is alike, in the closest of these ways."""
    for sounds in (_evenly_spaced, str.casefold, _sounds):
        alike = [label for label in labels if sounds(label) == sounds(said)]
        if alike:
            return alike[0] if len(alike) == 1 else None
    return None


def _evenly_spaced(text: str) -> str:
    return " ".join(text.split())


def _sounds(text: str) -> str:
    """A text without capitals, and with one sign between its words; a `-` beside a digit belongs to it."""
    return re.sub(r"[ _]+|(?<=[^\W\d])-(?=[^\W\d])", " ", text.casefold())


FORMS: dict[str, tuple[_Make, int]] = {
    "said": (_of(SAID, gives=True), 20),
    "respelled": (_respelled, 10),
    "reasoned": (_of(REASONED, gives=True), 10),
    "thought": (_of(THOUGHT, gives=True), 8),
    "denied above": (_of(DENIED_ABOVE, gives=True), 8),
    "prose": (_of(PROSE, gives=True), 8),
    "talk": (_talk, 8),
    "denied": (_of(DENIED, gives=False), 14),
    "explained": (_of(EXPLAINED, gives=True), 8),
    "set aside": (_of(SET_ASIDE, gives=False), 14),
    "two": (_of(TWO, gives=False), 10),
    "altered": (_altered, 12),
    "as a key": (_of(KEYS, gives=False), 6),
    "cut thought": (_of(CUT_THOUGHT, gives=False), 8),
}


def cases(count: int, seed: int = 0) -> Iterator[Case]:
    """So many cases; the same for the same seed."""
    chance = random.Random(seed)
    forms, weights = list(FORMS), [weight for _, weight in FORMS.values()]
    for form in chance.choices(forms, weights, k=count):
        labels = chance.choice(DENIABLE if form == "denied" else LABEL_SETS)
        x, y = chance.sample(labels, 2)
        answer, right = FORMS[form][0](chance, labels, x, y)
        bare = answer.strip()
        yield Case(labels, answer, bare if bare in labels else right, form)


def main(count: int, seed: int) -> None:
    sets = {labels: LabelSet(labels) for labels in LABEL_SETS}
    asked, refused, wrong = Counter[str](), Counter[str](), Counter[str]()
    shown: dict[str, list[Case]] = {}
    for case in cases(count, seed):
        found = sets[case.labels].read(case.answer)
        if case.right is not None:
            asked[case.form] += 1
        if found is not None and found.label != case.right:
            wrong[case.form] += 1
            shown.setdefault(f"WRONG, {case.form}: {found.label!r}", []).append(case)
        elif found is None and case.right is not None:
            refused[case.form] += 1
            shown.setdefault(f"refused, {case.form}", []).append(case)
    print(f"{count} answers, seed {seed}: {wrong.total()} read wrongly, {refused.total()} of {asked.total()} refused")
    for form in FORMS:
        share = f"{refused[form] / asked[form]:.2%} of {asked[form]} refused" if asked[form] else "none gives a label"
        print(f"  {form:<14}{wrong[form]:>6} wrong   {share}")
    for title, found_cases in sorted(shown.items()):
        for case in found_cases[:: max(1, len(found_cases) // 6)][:6]:
            print(f"{title}: {case.answer!r} in {case.labels}, right: {case.right!r}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
