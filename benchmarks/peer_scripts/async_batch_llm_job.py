"""The same job with async-batch-llm: process_prompts with its JSONL checkpoint, which it flushes once a row.

Run by benchmarks.peers with that library's Python: URL INPUT FOLDER CONCURRENCY PROMPT.
"""

from __future__ import annotations

import asyncio
import csv
import sys
from pathlib import Path

from async_batch_llm import ArtifactIdentity, JsonlArtifactStore, ResumePolicy, llm, process_prompts


async def main() -> None:
    url, path, folder, concurrency, prompt = sys.argv[1:]
    with open(path, newline="") as file:
        rows = [(row["id"], row["text"]) for row in csv.DictReader(file)]
    strategy = llm(
        "openai-compatible:m",
        base_url=url,
        api_key="x",
        system_instruction=prompt,
        temperature=0,
        generation_config={"max_tokens": 56},
    )
    identity = ArtifactIdentity(provider="benchmark", model="m", prompt_version="1")
    store = JsonlArtifactStore(Path(folder) / "checkpoint.jsonl", identity=identity)
    batch = await process_prompts(
        strategy, rows, concurrency=int(concurrency), artifact_store=store, resume=ResumePolicy.REUSE_SUCCESSES
    )
    labels = [result.output for result in batch.results if result.success]
    if len(labels) != len(rows):
        sys.exit(f"{len(labels)} labels for {len(rows)} rows")


asyncio.run(main())
