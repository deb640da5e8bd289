"""The same job with litellm: acompletion behind a semaphore, gathered. It keeps nothing on disk.

Run by benchmarks.peers with that library's Python: URL INPUT FOLDER CONCURRENCY PROMPT.
"""

from __future__ import annotations

import asyncio
import csv
import sys

import litellm


async def label(gate: asyncio.Semaphore, url: str, prompt: str, text: str) -> str:
    async with gate:
        answer = await litellm.acompletion(
            model="openai/m",
            api_base=url,
            api_key="x",
            temperature=0,
            max_tokens=56,
            messages=[{"role": "system", "content": prompt}, {"role": "user", "content": text}],
        )
        return answer.choices[0].message.content


async def main() -> None:
    url, path, _, concurrency, prompt = sys.argv[1:]
    with open(path, newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    gate = asyncio.Semaphore(int(concurrency))
    labels = await asyncio.gather(*(label(gate, url, prompt, text) for text in texts))
    if not all(labels):
        sys.exit("a row has no label")


asyncio.run(main())
