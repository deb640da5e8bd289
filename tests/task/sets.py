"""Sets of labels that answers are read with."""

from __future__ import annotations

from batchjob.task.labels import LabelSet

DESK = LabelSet(["billing", "refund", "other", "card_arrival", "change pin", "exchange-rate"])
DEPARTMENTS = LabelSet(["HR", "IT", "Finance"])
LANGUAGES = LabelSet(["en", "de", "it", "no", "is"])
LETTERS = LabelSet(["A", "B", "C", "D"])
KINDS = LabelSet(["help request", "complaint", "information", "other"])
BINARY = LabelSet(["0", "1"])
STARS = LabelSet(["1", "2", "3", "4", "5"])
GRADES = LabelSet(["A+", "B+", "C+"])
CODE = LabelSet(["C++", "Java", "Python"])
AGES = LabelSet(["<18", "18-65", ">65"])
FACES = LabelSet([":)", ":(", "neutral"])
TONES = LabelSet(["positiv", "negativ", "neutral"])


def label_in(labels: LabelSet, answer: str) -> str | None:
    found = labels.read(answer)
    return found.label if found else None
