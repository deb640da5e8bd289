"""An OpenAI-compatible /chat/completions endpoint over aiohttp.

`ChatEndpoint.send` moves the bytes and translates every error of the network once, here; replies.py reads what came.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
import urllib.request
from collections.abc import Callable, Container, Mapping
from ipaddress import ip_address

import aiohttp
from yarl import URL

from batchjob import failpoints
from batchjob.endpoints.bodies import NONE, ChatBodies, address_of
from batchjob.endpoints.choose import open_transport
from batchjob.endpoints.deadlines import Deadlines
from batchjob.endpoints.rejections import text_of
from batchjob.endpoints.replies import fit_to_keep, read_reply
from batchjob.endpoints.secrets import Secrets
from batchjob.endpoints.transport import NotConnected
from batchjob.errors import SettingError
from batchjob.model import NO_ROOM, Lost, NotSent, Reply
from batchjob.providers.table import Auth


class ChatEndpoint(ChatBodies):
    """The endpoint at a base URL, such as https://host/v1. Must be made inside a running event loop."""

    METHOD = "POST"

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None,
        timeout: float,
        connect_timeout: float,
        auth: Auth = "bearer",
        headers: Mapping[str, str] = NONE,
        secrets: tuple[str, ...] = (),
        renew: Callable[[], str] | None = None,
        unpaid: Container[int] = (),
    ) -> None:
        """
        Args:
            unpaid: statuses that say nothing was done, also without JSON.
            headers: the user's own; `secrets` are those of their values that nobody may see.
            renew: gives another key after a 401. It is called in a thread.
        """
        try:
            url = URL(address_of(base_url, self.PATH))
            self._proxy = _proxy_for(url)
        except ValueError as error:
            raise SettingError(f"base_url {base_url!r} is no address: {error}") from None
        self._auth, self._renew, self._renewing = auth, renew, asyncio.Lock()
        headers = {"Accept": "application/json", "Content-Type": "application/json", **headers}
        self._key_line = ""  # a key that may change is no header of the connection but of each request
        if key and auth != "none":
            name, value = _key_header(auth, key)
            if renew is None:
                headers.setdefault(name, value)
            else:
                self._key_line = f"{name}: {value}\r\n"
        self._secrets = Secrets((key, *secrets))
        self._timeout, self._unpaid = timeout, unpaid
        self._deadlines = Deadlines(timeout)
        # The connection's time ends first: only so it is known that nothing was sent.
        connect_timeout = min(connect_timeout, 0.95 * timeout)
        self._transport = open_transport(self.METHOD, url, headers, proxy=self._proxy, connect_timeout=connect_timeout)

    async def send(self, body: bytes, client_key: str) -> Reply:
        """POST the body once and say what was heard; nothing is retried or followed here."""
        headers = f"Idempotency-Key: {client_key}\r\nX-Client-Request-Id: {client_key}\r\n"
        try:
            with self._deadlines.begin():
                failpoints.reach("request.before_first_byte")
                sent_with = self._key_line
                answer = await self._transport.ask(headers + sent_with, body)
                if answer.status == 401 and await self._renewed(sent_with):
                    answer = await self._transport.ask(headers + self._key_line, body)
            reply = read_reply(answer.status, answer.headers, answer.body, now=time.time, unpaid=self._unpaid)
        except Exception as error:
            reply = self._translate(error)
        return fit_to_keep(reply, self._secrets.blotted)

    async def _renewed(self, sent_with: str) -> bool:
        """Whether there is another key now than the one a request was refused with."""
        if self._renew is None:
            return False
        async with self._renewing:
            if self._key_line == sent_with:
                try:
                    key = await asyncio.to_thread(self._renew)
                except SettingError:
                    return False  # the refusal is told
                name, value = _key_header(self._auth, key)
                self._key_line = f"{name}: {value}\r\n"
                self._secrets.add(key)
            return self._key_line != sent_with

    def _translate(self, error: Exception) -> Reply:
        """What an exception says of the request: not sent only where that is certain, else lost."""
        if isinstance(error, NotConnected):
            if isinstance(error.cause, aiohttp.ClientConnectorSSLError | aiohttp.ClientConnectorCertificateError):
                return NotSent("bad_certificate", f"no secure connection: {_told(error.cause)}")
            if isinstance(error.cause, TimeoutError):
                return NotSent("cannot_connect", "no connection in time (--connect-timeout)")
            if isinstance(error.cause, aiohttp.ClientResponseError):  # its own words hold the proxy's password
                said = _told(Exception(f"{error.cause.status} {error.cause.message}"))
                return NotSent("cannot_connect", f"no way through the proxy: {said}")
            if isinstance(error.cause, OSError) and error.cause.errno in (errno.EMFILE, errno.ENFILE):
                return NotSent(NO_ROOM, "no connection: this machine allows no more open files")
            if isinstance(error.cause, aiohttp.ClientConnectorError):
                return NotSent("cannot_connect", _no_way_to(error.cause))
            return NotSent("cannot_connect", _told(error.cause))
        if isinstance(error, TimeoutError):
            return Lost("timeout", f"no whole answer within {self._timeout:g} s (--timeout)")
        text = _told(error)
        if isinstance(error, aiohttp.ClientPayloadError | ValueError):
            return Lost("garbled_answer", f"not a whole HTTP answer: {text}")
        return Lost("connection_lost", text)

    @property
    def slowed(self) -> str:
        """Why each request has a connection of its own; "" where connections are kept."""
        return "" if self._transport.keeps else self._transport.why

    async def close(self) -> None:
        """Close all connections."""
        self._deadlines.close()
        await self._transport.close()


def _key_header(auth: Auth, key: str) -> tuple[str, str]:
    """The header that carries the key."""
    return ("Authorization", f"Bearer {key}") if auth == "bearer" else (auth, key)


def _told(error: Exception) -> str:
    """An exception in words."""
    return text_of(str(error)) or type(error).__name__


def _no_way_to(error: aiohttp.ClientConnectorError) -> str:
    """Why there is no connection, in the system's words. Those of a name that is not known have a number below 0."""
    cause = error.os_error
    said = os.strerror(cause.errno) if cause.errno and cause.errno > 0 else cause.strerror or str(cause)
    return f"cannot connect to {error.host}:{error.port}: {said}"


def _proxy_for(url: URL) -> URL | None:
    """The proxy the environment names for this address, asked once instead of at each request; none for loopback.

    Raises:
        SettingError: it is no proxy that can be used. Its address is not told, for it may hold a password.
    """
    host = url.host or ""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if local or urllib.request.proxy_bypass(host):
        return None
    named = urllib.request.getproxies().get(url.scheme)
    if not named:
        return None
    try:
        proxy = URL(named if "://" in named else f"http://{named}")
    except ValueError:
        proxy = URL()
    if proxy.scheme not in ("http", "https") or not proxy.host:
        variable = f"{url.scheme}_proxy"
        raise SettingError(f"{variable} in the environment is no proxy that can be used: give it as http://host:port")
    return proxy
