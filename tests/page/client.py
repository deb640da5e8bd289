"""A client of the page that can say what no browser would, and the page as a process."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from tests.conftest import BatchJob


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Page:
    """A page that is served by a process, and the secrets a browser would have."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.address = process.stdout.readline().strip()
        found = urlsplit(self.address)
        assert found.port, process.communicate()
        self.port, self.token = found.port, found.query.rpartition("token=")[2]
        self.cookie = self.raw("GET", f"{found.path}?{found.query}").headers["Set-Cookie"].split(";")[0]

    def raw(self, method: str, path: str, headers: dict[str, str] | None = None, body: str | None = None) -> Answer:
        """A request with these headers alone."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host="Host" in (headers or {}), skip_accept_encoding=True)
            if body is not None:
                connection.putheader("Content-Length", str(len(body.encode())))
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            connection.endheaders(None if body is None else body.encode())
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def get(self, path: str, **query: object) -> Answer:
        """As the page itself asks."""
        return self.raw("GET", f"{path}?{urlencode(query)}" if query else path, {"Cookie": self.cookie})

    def ask(self, path: str, **query: object) -> Any:
        """The document that is answered."""
        answer = self.get(path, **query)
        assert answer.status == 200, answer
        return answer.document

    def say(self, **said: object) -> Answer:
        """As the page itself sends what a person says."""
        headers = {"Cookie": self.cookie, "Origin": f"http://127.0.0.1:{self.port}", "Content-Type": "application/json"}
        return self.raw("POST", "/api/say", headers, json.dumps(said))

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=15)
        return self.process.returncode


@contextmanager
def viewed(batchjob: BatchJob, *arguments: str) -> Iterator[Page]:
    """`batchjob view` with these arguments, ended behind the block."""
    process = batchjob.begin("view", "--no-open", *arguments)
    try:
        yield Page(process)
    finally:
        process.kill()
        process.communicate(timeout=15)
