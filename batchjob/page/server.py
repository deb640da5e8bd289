"""The page on a socket of this machine: its files, and its questions answered through the StoreReader."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from aiohttp import web

from batchjob.corrections.saying import Said, say
from batchjob.corrections.standing import Corrections
from batchjob.errors import BatchjobError, JobError, SettingError
from batchjob.model import Value
from batchjob.page import documents, pace, prompt, review
from batchjob.page.downloads import TYPES, piece
from batchjob.page.safety import TOKEN, Keeper, protect
from batchjob.ports import StoreReader
from batchjob.printable import printable
from batchjob.records import RowFilter
from batchjob.stores import open_reader

T = TypeVar("T")
HOST = "127.0.0.1"
STATIC = Path(__file__).parent / "static"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
FILTERS = ("state", "label", "source", "kind", "matched")
NUMBER = re.compile("[0-9]{1,18}")
"""A row or a request. SQLite adds to it, and counts to 2**63."""


class RunningPage:
    """A page that is served. Close it; until then it answers as long as its event loop runs."""

    def __init__(self, port: int, keeper: Keeper, runner: web.AppRunner) -> None:
        self._port, self._keeper, self._runner = port, keeper, runner

    def address(self, job: str | None, queue: str | None = None, *, once: bool = False) -> str:
        """Where it is, of a job or of all, with the token; the one that serves `once` is for starting a browser.

        Args:
            queue: of the review of that job, "" for the first one; None: the job itself.
        """
        path = "" if job is None else f"j/{quote(job, safe='')}" + ("" if queue is None else "/review")
        asked = f"queue={quote(queue, safe='')}&" if queue else ""
        token = self._keeper.once if once else self._keeper.token
        return f"http://{HOST}:{self._port}/{path}?{asked}{TOKEN}={token}"

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()


async def serve(url: str, *, port: int, flag: str) -> RunningPage:
    """Serve the page of a work table in this event loop.

    Args:
        port: 0 is any free one.
        flag: the part of a command that names the database.

    Raises:
        BatchjobError: the port is in use.
    """
    keeper = Keeper()
    app = web.Application(middlewares=[keeper.guard, _told], client_max_size=64 * 1024)
    app.on_response_prepare.append(protect)
    Page(url, flag).add_to(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    try:
        await runner.setup()
        await web.TCPSite(runner, HOST, port).start()
    except OSError as error:
        await runner.cleanup()
        why = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
        raise BatchjobError(f"the page cannot listen on port {port} ({why}): leave --port out for a free one") from None
    found = runner.addresses[0][1]
    keeper.listens_on(found)
    return RunningPage(found, keeper, runner)


@web.middleware
async def _told(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What went wrong as a sentence."""
    try:
        return await handler(request)
    except BatchjobError as error:
        status = 404 if isinstance(error, JobError) else 400 if isinstance(error, SettingError) else 503
        return _json({"error": printable(str(error))}, status)
    except msgspec.MsgspecError as error:
        return _json({"error": f"the database holds what batchjob did not write ({error})"}, 503)
    except web.HTTPException as error:
        return _json({"error": error.reason}, error.status)


def _json(document: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), status=status, content_type="application/json")


class Given(Value, frozen=True):
    """What the page sends when a person says what a label is; None takes back what was said last."""

    job: str
    row: int
    label: str | None
    why: str
    field: str | None = None  # which answer it is of, of a job with several


