"""Which transport is taken: the fast one, unless it is asked otherwise or cannot be had.

`fast.py` writes on connections that are kept, with parts of aiohttp that are not documented. `plain.py` uses only the
documented ones, and makes a connection for each request. Neither is imported before it is chosen, because the import of
the fast one may be what fails.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import aiohttp
from yarl import URL

from batchjob import __version__
from batchjob.endpoints.transport import Transport
from batchjob.errors import SettingError

VARIABLE = "BATCHJOB_TRANSPORT"
"""The environment variable that asks for the plain transport; see docs/reference/failpoints.md."""


def open_transport(
    method: str, url: URL, headers: Mapping[str, str], *, proxy: URL | None, connect_timeout: float
) -> Transport:
    """The fast transport, or the plain one if aiohttp is not as the fast one needs it. Needs a running event loop.

    Raises:
        ValueError: a header holds a character that would end it.
        SettingError: BATCHJOB_TRANSPORT is neither empty nor `plain`.
    """
    if any(not value.isprintable() for value in headers.values()):
        raise ValueError("a header holds a character that would end it")
    headers = {"User-Agent": f"batchjob/{__version__}", **headers}
    why = _asked_for()
    if not why:
        try:
            from batchjob.endpoints.fast import FastTransport

            return FastTransport(method, url, headers, proxy=proxy, connect_timeout=connect_timeout)
        except Exception as error:  # whatever it is, nothing has been sent yet
            why = f"aiohttp {aiohttp.__version__} is not as expected ({type(error).__name__}: {error})"
    from batchjob.endpoints.plain import PlainTransport

    return PlainTransport(method, url, headers, proxy=proxy, connect_timeout=connect_timeout, why=why)


async def chosen() -> tuple[str, str]:
    """The name of the transport that is taken here, and why; nothing is sent."""
    transport = open_transport("GET", URL("http://localhost/"), {}, proxy=None, connect_timeout=1.0)
    await transport.close()
    return transport.name, transport.why


def _asked_for() -> str:
    asked = os.environ.get(VARIABLE, "")
    if asked not in ("", "plain"):
        raise SettingError(f"{VARIABLE}={asked}: it is plain, or not set")
    return f"{VARIABLE} asks for it" if asked else ""
