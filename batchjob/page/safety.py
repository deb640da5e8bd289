"""Who may ask the page, and what a browser may do with what it gets.

The server listens on this machine alone, but other users and every website that is open in the browser can reach it
there. So each request needs the address it was meant for (another name that leads here is a rebound one) and the secret
of the person who began it; and one that changes something needs to come from the page itself.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

TOKEN = "token"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self';"
        " frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FOREIGN = frozenset({"cross-site", "same-site"})
"""What Sec-Fetch-Site says of a request that another page makes; one on another port is of the same site."""
NO_TOKEN = "This page opens with the address that batchjob view printed in the terminal, with its token."


class Keeper:
    """The secrets of one page, and what it asks of every request.

    `token` stands in the address that is printed, `once` in the one that a browser is started with: other users of the
    machine can see that one among the processes, so it serves once.
    """

    def __init__(self) -> None:
        self.token, self.once = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self._secret = secrets.token_urlsafe(32)
        self._hosts: tuple[str, ...] = ()
        self._cookie = ""

    def listens_on(self, port: int) -> None:
        """From now on it is asked under these names alone. Cookies know no ports, so that of each page has its own."""
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self._cookie = f"batchjob-{port}"

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let through what may be answered."""
        if refusal := self._refusal(request):
            return refusal
        response = await handler(request)
        if TOKEN in request.query and not response.prepared:
            response.set_cookie(self._cookie, self._secret, httponly=True, samesite="Strict", path="/")
        return response

    def _refusal(self, request: web.Request) -> web.Response | None:
        host = request.headers.get("Host", "")
        if host not in self._hosts:
            return _refused(421, f"This page is at {self._hosts[0]} alone.")
        if request.headers.get("Sec-Fetch-Site") in FOREIGN and request.headers.get("Sec-Fetch-Mode") != "navigate":
            return _refused(403, "Another page asked for this.")
        if not self._knows(request):
            return _refused(403, NO_TOKEN)
        if request.method not in ("GET", "HEAD") and request.headers.get("Origin") != f"http://{host}":
            return _refused(403, "Only the page itself may change something.")
        return None

    def _knows(self, request: web.Request) -> bool:
        """Whether a request brings the cookie, or a token of an address that is opened."""
        if _same(request.cookies.get(self._cookie, ""), self._secret):
            return True
        given = request.query.get(TOKEN, "")
        if request.method != "GET" or not given:
            return False
        if self.once and _same(given, self.once):
            self.once = ""
            return True
        return _same(given, self.token)


async def protect(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """The headers that go with every answer, refusals too."""
    response.headers.update(HEADERS)


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def _refused(status: int, why: str) -> web.Response:
    return web.Response(status=status, text=why + "\n")
