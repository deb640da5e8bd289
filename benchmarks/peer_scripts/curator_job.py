"""The same job with curator: an LLM over a list, with its own folder of responses and limits out of the way.

Run by benchmarks.peers with that library's Python: URL INPUT FOLDER CONCURRENCY PROMPT.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import sys
from pathlib import Path

# curator fetches its tokeniser's table from the internet when it starts; litellm, which it brings, has a copy.
spec = importlib.util.find_spec("litellm")
assert spec is not None
assert spec.origin is not None
os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(spec.origin).parent / "litellm_core_utils" / "tokenizers")

from bespokelabs import curator  # noqa: E402


class Labeller(curator.LLM):
    """One text, one label."""

    def prompt(self, input: dict) -> str:
        return input["text"]

    def parse(self, input: dict, response: str) -> dict:
        return {"id": input["id"], "label": response}


def main() -> None:
    url, path, folder, concurrency, prompt = sys.argv[1:]
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    labeller = Labeller(
        model_name="m",
        backend="openai",
        system_prompt=prompt,
        generation_params={"temperature": 0, "max_tokens": 56},
        backend_params={
            "base_url": url,
            "api_key": "x",
            "max_concurrent_requests": int(concurrency),
            "max_requests_per_minute": 100_000_000,
            "max_tokens_per_minute": 1_000_000_000_000,
        },
    )
    answer = labeller(rows, working_dir=folder)
    labels = [row["label"] for row in answer.dataset if row["label"]]
    if len(labels) != len(rows):
        sys.exit(f"{len(labels)} labels for {len(rows)} rows")


if __name__ == "__main__":
    main()
