"""The script people write: aiohttp, a semaphore and gather; no storage, no retries. The measure of everything else.

python -m benchmarks.bare_loop URL INPUT CONCURRENCY prints rows and seconds of its loop.
"""

from __future__ import annotations

import asyncio
import csv
import sys
import time

import aiohttp

LABELS = ["billing", "refund", "shipping", "account", "other"]
PROMPT = "Classify the text. Answer with one of these labels and nothing else: " + ", ".join(LABELS)


async def label(session: aiohttp.ClientSession, gate: asyncio.Semaphore, url: str, text: str) -> str:
    async with gate:
        body = {
            "model": "m",
            "temperature": 0,
            "max_tokens": 56,
            "messages": [{"role": "system", "content": PROMPT}, {"role": "user", "content": text}],
        }
        async with session.post(f"{url}/chat/completions", json=body) as response:
            answer = await response.json()
            return answer["choices"][0]["message"]["content"]


async def main() -> None:
    url, path, concurrency = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with open(path, newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    gate = asyncio.Semaphore(concurrency)
    began = time.perf_counter()
    async with aiohttp.ClientSession() as session:
        labels = await asyncio.gather(*(label(session, gate, url, text) for text in texts))
    print(len(labels), time.perf_counter() - began)


asyncio.run(main())
