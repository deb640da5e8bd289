"""Every sentence that batchjob can print, collected from its code: `python tests/sentences.py`.

With files named behind it, only those that stand in none of them, and how many do: transcripts (see transcript.py), or
the sources of tests. On 2026-11-26 they had 953 of 971. What is a help text, a docstring, SQL or a key is no sentence.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parent.parent / "batchjob"
APART = (
    *("sandbox/", "tables/", "failpoints.py", "cli/sandbox.py", "cli/init.py", "stores/sqlite/group.py"),
    *("task/signals.py", "task/prose.py", "task/languages.py", "views/report/", "page/"),
)
"""What a run does not print: the built-in endpoint's own words, places for tests, words it looks for, files, pages."""
WORDS = re.compile(r"[a-z]{2,}[,:;]? [a-z(-]", re.IGNORECASE)
SQL = re.compile(
    r"\b(SET LOCAL|SELECT|INSERT|UPDATE|DELETE|PRAGMA|CREATE|WHERE|FROM|JOIN|BEGIN|COMMIT|ORDER BY|AND|IN|IS NOT|AS) "
    r"|\w\.\w+ ?[=,]|^\(?\w+, \w+, "
)
PROGRAMMERS = {"RuntimeError", "LookupError", "NotImplementedError", "TypeError", "AttributeError", "AssertionError"}
"""Errors that only somebody who changes the program can meet."""
HELP = {"help", "description", "metavar"}
MATCHED = {
    "fullmatch",
    "match",
    "startswith",
    "endswith",
    "find",
    "split",
    "removeprefix",
    "removesuffix",
    "partition",
    "compile",
    "sub",
    "search",
}
"""Functions whose strings are looked for in a text, or are a table of words."""
HOLE = "\0"
PLACE = re.compile(r"\{[a-z_]+\}")
"""Where a template takes a value."""
KIND = re.compile(r"^[a-z]+_[a-z_]+: ")
"""The kind of an error before its words, which is shown apart."""
NEAR = 600
"""How far apart the pieces of a sentence may stand, in characters."""


class Sentence(NamedTuple):
    """A sentence, with a NUL where a value comes in."""

    place: str
    text: str

    def stands_in(self, text: str) -> bool:
        """Whether a text, its white space made single, has it: all its words in their order, whatever is between."""
        said = KIND.sub("", PLACE.sub(HOLE, self.text))
        pieces = [" ".join(piece.split()) for piece in said.split(HOLE)]
        pieces = [piece for piece in pieces if any(map(str.isalpha, piece))]
        longest = max(pieces, key=len)
        before, after = pieces[: pieces.index(longest)], pieces[pieces.index(longest) + 1 :]
        at = text.find(longest)
        while at >= 0:
            behind = text[at + len(longest) : at + len(longest) + NEAR]
            ahead = text[max(at - NEAR, 0) : at]
            if _in_order(after, behind) and _in_order(before, ahead):
                return True
            at = text.find(longest, at + 1)
        return False


def _in_order(pieces: list[str], text: str) -> bool:
    at = 0
    for piece in pieces:
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True


def sentences() -> Iterator[Sentence]:
    """All of them, in the order of the files."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        if not name.startswith(APART):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in _printed(tree):
                text = _text(node)
                if WORDS.search(text) and not SQL.search(text):
                    yield Sentence(f"{name}:{node.lineno}", text)


def _printed(node: ast.AST) -> Iterator[ast.expr]:
    """The strings below a node, each whole, without docstrings, helps and annotations."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.JoinedStr) or (isinstance(child, ast.Constant) and isinstance(child.value, str)):
            yield child
        elif isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue  # a docstring
        elif isinstance(child, ast.Assert):
            continue  # for who changes the program
        elif (
            _is_matched(child)
            or (isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call) and _called(child.exc) in PROGRAMMERS)
            or (isinstance(child, ast.keyword) and child.arg in HELP)
            or (isinstance(child, ast.Call) and _called(child) in {"About", "Because", "Column", "Decides", "Heading"})
        ):
            continue
        elif not isinstance(child, ast.arguments):
            yield from _printed(child)


def _is_matched(node: ast.AST) -> bool:
    """Whether strings here are compared with a text, and not said."""
    if isinstance(node, ast.Compare):
        return not any(isinstance(part, ast.JoinedStr) for part in ast.walk(node))
    if isinstance(node, ast.Assign | ast.AnnAssign):  # the commands with their help
        names = node.targets if isinstance(node, ast.Assign) else [node.target]
        return any(isinstance(name, ast.Name) and name.id == "COMMANDS" for name in names)
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MATCHED


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    parts = node.values if isinstance(node, ast.JoinedStr) else []
    return "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in parts)


def main(files: list[str]) -> None:
    """Print them, or those that stand in none of these files."""
    seen = " ".join(_read(Path(file)) for file in files)
    found = list(sentences())
    unseen = [sentence for sentence in found if not sentence.stands_in(seen)]
    for sentence in unseen:
        print(f"{sentence.place}: {sentence.text.replace(HOLE, '…')}")
    if files:
        print(f"{len(found) - len(unseen):,} of {len(found):,} were seen")


def _read(file: Path) -> str:
    """What a file says: each line of a transcript once, and of a test the strings without the signs of a pattern."""
    text = file.read_text(encoding="utf-8", errors="replace")
    if file.suffix != ".py":
        return " ".join(" ".join(dict.fromkeys(text.splitlines())).split())
    whole = re.sub(r"\"\s*\n\s*[fr]*\"", "", text)  # a string over two lines is one
    return " ".join(re.sub(r"\\([^\w\s])", r"\1", whole).split())


if __name__ == "__main__":
    main(sys.argv[1:])
