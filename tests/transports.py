"""Which of aiohttp's parsers is here. With the pure-Python one the plain transport is taken."""

from __future__ import annotations

import pytest
from aiohttp import http_parser

PURE = http_parser.HttpResponseParser is http_parser.HttpResponseParserPy


def need_fast() -> None:
    """Leave a test out where the fast transport cannot be had."""
    if PURE:
        pytest.skip("the fast transport needs aiohttp's parser in C")