class Page:
    """What the page is asked, and its answers. The database is opened for each, so that one that went away is noticed
    and none is kept from what its owner does with it.
    """

    def __init__(self, url: str, flag: str) -> None:
        self._url, self._flag, self._corrections = url, flag, Corrections(url)
        # One, and all decoding in it: two threads that decode a type for the first time at once crash msgspec. No
        # answer takes so long that others would wait.
        self._thread = ThreadPoolExecutor(1, "page")
        # Read once, by their names: what is asked for is never a path of the disk.
        self._files = {
            file.relative_to(STATIC).as_posix(): file.read_bytes()
            for file in STATIC.rglob("*")
            if file.suffix in KINDS and file.is_file()
        }

    def add_to(self, app: web.Application) -> None:
        """Its addresses."""
        app.router.add_get("/", self._index)
        app.router.add_get("/j/{rest:.*}", self._index)
        app.router.add_get("/static/{name:.*}", self._static)
        app.router.add_get("/api/jobs", self._jobs)
        app.router.add_get("/api/job", self._job)
        app.router.add_get("/api/pace", self._pace)
        app.router.add_get("/api/prompt", self._prompt)
        app.router.add_get("/api/rows", self._rows)
        app.router.add_get("/api/row", self._row)
        app.router.add_get("/api/requests", self._requests)
        app.router.add_get("/api/review", self._review)
        app.router.add_get("/api/review/rows", self._review_rows)
        app.router.add_post("/api/say", self._say)
        app.router.add_get("/download", self._download)
        app.on_cleanup.append(self._close)

    async def _close(self, app: web.Application) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _read(self, question: Callable[[StoreReader], T]) -> T:
        def answer() -> T:
            with open_reader(self._url) as reader:
                return question(reader)

        return await asyncio.get_running_loop().run_in_executor(self._thread, answer)

    async def _index(self, request: web.Request) -> web.Response:
        return self._file("index.html")

    async def _static(self, request: web.Request) -> web.Response:
        return self._file(request.match_info["name"])

    def _file(self, name: str) -> web.Response:
        if name not in self._files:
            raise web.HTTPNotFound(reason="There is no such file.")
        return web.Response(body=self._files[name], content_type=KINDS[Path(name).suffix], charset="utf-8")

    async def _jobs(self, request: web.Request) -> web.Response:
        skip = _number(request, "skip") or 0
        return _json(await self._read(lambda reader: documents.jobs_page(reader, self._flag, skip)))

    async def _job(self, request: web.Request) -> web.Response:
        name = _job_named(request)
        return _json(await self._read(lambda reader: documents.job_page(reader, self._corrections, name, self._flag)))

    async def _pace(self, request: web.Request) -> web.Response:
        name = _job_named(request)
        return _json(await self._read(lambda reader: pace.pace_page(reader, name)))

    async def _prompt(self, request: web.Request) -> web.Response:
        name = _job_named(request)
        return _json(await self._read(lambda reader: prompt.prompt_shown(reader, name)))

    async def _rows(self, request: web.Request) -> web.Response:
        name, wanted = _job_named(request), _filter(request)
        before, after = _number(request, "before"), _number(request, "after")
        backwards = before is not None or "last" in request.query
        beyond = before if backwards else after
        question = partial(
            documents.rows_page,
            corrections=self._corrections,
            name=name,
            wanted=wanted,
            beyond=beyond,
            backwards=backwards,
        )
        return _json(await self._read(question))

    async def _row(self, request: web.Request) -> web.Response:
        name, number = _job_named(request), _number(request, "number") or 0
        return _json(await self._read(lambda reader: documents.row_story(reader, self._corrections, name, number)))

    async def _requests(self, request: web.Request) -> web.Response:
        name, number, after = _job_named(request), _number(request, "number") or 0, _number(request, "after") or 0
        return _json(await self._read(lambda reader: documents.row_requests(reader, reader.job(name), number, after)))

    async def _review(self, request: web.Request) -> web.Response:
        name, field = _job_named(request), request.query.get("field") or None
        return _json(await self._read(lambda reader: review.review_page(reader, self._corrections, name, field)))

    async def _review_rows(self, request: web.Request) -> web.Response:
        name, queue, after = _job_named(request), request.query.get("queue", ""), _number(request, "after") or 0
        field = request.query.get("field") or None
        question = partial(
            review.rows_to_review, corrections=self._corrections, name=name, queue=queue, after=after, named=field
        )
        return _json(await self._read(question))

    async def _say(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            raise SettingError("a correction is given as JSON")
        body = await request.read()

        def store(reader: StoreReader) -> review.ReviewPage:
            try:
                given = msgspec.json.decode(body, type=Given)
            except msgspec.MsgspecError as error:
                raise SettingError(f"the page's correction is none ({error}): open it anew") from None
            job = reader.job(given.job)
            said = Said(given.row, given.label, given.field)
            say(reader, self._corrections, job, [said], why=given.why, at=time.time())
            return review.review_page(reader, self._corrections, job.name, given.field)

        return _json(await self._read(store))

    async def _download(self, request: web.Request) -> web.StreamResponse:
        name, wanted, format_ = _job_named(request), _filter(request), request.query.get("format", "csv")
        part = await self._read(lambda reader: piece(reader, self._corrections, name, wanted, format_, 0))
        file_name = quote(f"{name}-rows.{format_}", safe="")
        response = web.StreamResponse(
            headers={
                "Content-Type": TYPES[format_],
                "Content-Disposition": f"attachment; filename*=UTF-8''{file_name}",
            }
        )
        go_on = partial(piece, corrections=self._corrections, name=name, wanted=wanted, format_=format_)
        await response.prepare(request)
        await response.write(part.content)
        while (beyond := part.beyond) is not None:
            try:
                part = await self._read(partial(go_on, beyond=beyond))
            except BatchjobError:
                # Half a file must not pass for a whole one: the browser sees that the connection broke.
                if request.transport is not None:
                    request.transport.abort()
                break
            await response.write(part.content)
        return response


def _job_named(request: web.Request) -> str:
    if not (name := request.query.get("job")):
        raise SettingError("the page's question names no job: open it anew")
    return name


def _number(request: web.Request, name: str) -> int | None:
    given = request.query.get(name)
    if given is None:
        return None
    if not NUMBER.fullmatch(given):
        raise SettingError(f"{name} is {given[:40]!r} in the address, and must be a number")
    return int(given)


def _filter(request: web.Request) -> RowFilter:
    """What stands in the address of the view."""
    state, label, source, kind, matched = [request.query.get(name) or None for name in FILTERS]
    return RowFilter(state, label, source, kind, matched, _share(request, "below"), request.query.get("q", ""))


def _share(request: web.Request, name: str) -> float | None:
    """A number from 0 to 1 in the address."""
    if not (given := request.query.get(name)):
        return None
    try:
        share = float(given)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise SettingError(f"{name} is {given[:40]!r} in the address, and must be a number from 0 to 1")
    return share
