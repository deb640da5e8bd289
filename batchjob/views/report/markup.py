"""HTML, escaped by construction: a string is text, and only what `element` has made is markup."""

from __future__ import annotations

from html import escape

from batchjob.printable import printable


class Markup(str):
    """HTML that was made here."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: str | None) -> Markup:
    """An element. Children that are no Markup are text; attributes that are None are left out.

    A trailing underscore of an attribute's name is dropped, and one inside is a dash.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>{''.join(map(markup, children))}</{name}>")


def markup(child: str) -> Markup:
    """Text as HTML; markup as it is."""
    return child if isinstance(child, Markup) else Markup(_text(child))


def breakable(name: str) -> Markup:
    """A name that may be broken behind its dashes and underscores."""
    return Markup(_text(name).replace("_", "_<wbr>").replace("-", "-<wbr>"))


def lines(content: str) -> Markup:
    """Text whose line breaks stay."""
    return Markup("\n".join(map(_text, content.split("\n"))))


def _text(content: str) -> str:
    return escape(printable(content), quote=True)
