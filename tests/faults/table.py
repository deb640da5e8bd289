"""The table of faults as Markdown: python -m tests.faults.table > docs/reference/faults.md."""

from __future__ import annotations

import sys

from tests.faults.cases import CASES, Case

HEAD = """\
# What can go wrong with a request, and what becomes of the row

Made from the cases of tests/faults/cases.py, each of which runs against a real socket in tests/test_faults.py; do not
edit it here. The outcomes: *not sent*, no byte left; *rejected*, an answer that says it was not done; *answered*, a
completion, paid whether usable or not; *lost*, sent and no whole answer seen, so it may have been paid. Row state,
error kind and exit code are those when the run is over; an error kind in brackets is in the ledger of requests only,
for the row got its label or is still to be done.
"""
COLUMNS = ("fault", "outcome", "what batchjob does", "row state", "error kind", "exit code")


def document() -> str:
    """The whole page."""
    groups = dict.fromkeys(case.group for case in CASES)
    return "\n".join([HEAD, *(_section(group) for group in groups)])


def _section(group: str) -> str:
    lines = [f"## {group[0].upper()}{group[1:]}", "", _line(COLUMNS), _line(("---",) * len(COLUMNS))]
    lines += [_line(_cells(case)) for case in CASES if case.group == group]
    return "\n".join(lines) + "\n"


def _cells(case: Case) -> tuple[str, ...]:
    kind = case.kind if case.state in ("failed", "unconfirmed") else f"({case.kind})" if case.kind else ""
    if case.state == "unconfirmed":
        kind = f"unconfirmed ({case.kind})"
    return (case.fault, case.outcome.replace("_", " "), case.does, case.state, kind, str(case.exit))


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(document())
