"""Lines of a stream, with the position and the digest behind those handed out."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from operator import length_hint

from batchjob.errors import InputChanged, InputError
from batchjob.inputs.stream import BadByte

MAX_LINE_BYTES = 1 << 28
"""No line is longer than this (256 MiB): a file without line ends would fill the memory."""

SHOWN_DIGITS = 12  # of a fingerprint in a message


class Lines:
    """An iterator of lines, each with its "\\n" (the last may lack it). Only "\\n" ends a line.

    It works in blocks: decoding, splitting and hashing a whole block cost far less than doing so for each line.

    Attributes:
        position: bytes up to the last `mark`, or up to the current block if that is further.
        exhausted: somebody asked for a line behind the last one.
    """

    def __init__(self, blocks: Iterator[bytes], *, name: str) -> None:
        self.position = 0
        self.exhausted = False
        self._name = name
        self._blocks = blocks
        self._hash = hashlib.sha256()
        self._first_line = 1  # of the current block
        self._data = b""  # the current block, whole lines
        self._lines: list[str] = []  # the same, split
        self._left = iter(self._lines)  # those not handed out yet
        self._marked = 0  # of self._lines: hashed

    @property
    def line(self) -> int:
        """The number of the next line, counted from 1."""
        return self._first_line + len(self._lines) - length_hint(self._left)

    def skip(self, position: int, digest: str) -> None:
        """Go to a position behind which reading stopped before.

        Raises:
            InputChanged: the bytes before it do not have this digest.
        """
        while self.position < position:
            try:
                block = next(self._blocks, b"")
            except BadByte:
                block = b""  # then, all of it could be decoded
            if not block:
                break
            taken = block[: position - self.position]
            self._hash.update(taken)
            self.position += len(taken)
            self._first_line += taken.count(b"\n")
            if len(taken) < len(block):
                self._blocks = _put_back(block[len(taken) :], self._blocks)
        found = self._hash.hexdigest()
        if position and (self.position < position or found != digest):
            raise InputChanged(
                f"{self._name} is not the input this job began with: {self._first_bytes(position)}"
                f" have the fingerprint {found[:SHOWN_DIGITS]}, not {digest[:SHOWN_DIGITS]};"
                " put the old input back to resume, or give --new to start a new job on this one"
            )

    def _first_bytes(self, position: int) -> str:
        if self.position < position:
            return f"it ends too early, and its {self.position:,} bytes (of {position:,} read then)"
        return f"its first {position:,} bytes"

    def mark(self) -> tuple[int, str]:
        """Position and digest (hex) behind the lines handed out so far."""
        self._hash_handed_out()
        return self.position, self._hash.hexdigest()

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
    yield block
    yield from blocks


def digest_of(blocks: Iterator[bytes]) -> tuple[int, str]:
    """Length and SHA-256 (hex) of all these bytes."""
    hasher, position = hashlib.sha256(), 0
    for block in blocks:
        hasher.update(block)
        position += len(block)
    return position, hasher.hexdigest()
