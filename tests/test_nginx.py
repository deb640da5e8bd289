"""nginx's limit_req before an endpoint, at half the speed that the job asks for: no row fails, none is lost."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.server import FaultServer, well

if TYPE_CHECKING:
    from tests.conftest import BatchJob

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
ROWS = 60
A_SECOND = 20  # requests that nginx lets through

pytestmark = [
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: apt-get install nginx-light)"),
    pytest.mark.timeout(60),
]

CONFIG = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; {user}
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  limit_req_zone all zone=all:1m rate={rate}r/s;
  limit_req_status {status};
  server {{
    listen 127.0.0.1:{port};
    location / {{ limit_req zone=all burst=5 nodelay; proxy_pass {behind}; proxy_http_version 1.1; }}
  }}
}}
"""


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        port: int = it.getsockname()[1]
        return port


@pytest.fixture(params=[503, 429])
def limited(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, str, FaultServer]]:
    """nginx's status, its URL, and the endpoint behind it."""
    port = free_port()
    with FaultServer(well).running() as server:
        user = "user root;" if Path("/proc/self").stat().st_uid == 0 else ""
        config = tmp_path / "nginx.conf"
        behind = server.url.removesuffix("/v1")
        config.write_text(
            CONFIG.format(folder=tmp_path, rate=A_SECOND, status=request.param, port=port, behind=behind, user=user)
        )
        command = [str(NGINX), "-c", str(config), "-p", str(tmp_path), "-e", str(tmp_path / "error.log")]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as nginx:
            try:
                until_it_listens(port, nginx)
                yield request.param, f"http://127.0.0.1:{port}/v1", server
            finally:
                nginx.terminate()


def until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError("nginx ended")


@pytest.mark.parametrize("flags", [(), ("--on-unconfirmed", "hold", "--unpaid-status", "503")], ids=["resend", "hold"])
def test_behind_limit_req_every_row_gets_its_label(
    flags: tuple[str, ...], limited: tuple[int, str, FaultServer], batchjob: BatchJob
) -> None:
    status, url, server = limited
    rows = "".join(f"{n},row {n}\n" for n in range(1, ROWS + 1))
    (batchjob.folder / "in.csv").write_text("id,text\n" + rows)
    common = ("--base-url", url, "--model", "m", "--labels", "alpha,beta", "--quiet")
    ended = batchjob("start", "in.csv", *common, "--rpm", str(2 * 60 * A_SECOND), "--max-attempts", "2", *flags)
    assert ended.code == 0, ended.err
    told = json.loads(batchjob("status", "--json").out)
    assert told["rows"]["done"] == ROWS
    refused = "lost" if status == 503 and not flags else "rejected"
    counts = {name: told["requests"][name] for name in ("answered", "lost", "rejected") if told["requests"][name]}
    assert counts.keys() == {"answered", refused}, "nginx refused some, and they are taken for what they are"
    assert counts["answered"] == ROWS
    assert len(server.requests) == ROWS
