"""Lines of a stream, with the position and the digest behind those handed out."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from operator import length_hint
from typing import Any, NamedTuple

from batchjob.errors import InputChanged, InputError
from batchjob.inputs.stream import BadByte

MAX_LINE_BYTES = 1 << 28
"""No line is longer than this (256 MiB): a file without line ends would fill the memory."""

SHOWN_DIGITS = 12  # of a fingerprint in a message


class Place(NamedTuple):
    """How many bytes were read, and their hash so far."""

    position: int = 0
    hash: Any = None


class Block(NamedTuple):
    """Whole lines that were read at once, and where reading stood before them."""

    first_line: int
    position: int
    hash: Any
    data: bytes


class Lines:
    """An iterator of lines, each with its "\\n" (the last may lack it). Only "\\n" ends a line.

    It works in blocks: decoding, splitting and hashing a whole block cost far less than doing so for each line.

    Attributes:
        position: bytes up to the last `mark`, or up to the current block if that is further.
        exhausted: somebody asked for a line behind the last one.
        at_start: nothing of the input was passed over.
    """

    def __init__(self, blocks: Iterator[bytes], *, name: str, place: Place | None = None) -> None:
        """`place` is where the file before this one ended, if there is one."""
        place = place or Place()
        self.position = place.position
        self.exhausted = False
        self.at_start = True
        self._name = name
        self._blocks = blocks
        self._hash = place.hash.copy() if place.hash else hashlib.sha256()
        self._last = b"\n"  # that was passed over
        self._since: list[Block] = []  # blocks since the last mark
        self._first_line = 1  # of the current block
        self._data = b""  # the current block, whole lines
        self._lines: list[str] = []  # the same, split
        self._left = iter(self._lines)  # those not handed out yet
        self._marked = 0  # of self._lines: hashed

    @property
    def line(self) -> int:
        """The number of the next line, counted from 1."""
        return self._first_line + len(self._lines) - length_hint(self._left)

    def place(self) -> Place:
        """Where it stands."""
        return Place(self.position, self._hash.copy())

    def skip(self, position: int, digest: str) -> None:
        """Go to a position behind which reading stopped before.

        Raises:
            InputChanged: the bytes before it do not have this digest, or the last line has grown since.
        """
        self.pass_over(position)
        self.check(position, digest)

    def pass_over(self, position: int) -> None:
        """Go to a position, or to the end if that comes first."""
        while self.position < position:
            try:
                block = next(self._blocks, b"")
            except BadByte:
                block = b""  # then, all of it could be decoded
            if not block:
                break
            taken = block[: position - self.position]
            self.at_start, self._last = False, taken[-1:]
            self._hash.update(taken)
            self.position += len(taken)
            self._first_line += taken.count(b"\n")
            if len(taken) < len(block):
                self._blocks = _put_back(block[len(taken) :], self._blocks)

    def check(self, position: int, digest: str) -> None:
        """See that it stands at this position, behind bytes with this digest.

        Raises:
            InputChanged: it does not.
        """
        found = self._hash.hexdigest()
        if position and (self.position < position or found != digest):
            raise InputChanged(
                f"{self._name} is not the input this job began with: {self._first_bytes(position)}"
                f" have the fingerprint {found[:SHOWN_DIGITS]}, not {digest[:SHOWN_DIGITS]};"
                " put the old input back to resume, or give --new to start a new job on this one"
            )
        if self._last != b"\n":
            self._check_last_line()

    def _check_last_line(self) -> None:
        """The last line read had no end then; it may have one now, but nothing else."""
        block = next(self._blocks, b"")
        if block and block[:1] not in (b"\n", b"\r"):
            raise InputChanged(
                f"{self._name}: line {self._first_line:,} was read when it was not finished, and has grown since;"
                " put the old input back to resume, or give --new to start a new job on this one"
            )
        self._blocks = _put_back(block, self._blocks)

    def _first_bytes(self, position: int) -> str:
        if self.position < position:
            return f"it ends too early, and its {self.position:,} bytes (of {position:,} read then)"
        return f"its first {position:,} bytes"

    def mark(self, before: int | None = None) -> tuple[int, str]:
        """Position and digest (hex) behind the lines handed out so far, or, of these, behind those before a line.

        That line must have been handed out since the last mark.
        """
        if before is not None:
            return self._place_of(before)
        self._hash_handed_out()
        del self._since[:-1]
        return self.position, self._hash.hexdigest()

    def _place_of(self, line: int) -> tuple[int, str]:
        block = next((block for block in reversed(self._since) if block.first_line <= line), None)
        if block is None:
            return self.mark()
        rest = block.data.split(b"\n", line - block.first_line)[-1]
        passed = block.data[: len(block.data) - len(rest)]
        hasher = block.hash.copy()
        hasher.update(passed)
        return block.position + len(passed), hasher.hexdigest()

    def __iter__(self) -> Iterator[str]:
        for data in self._whole_lines():
            bad = self._take(data)
            yield from self._left
            self._hash_handed_out()
            if bad is not None:
                raise bad
        self.exhausted = True

    def _take(self, data: bytes) -> BadByte | None:
        """Make this the current block, or, if it is not all UTF-8, the lines before the bad one."""
        bad = None
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            bad = BadByte(self.position + error.start, f"byte 0x{data[error.start]:02x}", "utf-8")
            data = data[: data.rfind(b"\n", 0, error.start) + 1]
            text = data.decode()
        self._first_line += len(self._lines)
        self._since.append(Block(self._first_line, self.position, self._hash.copy(), data))
        self.at_start = False
        self._data = data
        # Not splitlines(), which would split at U+2028 and others inside a text.
        self._lines = io.StringIO(text, newline="\n").readlines()
        self._left = iter(self._lines)
        self._marked = 0
        return bad

    def _hash_handed_out(self) -> None:
        end = len(self._lines) - length_hint(self._left)
        if self._marked == end:
            return
        whole = self._marked == 0 and end == len(self._lines)
        piece = self._data if whole else "".join(self._lines[self._marked : end]).encode()
        self._hash.update(piece)
        self.position += len(piece)
        self._marked = end

    def _whole_lines(self) -> Iterator[bytes]:
        """The blocks, cut anew behind line ends."""
        parts: list[bytes] = []
        size = 0
        for block in self._blocks:
            end = block.rfind(b"\n") + 1
            if end:
                yield b"".join((*parts, block[:end]))
                parts, size = [], 0
            parts.append(block[end:])
            size += len(block) - end
            if size > MAX_LINE_BYTES:
                raise InputError(
                    f"{self._name}: line {self.line:,} is longer than {MAX_LINE_BYTES >> 20} MiB; lines must end"
                    ' with "\\n"'
                )
        if size:
            yield b"".join(parts)


def _put_back(block: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    if block:
        yield block
    yield from blocks
