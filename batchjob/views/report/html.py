"""A report as one HTML file: no script, nothing loaded, its charts as SVG; a policy in it forbids all else."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

from batchjob.views.report.markup import Markup, breakable, element, lines
from batchjob.views.report.parts import Block, Cell, Code, Facts, Headline, Ledger, Listing, Report, Section, Table

MOST_COLUMNS = 7
"""More have no room on a small screen, where they are pushed sideways."""
MANY_ROWS = 30
"""More rows of one bar each stand in three columns."""


def html(report: Report) -> bytes:
    """The file."""
    head = element(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        element("title", report.above),
        Markup(f"<style>{_style()}</style>"),
    )
    links = (element("a", one.title, href=f"#{one.anchor}") for one in report.sections)
    header = element(
        "header",
        element("p", report.above, class_="dim"),
        element("h1", report.title),
        element("p", *(element("b", span.text) if span.strong else span.text for span in report.lead), class_="lead"),
        element("dl", *map(_headline, report.headlines), class_="facts"),
        element("nav", *links, class_="toc", aria_label="Contents"),
    )
    main = element("main", header, *map(_section, report.sections))
    body = element("body", main, element("footer", element("p", report.foot)))
    return f'<!doctype html>\n<html lang="en">\n{head}\n{body}\n</html>\n'.encode()


@cache
def _style() -> str:
    return resources.files(__package__).joinpath("style.css").read_text("utf-8").strip()


def _policy() -> str:
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'"


def _headline(one: Headline) -> Markup:
    unit = [" ", element("small", one.unit)] if one.unit else []
    figure = element("dd", breakable(one.figure), *unit, class_="big")
    return element("div", element("dt", one.name), figure, element("dd", one.said))


def _section(one: Section) -> Markup:
    return element("section", element("h2", one.title), element("p", one.said), *map(_block, one.blocks), id=one.anchor)


def _block(block: Block) -> Markup:
    match block:
        case Table():
            return _many(block) if block.form == "bars" and len(block.rows) > MANY_ROWS else _table(block)
        case Listing(groups):
            return element("div", *(_group(title, texts) for title, texts in groups), class_="exs")
        case Ledger(parts):
            return _ledger(parts)
        case Code(content):
            return element("pre", lines(content))
        case Facts(pairs):
            named = (cell for name, said in pairs for cell in (element("dt", name), element("dd", said)))
            return element("dl", *named, class_="kv")


def _group(title: str, texts: tuple[str, ...]) -> Markup:
    return element("div", element("h3", title), element("ul", *(element("li", one) for one in texts)), class_="ex")


# ---------------------------------------------------------------- tables


def _table(table: Table) -> Markup:
    head = (
        element("thead", element("tr", *(_head(cell) for cell in table.head)))
        if any(c.text for c in table.head)
        else ""
    )
    last = len(table.rows) - 1 if table.total else None
    rows = (_row(cells, total=at == last) for at, cells in enumerate(table.rows))
    caption = element("caption", table.caption) if table.caption else ""
    wide = len(table.rows[0]) > MOST_COLUMNS
    classes = f"{table.form} wide".lstrip() if wide else table.form
    whole = element("table", caption, head, element("tbody", *rows), class_=classes or None)
    # What is pushed sideways on a small screen is to be reached by keyboard, too.
    reached = {"tabindex": "0", "role": "region", "aria_label": table.caption} if table.head else {}
    return element("div", whole, class_="scroll", **reached)


def _head(cell: Cell) -> Markup:
    if not cell.text:
        return element("td")
    return element("th", breakable(cell.text), scope="col", class_="num" if cell.number else None)


def _row(cells: tuple[Cell, ...], *, total: bool) -> Markup:
    first, *others = cells
    square = _square(first.fill) if first.fill else ""
    named = element("th", square, breakable(first.text), scope="row")
    return element("tr", named, *map(_cell, others), class_="sum" if total else None)


def _cell(cell: Cell) -> Markup:
    if cell.between is not None and cell.share is not None:
        return element("td", _interval(cell.share, *cell.between), class_="rg")
    if cell.share is not None:
        return element("td", _bar(cell), class_="bb")
    classes = ["num"] if cell.number else []
    classes += ["dim"] if cell.faint else []
    classes += ["h", f"h{cell.heat}"] if cell.heat is not None else []
    classes += ["h", "ok" if cell.right else "no"] if cell.right is not None else []
    return element("td", cell.text, class_=" ".join(classes) or None)


def _many(table: Table) -> Markup:
    """Names with one bar each, in columns."""
    items = []
    for name, bar, count, *_ in table.rows:
        items.append(
            element("li", element("span", breakable(name.text)), _bar(bar), element("span", count.text, class_="num"))
        )
    return element("ol", *items, class_="l77")


# ---------------------------------------------------------------- drawings


def _percent(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def _bar(cell: Cell) -> Markup:
    fill = f"f-{cell.fill}" if cell.fill else None
    rect = element("rect", x=_percent(cell.start), width=_percent(cell.share or 0.0), height="100%", class_=fill)
    return element("svg", rect, class_="bar", aria_hidden="true")


def _interval(share: float, low: float, high: float) -> Markup:
    line = element("line", x1="0", x2="100%", y1="7", y2="7", class_="g")
    range_ = element("rect", x=_percent(low), width=_percent(high - low), y="4", height="6", class_="f-duplicate")
    dot = element("circle", cx=_percent(share), cy="7", r="4", class_="f-model")
    return element("svg", line, range_, dot, class_="ci", aria_hidden="true")


def _square(fill: str) -> Markup:
    rect = element("rect", width="10", height="10", class_=f"f-{fill}")
    return element("svg", rect, class_="sq", viewBox="0 0 10 10", aria_hidden="true")


def _ledger(parts: tuple[tuple[str, float, str], ...]) -> Markup:
    rects, at = [], 0.0
    for _, share, fill in parts:
        rects.append(element("rect", x=_percent(at), width=_percent(share), height="100%", class_=f"f-{fill}"))
        at += share
    said = ", ".join(f"{name} {100 * share:.1f} %" for name, share, _ in parts)
    return element("svg", *rects, class_="ledger", role="img", aria_label=f"Rows by source: {said}")
