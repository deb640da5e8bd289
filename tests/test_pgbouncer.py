"""Workers through PgBouncer in transaction mode, with fewer connections to the server than workers have to it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import postgres
from tests.waiting import until

if TYPE_CHECKING:
    from tests.conftest import BatchJob

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
WHY_NOT = postgres.WHY_NOT or ("" if PGBOUNCER else "pgbouncer is not installed (Debian: apt-get install pgbouncer)")
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

CONFIG = """
[databases]
* = host={server} port=5432 user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
logfile = {folder}/pgbouncer.log
"""


@pytest.fixture
def pooled() -> Iterator[str]:
    """The URL of a new database, through PgBouncer."""
    server = postgres.new_database()
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        port = it.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="batchjob-pgbouncer-"))  # pytest's own are for its user alone
    folder.chmod(0o777)
    (folder / "pgbouncer.ini").write_text(CONFIG.format(server=server.split("host=")[1], port=port, folder=folder))
    command = [str(PGBOUNCER), "-q", str(folder / "pgbouncer.ini")]
    user = postgres.server().system_user if os.getuid() == 0 else None  # it runs as anybody but root
    process = subprocess.Popen(command, user=user, stderr=subprocess.PIPE, text=True)
    url = f"postgresql://postgres@127.0.0.1:{port}/{server.split('/')[3].split('?')[0]}"
    try:
        until(lambda: process.poll() is not None or answers(port))
        assert process.poll() is None, process.communicate()[1]
        yield url
    finally:
        process.terminate()
        process.communicate()
        shutil.rmtree(folder)


def answers(port: int) -> bool:
    with socket.socket() as it:
        return it.connect_ex(("127.0.0.1", port)) == 0


def test_three_workers_share_a_job_through_pgbouncer(
    batchjob: BatchJob, sandbox: Callable[..., str], pooled: str
) -> None:
    rows, ledger = 300, batchjob.folder / "ledger.jsonl"
    base = sandbox("--latency", "0.02-0.06", "--ledger", str(ledger))
    (batchjob.folder / "in.csv").write_text("id,text\n" + "".join(f"{n},text {n}\n" for n in range(rows)))
    asked = ("--base-url", base, "--model", "m", "--labels", "a,b", "--rpm", "0", "--concurrency", "4", "--quiet")
    quiet = {"stdout": subprocess.DEVNULL}
    workers = [batchjob.begin("start", "in.csv", *asked, "--db", pooled, **quiet)]
    until(lambda: ledger.exists() and ledger.read_text() != "")
    work = ("work", "in", "--db", pooled, "--concurrency", "4", "--quiet")
    workers += [batchjob.begin(*work, **quiet) for _ in range(2)]
    said = [worker.communicate(timeout=60)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], said
    assert ledger.read_text().count("\n") == rows
    assert batchjob("export", "-o", "labels.csv", "--db", pooled).code == 0
    status = json.loads(batchjob("status", "in", "--json", "--db", pooled).out)
    assert status["rows"]["done"] == rows
    assert (batchjob.folder / "labels.csv").read_text().count("\n") == rows + 1
