"""Whether the fields of a job can be asked, and go with its other settings."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable

from batchjob.errors import SettingError
from batchjob.records import CONFIDENCE, DETAIL_COLUMNS, MODEL_LABEL, RESULT_COLUMNS
from batchjob.settings.config import MOST_LABEL_CHARACTERS, JobConfig
from batchjob.settings.tables import Field

MOST_FIELDS = 30
LONGEST_NAME = 40
TAKEN = frozenset({"fields", "id", "number"})
"""Names that an answer, or a row, has in another meaning."""
COLUMNS = frozenset({*RESULT_COLUMNS[1:], *DETAIL_COLUMNS, MODEL_LABEL, CONFIDENCE})
"""Names of the columns that an export has beside the fields, which stand in the place of its label: of two alike, a
reader sees one."""
OF_ONE_LABEL = {
    "labels": "each field of kind one or several has its own",
    "descriptions": "each field has its own",
    "fallback": "a field that is not answered fails alone, and the others are kept",
    "rules": "they give a row one label",
    "examples": "they have one label each",
    "draw_examples": "they have one label each",
}
"""Settings that are about the one label of a row, and why they do not go with fields."""


BELONGS = {
    "one and several": ("labels", "descriptions"),
    "number": ("min", "max", "decimals"),
    "text": ("max_length",),
}
"""Which kinds of field what stands in one is for."""
PLAIN = Field("plain")


def folded(name: str) -> str:
    """A name as it is looked for in an answer: models change capitals, and what stands between words."""
    return "_".join(name.casefold().replace("-", " ").replace("_", " ").split())


def check_fields(config: JobConfig) -> None:
    """See that the fields can be asked.

    Raises:
        SettingError: one cannot; the text names it.
    """
    for name, why in OF_ONE_LABEL.items():
        if getattr(config, name):
            raise SettingError(f"{name.replace('_', ' ')} cannot be given with [[fields]]: {why}")
    if len(config.fields) > MOST_FIELDS:
        raise SettingError(f"[[fields]]: {len(config.fields)} are more than one request is good for, {MOST_FIELDS}")
    times = Counter(folded(field.name) for field in config.fields)
    for field in config.fields:
        if wrong := _wrong(field):
            raise SettingError(f"field {field.name!r}: {wrong}")
        if times[folded(field.name)] > 1:
            raise SettingError(f"field {field.name!r} is there twice: capitals and _ do not tell names apart")


def _wrong(field: Field) -> str:
    """What is wrong with a field, or ""."""
    name = field.name
    if not (name.isascii() and name.isidentifier() and folded(name)) or len(name) > LONGEST_NAME:
        return f"a name is made of up to {LONGEST_NAME} letters a to z, digits and _"
    if folded(name) in TAKEN | COLUMNS:
        return "that is the name of something else in an answer or an export: give it another one"
    for kinds, names in BELONGS.items():
        other = next((name for name in names if getattr(field, name) != getattr(PLAIN, name)), None)
        if other and field.kind not in kinds.split(" and "):
            return f"{other} is for kind {kinds}, and this is {field.kind}"
    if field.kind in ("one", "several"):
        return _wrong_labels(field)
    if field.kind == "number" and (field.min is None or field.max is None or field.min >= field.max):
        return "a number needs min and max, the smaller first"
    whole = field.min is None or field.max is None or (field.min == int(field.min) and field.max == int(field.max))
    return "" if field.decimals or whole else "min and max of a whole number are whole: or give decimals"


def _wrong_labels(field: Field) -> str:
    if not field.labels:
        return f'kind {field.kind} needs labels = ["...", "..."]'
    if problem := next(filter(None, map(label_problem, field.labels)), ""):
        return problem
    if given_twice(field.labels):
        return "a label is given twice"
    unknown = next((label for label in field.descriptions if label not in field.labels), None)
    return "" if unknown is None else f"{unknown!r} is described, and is none of its labels"


def given_twice(labels: Iterable[str]) -> str:
    """The first label that is there more than once, in whichever form of Unicode: they look the same. "": none is."""
    found = Counter(unicodedata.normalize("NFC", label) for label in labels)
    return min((label for label, times in found.items() if times > 1), default="")


def label_problem(label: str) -> str:
    """Why a text can be no label; "" where it can."""
    if len(label) > MOST_LABEL_CHARACTERS:
        return f"label {label[:20] + '...'!r} has {len(label):,} characters, {MOST_LABEL_CHARACTERS:,} at most"
    if not label.strip() or label != label.strip() or any(ord(c) < 32 or ord(c) == 127 for c in label):
        return f"label {label!r} is blank, or has spaces around it or control characters in it"
    return ""
