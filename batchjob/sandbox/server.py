"""The sandbox on a socket."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any

from aiohttp import web

from batchjob.errors import BatchjobError
from batchjob.sandbox.app import SandboxApp
from batchjob.sandbox.ledger import Ledger
from batchjob.sandbox.settings import SandboxSettings
from batchjob.sandbox.tongues import PLAIN, TONGUES

_LARGEST_BODY = 16 * 1024 * 1024


class RunningSandbox:
    """A sandbox that listens. Close it; until then it answers as long as its event loop runs."""

    def __init__(self, url: str, app: SandboxApp, ledger: Ledger, runner: web.ServerRunner) -> None:
        self.url = url  # what a client takes as its base URL, such as http://127.0.0.1:8000/v1
        self._app = app
        self._ledger = ledger
        self._runner = runner

    @property
    def received(self) -> int:
        """Requests for a completion so far."""
        return self._app.received

    @property
    def billed(self) -> int:
        """Those of them that were billed."""
        return self._ledger.billed

    async def close(self) -> None:
        """Stop listening; requests still worked on are cut off, and not billed."""
        await self._runner.cleanup()
        self._ledger.close()


async def serve(settings: SandboxSettings) -> RunningSandbox:
    """Start a sandbox in this event loop.

    Raises:
        BatchjobError: the address is in use, or the ledger cannot be written.
    """
    ledger = Ledger(settings.ledger)
    app = SandboxApp(settings, ledger)
    server = web.Server(app.handle, request_factory=_request, access_log=None, keepalive_timeout=75.0)
    runner = web.ServerRunner(server, shutdown_timeout=0.05)
    try:
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.port, backlog=1024).start()
    except (OSError, UnicodeError) as error:  # UnicodeError: what is no name of a host
        await runner.cleanup()
        ledger.close()
        then = "a --host of this machine" if _is_of_host(error) else "another --port, or --port 0 for a free one"
        raise BatchjobError(
            f"the sandbox cannot listen on {settings.host}:{settings.port} ({_reason(error)}): give {then}"
        ) from None
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    tongue = TONGUES.get(settings.tongue, PLAIN)
    query = f"?{tongue.query}" if tongue.query else ""
    return RunningSandbox(f"http://{host}:{runner.addresses[0][1]}{tongue.base_path}{query}", app, ledger, runner)


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_LARGEST_BODY)


def _is_of_host(error: OSError | UnicodeError) -> bool:
    """Whether the host is no name, or not this machine's."""
    return isinstance(error, socket.gaierror | UnicodeError) or _number(error) == errno.EADDRNOTAVAIL


def _reason(error: OSError | UnicodeError) -> str:
    """The system's own words; asyncio puts a sentence around them."""
    number = _number(error)
    return os.strerror(number).lower() if number > 0 else str(error)


def _number(error: OSError | UnicodeError) -> int:
    """The system's, or 0. For an address that is not this machine's, asyncio of Python 3.13 and later leaves it out."""
    return (error.errno or errno.EADDRNOTAVAIL) if isinstance(error, OSError) else 0
