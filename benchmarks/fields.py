"""What three fields in one request cost beside three jobs of one label each, by the sandbox's usage.

    python benchmarks/fields.py

Texts of about 15, 150 and 600 tokens, five labels a question, an output token at four times the price of an input one.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROWS = 100
QUESTIONS = {
    "category": ("billing", "refund", "card arrival", "exchange rate", "other"),
    "sentiment": ("very negative", "negative", "neutral", "positive", "very positive"),
    "urgency": ("today", "this week", "this month", "any time", "never"),
}
WORDS = ("please", "tell", "me", "why", "the", "card", "that", "was", "sent", "last", "week", "is", "not", "here")
TOKEN_CHARACTERS = 4.3


def command(folder: Path, *arguments: str) -> dict[str, object]:
    """A command that prints JSON."""
    asked = [sys.executable, "-P", "-m", "batchjob", *arguments, "--json"]
    found: dict[str, object] = json.loads(subprocess.run(asked, cwd=folder, capture_output=True, check=True).stdout)
    return found


def cost(folder: Path, *task: str) -> float:
    """USD of a job."""
    status = command(
        folder, "start", "in.csv", "--sandbox", "--rpm", "0", "--price", "1,4", "--new", "--no-cache", *task
    )
    found = status["cost"]
    assert isinstance(found, dict)
    return float(found["usd"])


def ratio(tokens: int, *more: str) -> tuple[float, float]:
    """USD of the one job and of the three."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "in.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["id", "text"])
            for n in range(ROWS):
                text = f"{n}"
                while len(text) < tokens * TOKEN_CHARACTERS:
                    text += " " + WORDS[len(text) % len(WORDS)]
                rows.writerow([n, text])
        (folder / "fields.toml").write_text(
            "".join(f"[[fields]]\nname = {json.dumps(n)}\nlabels = {json.dumps(q)}\n" for n, q in QUESTIONS.items())
        )
        one = cost(folder, "--config", "fields.toml", *more)
        return one, sum(cost(folder, "--labels", ",".join(labels), *more) for labels in QUESTIONS.values())


if __name__ == "__main__":
    for rows in ("1", "10"):
        for tokens in (15, 150, 600):
            one, three = ratio(tokens, "--rows-per-request", rows)
            told = f"{one:.5f} / {three:.5f} USD = {one / three:.2f}"
            print(f"{rows:>2} rows a request, texts of {tokens:>3} tokens: {told}")
