"""A job that has something in every queue of the review, made by an endpoint that answers as it is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.faults.server import Exchange, FaultServer, completion, http

if TYPE_CHECKING:
    from tests.conftest import BatchJob

ROWS = 240
FILTERED, OFF_LIST, NEAR = (3, 4), (10, 11, 12), (20, 21, 22, 23)
SCRIPT = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"
MARKUP = "<b>gamma</b>"
"""A label."""


async def answer(x: Exchange) -> None:
    """Many rows at once: alpha. One alone: by its number; what was asked before among many is beta now."""
    content = x.body["messages"][-1]["content"]
    if content.startswith("{"):
        await x.send(http(completion(json.dumps(dict.fromkeys(json.loads(content), "alpha")))))
    elif x.row in FILTERED:
        await x.send(http(json.dumps({"error": {"message": "policy", "code": "content_filter"}}).encode(), 400))
    else:
        said = "beta" if "again" in content else SCRIPT if x.row in OFF_LIST else "ALPHA!" if x.row in NEAR else "alpha"
        await x.send(http(completion(said)))


def make_jobs(batchjob: BatchJob) -> None:
    """The job `one`, a row a request, and `many`, of which each row was asked once more and got another label."""
    texts = [f"row {n}" + (f" {SCRIPT}" if n % 7 == 0 else "") for n in range(1, ROWS + 1)]
    lines = "".join(
        json.dumps({"id": f"R-{n}", "text": text, SCRIPT: SCRIPT}) + "\n" for n, text in enumerate(texts, 1)
    )
    (batchjob.folder / "one.jsonl").write_text(lines)
    (batchjob.folder / "many.csv").write_text("id,text\n" + "".join(f"{n},row {n} again\n" for n in range(1, 13)))
    with FaultServer(answer).running() as server:
        flags = ("--labels", f"alpha,beta,{MARKUP}", "--base-url", server.url, "--model", "m", "--rpm", "0", "--quiet")
        assert batchjob("start", "one.jsonl", *flags).code == 4
        many = ("--rows-per-request", "4", "--verify-sample", "1")
        assert batchjob("start", "many.csv", *flags, *many).code == 0
