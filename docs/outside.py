"""For the site alone: links out of docs/, such as to the changelog, become their words."""

from __future__ import annotations

import posixpath
import re
from typing import Any

LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs for each page."""
    folder = posixpath.dirname(page.file.src_uri)

    def kept(found: re.Match[str]) -> str:
        leads_out = posixpath.normpath(posixpath.join(folder, found[2])).startswith("..")
        return found[1] if leads_out and ":" not in found[2] else found[0]

    return LINK.sub(kept, markdown)
