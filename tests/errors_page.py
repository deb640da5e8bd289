"""docs/reference/errors.md, every error kind. `python tests/errors_page.py` (make reference) writes it."""

from __future__ import annotations

from pathlib import Path

from batchjob.exchange.decide import ADVICE, PAID_KINDS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "errors.md"
HEAD = """\
# Error kinds

<!-- made by `make reference` from batchjob/exchange/decide.py; do not edit -->

`batchjob errors` groups the rows that failed by these words, and `--kind` takes them. Some stop a job instead: then
they stand in the last line of a run, with exit code 3. What an endpoint must do for each: [faults.md](faults.md).
`paid` says that an answer was bought; it is kept, and read again when the labels or `--fallback` change.

| kind | paid | what to do |
|---|---|---|
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(
        f"| `{kind}` | {'yes' if kind in PAID_KINDS else ''} | {advice} |\n" for kind, advice in sorted(ADVICE.items())
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
