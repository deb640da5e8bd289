"""docs/reference/endpoints.md, made of the cases: python -m tests.endpoints.table > docs/reference/endpoints.md."""

from __future__ import annotations

import shlex
import sys

from tests.endpoints.cases import CASES as ALL
from tests.endpoints.cases import ROWS, Case

CASES = [case for case in ALL if not case.stops]
STOP = [case for case in ALL if case.stops]

HEAD = """\
# Endpoints, and what the first command comes to

Made from the cases of tests/endpoints/cases.py, each of which runs against a real socket in tests/endpoints; do not
edit it here. Every endpoint is imitated on loopback by what its documents and issues say: no provider was asked.

Each is asked for {rows} labels by `batchjob start in.csv --base-url URL --model NAME --labels alpha,beta`: once at an
address nobody knows, as a proxy has it, and once as at its own (`--provider NAME` stands for the host). No label is
wrong in any of them.

- *Refused*: requests that were refused before all rows had their label. They are not paid.
- *In vain*: answers that were paid and labelled no row.

At an address nobody knows {at_once} of {all} label all rows by the first command alone, the other {then} after the
command it prints. Paid in vain: {vain} answers in {of_those} of them, at most {most_vain} in one. Refused: at most
{most_refused} in one. At their own addresses: {known_vain} in vain and {known_refused} refused, in {known} cases.
"""
MISTAKES = """\
## No money, no quota, a wrong model, a wrong key

In each of these {all} one request ends the job with exit code 3 and the endpoint's own words; no row is touched, and
nothing is waited for. What becomes of other faults: [faults](faults.md).
"""
COLUMNS = ("endpoint", "what it does", "first command", "refused", "in vain", "`--provider`", "refused", "in vain")


def document() -> str:
    """The whole page."""
    known = [case for case in CASES if case.known]
    head = HEAD.format(
        rows=ROWS,
        all=len(CASES),
        at_once=sum(not case.then for case in CASES),
        then=sum(bool(case.then) for case in CASES),
        vain=sum(case.vain for case in CASES),
        of_those=sum(bool(case.vain) for case in CASES),
        most_vain=max(case.vain for case in CASES),
        most_refused=max(case.refused for case in CASES),
        known=len(known),
        known_vain=sum(case.known_vain for case in known),
        known_refused=sum(case.known_refused for case in known),
    )
    return "\n".join(
        [head, _line(COLUMNS), _line(("---",) * len(COLUMNS)), *(_line(_cells(case)) for case in CASES), ""]
    )


def _cells(case: Case) -> tuple[str, ...]:
    first = f"says `batchjob {shlex.join(case.then)}`; then all labels" if case.then else "all labels"
    known = (f"`{case.known}`", str(case.known_refused), str(case.known_vain)) if case.known else ("-", "-", "-")
    return (case.endpoint, case.does, first, str(case.refused), str(case.vain), *known)


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(document())
