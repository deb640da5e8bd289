"""A report as Markdown, that of GitHub with its tables."""

from __future__ import annotations

import re
from collections.abc import Iterator

from batchjob.printable import printable
from batchjob.views.report.parts import Block, Cell, Code, Facts, Ledger, Listing, Report, Span, Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]|~$@]|:(?=//|\w+:))")
"""What may mean something to Markdown wherever it stands."""
_FIRST = re.compile(r"^(\s*)([#+=-]|\d+[.)](?=\s))")
"""And where a text begins."""


def markdown(report: Report) -> bytes:
    """The file."""
    figures = [
        f"- {_text(one.name)}: **{_text(f'{one.figure} {one.unit}'.strip())}**, {_text(one.said)}"
        for one in report.headlines
    ]
    parts = [_text(report.above), f"# {_text(report.title)}", "".join(map(_span, report.lead)), "\n".join(figures)]
    for section in report.sections:
        parts += [f"## {_text(section.title)}", _text(section.said)]
        parts += [part for block in section.blocks for part in _block(block)]
    return ("\n\n".join(filter(None, [*parts, _text(report.foot)])) + "\n").encode()


def _span(span: Span) -> str:
    return f"**{_text(span.text)}**" if span.strong else _text(span.text)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Table():
            yield _table(block)
        case Listing(groups):
            for title, texts in groups:
                yield f"**{_text(title)}**"
                yield "\n".join(f"- {_text(one)}" for one in texts)
        case Ledger():
            return  # the table beside it has the numbers
        case Code(content):
            yield "\n".join(f"    {printable(line)}" for line in content.split("\n"))
        case Facts(pairs):
            yield "\n".join(f"- {_text(name)}: {_text(said)}" for name, said in pairs)


def _table(table: Table) -> str:
    """The cells that say something; one that is only drawn has no column."""
    kept = [at for at in range(len(table.rows[0])) if any(row[at].text for row in table.rows)] if table.rows else []
    heads = [table.head[at] if at < len(table.head) else Cell("") for at in kept]
    ruler = ["---:" if table.rows[0][at].number else "---" for at in kept]
    rows = [[_text(row[at].text) for at in kept] for row in table.rows]
    lines = [f"| {' | '.join(cells)} |" for cells in ([_text(head.text) for head in heads], ruler, *rows)]
    return "\n".join([*([f"{_text(table.caption.rstrip('.'))}:", ""] if table.caption else []), *lines])


def _text(content: str) -> str:
    """Text that stays text: no markup, no HTML, no link, no line break."""
    shown = _FIRST.sub(
        lambda found: f"{found[1]}{found[2][:-1]}\\{found[2][-1]}", _SPECIAL.sub(r"\\\1", printable(content))
    )
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("www.", "www&#46;")
