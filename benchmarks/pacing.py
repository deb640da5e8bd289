"""How much of a quota is used, and how many requests are refused? Real jobs against real quotas, at once."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.common import BATCHJOB, LABELS, endpoint, make_input, write_result

ROWS = 45_000
PER_MINUTE = 6_000
MAX_TOKENS = 56
TOKENS_A_ROW = 180
"""About what the sandbox charges a quota of tokens for a row: the prompt and max_tokens, whatever comes back."""


class Case(NamedTuple):
    """A job: where its quota is, what it is told of it, and what is asked of it."""

    name: str
    sandbox: tuple[str, ...]  # () is the endpoint that says nothing of its quota but in 429s
    told: tuple[str, ...]
    target: str


TOKENS = str(PER_MINUTE * TOKENS_A_ROW)
CASES = (
    Case("--rpm, fixed windows", ("--rpm", str(PER_MINUTE)), ("--rpm", str(PER_MINUTE)), "98 %, 0.5 %"),
    Case(
        "--rpm, sliding window",
        ("--rpm", str(PER_MINUTE), "--window-kind", "sliding"),
        ("--rpm", str(PER_MINUTE)),
        "98 %, 0.5 %",
    ),
    Case("--tpm, fixed windows", ("--tpm", TOKENS), ("--rpm", "0", "--tpm", TOKENS), "95 %, 1 %"),
    Case(
        "--tpm, sliding window",
        ("--tpm", TOKENS, "--window-kind", "sliding"),
        ("--rpm", "0", "--tpm", TOKENS),
        "95 %, 1 %",
    ),
    Case("only in the headers", ("--rpm", str(PER_MINUTE)), ("--rpm", "0"), "90 %, 2 %"),
    Case("only in the 429s", (), ("--rpm", "0"), "90 %, 2 %"),
)


@contextlib.contextmanager
def quota(case: Case, ledger: Path) -> Iterator[str]:
    """The URL of an endpoint with the case's quota."""
    if not case.sandbox:
        with endpoint("0.05-0.1", "--per-minute", str(PER_MINUTE)) as url:
            yield url
        return
    command = [BATCHJOB, "sandbox", "--ledger", str(ledger), *case.sandbox]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().removeprefix("sandbox: ").strip()
        finally:
            process.terminate()


def told(case: Case, db: Path) -> str:
    """A line for a finished job, by its own list of requests."""
    out = db.with_suffix(".requests.jsonl")
    subprocess.run([BATCHJOB, "export", "--db", str(db), "--requests", "-o", str(out)], check=True)
    requests = [json.loads(line) for line in out.read_text().splitlines()]
    answered = [request for request in requests if request["outcome"] == "answered"]
    refused = sum(request["status"] == 429 for request in requests)
    sent = [(request["sent_at"], charge(request) if "--tpm" in case.name else 1) for request in answered]
    first, last = min(sent)[0], max(sent)[0]
    minutes = int((last - first) // 60)
    within = sum(charged for at, charged in sent if first + 60 <= at < first + 60 * minutes)
    share = within / ((minutes - 1) * (int(TOKENS) if "--tpm" in case.name else PER_MINUTE))
    status = json.loads(subprocess.check_output([BATCHJOB, "status", "--db", str(db), "--json"]))
    return (
        f"{case.name:24} {100 * share:5.1f} % of the quota used, {100 * refused / len(requests):5.2f} % 429s"
        f"   {minutes - 1} min"
        f"   (target {case.target})   rows failed {status['rows']['failed']} of {status['rows']['total']:,}"
    )


def charge(request: dict[str, int]) -> int:
    return request["input_tokens"] + MAX_TOKENS


def main() -> None:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        path = make_input(folder / "in.csv", ROWS)
        jobs = []
        for n, case in enumerate(CASES):
            url = stack.enter_context(quota(case, folder / f"{n}.ledger"))
            start = [BATCHJOB, "start", str(path), "--db", str(folder / f"{n}.db"), "--labels", LABELS, "--quiet"]
            start += ["--base-url", url, "--model", "m", "--concurrency", "40", "--max-tokens", str(MAX_TOKENS)]
            start += case.told
            jobs.append(subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=sys.stderr))
        codes = [job.wait() for job in jobs]
        if any(codes):
            raise SystemExit(f"exit codes {codes}")
        lines = [told(case, folder / f"{n}.db") for n, case in enumerate(CASES)]
    head = f"{ROWS:,} rows a job, {PER_MINUTE:,} requests a minute (or {TOKENS} tokens), windows of 60 s"
    write_result("pacing", [head, "share: of the whole minutes behind the first; 429s: of the whole job", *lines])


if __name__ == "__main__":
    main()
