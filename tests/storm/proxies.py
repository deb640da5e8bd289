"""The sandbox behind a proxy that others wrote: nginx, or HAProxy."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from test_nginx import NGINX, free_port, until_it_listens

from storm.harness import Plan, Sandbox
from storm.oracle import Bill

HAPROXY = shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")
PROXIES = {"nginx": NGINX, "haproxy": HAPROXY}
"""Name, which is Debian's package too, and program; None where it is not installed."""

_NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; {user}
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream behind {{ server {behind}; keepalive 8; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""
_HAPROXY = """
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
frontend all
  bind 127.0.0.1:{port}
  default_backend behind
backend behind
  http-reuse always
  server one {behind} maxconn 16
"""


class Behind:
    """A sandbox with a ledger, and the proxy that jobs ask instead. See harness.Endpoint."""

    def __init__(self, proxy: str, folder: Path, plan: Plan) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._sandbox = Sandbox(folder, plan)
        port, config = free_port(), folder / f"{proxy}.conf"
        behind = self._sandbox.url.removeprefix("http://").removesuffix("/v1")
        user = "user root;" if Path("/proc/self").stat().st_uid == 0 else ""
        written = {"nginx": _NGINX, "haproxy": _HAPROXY}[proxy]
        config.write_text(written.format(folder=folder, port=port, behind=behind, user=user))
        command = {
            "nginx": [str(NGINX), "-c", str(config), "-p", str(folder), "-e", str(folder / "error.log")],
            "haproxy": [str(HAPROXY), "-db", "-f", str(config)],
        }[proxy]
        self._proxy = subprocess.Popen(command, stderr=(folder / f"{proxy}.err").open("wb"), start_new_session=True)
        until_it_listens(port, self._proxy)
        self.url = f"http://127.0.0.1:{port}/v1"

    def bills(self) -> list[Bill]:
        return self._sandbox.bills()

    def received(self) -> int:
        return self._sandbox.received()

    def close(self) -> None:
        self._proxy.terminate()
        self._proxy.wait()
        self._sandbox.close()
