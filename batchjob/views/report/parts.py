"""The parts a report is made of, which each form writes in its own way. All text in them is plain: forms escape it."""

from __future__ import annotations

from batchjob.model import Value
from batchjob.scoring.interval import Share


class Span(Value, frozen=True):
    """Words of the summary, that matter most where they are strong."""

    text: str
    strong: bool = False


class Cell(Value, frozen=True):
    """A cell of a table, with what is drawn of it where a form can draw. Shares are 0 to 1."""

    text: str
    number: bool = False
    faint: bool = False
    start: float = 0.0  # of the bar
    share: float | None = None  # length of the bar; None: there is none
    fill: str = ""  # the bar's, or the square's before the text: model, duplicate, cache, rule, human, failed
    heat: int | None = None  # 0 to 7: how strong its ground is
    right: bool | None = None  # of a square of confusions: on its diagonal, or not
    between: tuple[float, float] | None = None  # the interval of `share`, which is a dot then


class Table(Value, frozen=True):
    """A table. `form` names how it is laid out: see style.css."""

    caption: str
    head: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]
    form: str = ""
    total: bool = False  # the last row sums up


class Listing(Value, frozen=True):
    """Texts below a title each."""

    groups: tuple[tuple[str, tuple[str, ...]], ...]


class Ledger(Value, frozen=True):
    """A whole in parts: (name, share, fill)."""

    parts: tuple[tuple[str, float, str], ...]


class Code(Value, frozen=True):
    """Text as it is sent or typed."""

    text: str


class Facts(Value, frozen=True):
    """Names with what they are."""

    pairs: tuple[tuple[str, str], ...]


Block = Table | Listing | Ledger | Code | Facts


class Section(Value, frozen=True):
    """A part with a heading; `anchor` is unique."""

    anchor: str
    title: str
    said: str
    blocks: tuple[Block, ...]


class Headline(Value, frozen=True):
    """One of the few figures on top."""

    name: str
    figure: str
    unit: str
    said: str


class Report(Value, frozen=True):
    """What a job did."""

    above: str
    title: str
    lead: tuple[Span, ...]
    headlines: tuple[Headline, ...]
    sections: tuple[Section, ...]
    foot: str


def text(value: str) -> Cell:
    """A cell of words."""
    return Cell(value)


def number(value: str, *, faint: bool = False) -> Cell:
    """A cell of a number, to the right."""
    return Cell(value, number=True, faint=faint)


def percent(part: float, whole: float) -> str:
    """A part of a whole in percent; a dash where there is no whole."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def interval(found: Share, joined: str = " to ") -> str:
    """Between what a share lies, in percent, with as many digits as that has: it would lie outside of 100 to 100."""
    return f"{100 * found.low:.1f}{joined}{100 * found.high:.1f}"
