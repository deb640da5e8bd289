"""docs/reference/json.md, the keys of each --json. `python tests/json_page.py` (make reference) writes it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from batchjob.views.cache import Cache
from batchjob.views.compare import Comparison
from batchjob.views.forecast import Profile
from batchjob.views.jobs_table import JobEntry
from batchjob.views.problems import Problems
from batchjob.views.score import ScoreReport
from batchjob.views.status import Status
from batchjob.views.trial import Trial

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "json.md"
HEAD = """\
# JSON documents

<!-- made by `make reference` from batchjob/views; do not edit -->

The keys of what `--json` prints, in order. They are stable: more may be added, and none goes or changes its meaning.
`rows.done` is the key `done` of the object `rows`; `labels[].label` is that of each object of the array `labels`, and
`saved.*.usd` that of each value of the object `saved`, whose keys are data. `or null` says that it may be unknown, or
that there is none. Shares are from 0 to 1, times UTC epoch seconds. `start`, `resume` and `retry` print what `status`
does, with `run` behind it: what this run did.
"""
DOCUMENTS: dict[str, type[msgspec.Struct]] = {
    "status": Status,
    "errors": Problems,
    "jobs": JobEntry,
    "try": Trial,
    "score": ScoreReport,
    "compare": Comparison,
    "profile": Profile,
    "cache stats": Cache,
}
NAMES = {str: "text", int: "number", float: "number", bool: "true or false"}
COMMENT = re.compile(r"^    (\w+): [^#\n]*?# (.*)$", re.MULTILINE)


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for command, kind in DOCUMENTS.items():
        many = ": an array, each with" if kind is JobEntry else ""
        lines += [f"## {command}{many}", "", "| key | is | |", "|---|---|---|"]
        lines += [f"| `{key}` | {is_} | {said} |" for key, is_, said in _keys(kind, "")]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _keys(kind: type[msgspec.Struct], before: str) -> Iterator[tuple[str, str, str]]:
    said = {name: words for one in reversed(kind.__mro__) for name, words in _comments(one)}
    hints = get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        key, is_ = before + field.encode_name, hints[field.name]
        inner, path = _inner(is_)
        yield key, _words(is_), said.get(field.name, "").replace("|", "\\|")
        if inner is not None:
            yield from _keys(inner, f"{key}{path}.")


def _comments(kind: type) -> list[tuple[str, str]]:
    return COMMENT.findall(inspect.getsource(kind)) if kind.__module__.startswith("batchjob") else []


def _inner(kind: Any) -> tuple[type[msgspec.Struct] | None, str]:
    """The objects that a value is made of, and the way to them."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind, ""
    arguments = [one for one in get_args(kind) if one not in (NoneType, ...)]
    if not arguments or get_origin(kind) is Literal:
        return None, ""
    found, path = _inner(arguments[-1])
    step = {tuple: "[]", list: "[]", dict: ".*"}.get(get_origin(kind) or NoneType, "")
    return found, step + path


def _words(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(["null" if one is NoneType else _words(one) for one in arguments])
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if origin in (tuple, list):
        return f"array of {_words(arguments[0])}"
    if origin is dict:
        return f"object of {_words(arguments[1])}"
    if issubclass(kind, Enum):
        return ", ".join(f"`{one.value}`" for one in kind)
    return NAMES.get(kind, "object")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
