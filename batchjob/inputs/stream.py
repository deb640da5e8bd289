"""The bytes of an input: opened, unzipped, as UTF-8 without a byte order mark, a block at a time.

Positions and digests of chunks count in these bytes, so a file may be gzipped between two runs and still is the same
input.
"""

from __future__ import annotations

import codecs
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from batchjob.errors import InputError, SettingError
from batchjob.files import barred_folder
from batchjob.inputs.recognise import GZIP, HEAD_BYTES

BLOCK_BYTES = 1 << 18
"""Read at once. Large enough that the work for each block does not count, small enough to stay in the CPU's cache."""

GZIP_FORMAT = 31  # zlib's wbits for a gzip member with its checksum

BYTE_ORDER_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LONGEST_MARK = 4

UNMARKED = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}
"""What these mean where there is no mark: Windows, which writes most of them, writes little-endian."""


class BadByte(Exception):
    """The input is not in its encoding. Whoever knows the row turns this into an InputError."""

    def __init__(self, position: int, what: str, encoding: str) -> None:
        super().__init__(position, what, encoding)
        self.position = position  # bytes of the decoded stream before it
        self.what = what
        self.encoding = encoding


class Stream:
    """An input's decoded bytes, from the beginning as often as asked; those of a pipe only once.

    Raises:
        InputError: there is no such file, or it may not be read.
        SettingError: the encoding is not known.
    """

    def __init__(self, path: str, encoding: str) -> None:
        self.path = path if path == "-" else os.path.abspath(path)  # noqa: PTH100 (resolve() breaks /dev/fd/63)
        self.name = "stdin" if path == "-" else path
        self.size: int | None = None
        self.mtime_ns: int | None = None
        self.codec = codec_name(encoding)
        self._gzipped = path.lower().endswith(".gz")
        self._piped = path == "-" or not self._stat_file()
        self._kept: list[bytes] = []  # of a pipe: what was peeked at, to be handed out once more
        self._live: Iterator[bytes] | None = None
        self._spent = False

    def peek(self) -> Iterator[bytes]:
        """Blocks from the beginning, to look at the header; `blocks` will hand them out again."""
        if not self._piped:
            yield from self._decoded()
            return
        yield from self._kept
        self._live = self._live or self._decoded()
        for block in self._live:
            self._kept.append(block)
            yield block

    def blocks(self) -> Iterator[bytes]:
        """All blocks, from the beginning.

        Raises:
            BadByte: from here on it is not in its encoding.
            InputError: from here on it cannot be read or unzipped, or it is a pipe that was read before.
        """
        if not self._piped:
            yield from self._decoded()
            return
        if self._spent:
            raise InputError(f"{self.name} can be read only once; pipe it in again, or save it to a file")
        self._spent = True
        while self._kept:
            yield self._kept.pop(0)
        yield from self._live or self._decoded()

    def head(self) -> bytes:
        """The first bytes that are no blanks; empty if there are none."""
        for block in self.peek():
            if text := block.lstrip():
                return text[:HEAD_BYTES]
        return b""

    def _stat_file(self) -> bool:
        """Note size and time; whether it is a regular file, which can be read again."""
        try:
            found = Path(self.path).stat()
        except OSError as error:
            raise _unreadable(self.name, error) from None
        if stat.S_ISDIR(found.st_mode):
            raise _unreadable(self.name, IsADirectoryError())
        if not stat.S_ISREG(found.st_mode):
            return False
        self.size, self.mtime_ns = found.st_size, found.st_mtime_ns
        return True

    def _decoded(self) -> Iterator[bytes]:
        return as_utf8(self._unzipped(), self.codec)

    def _unzipped(self) -> Iterator[bytes]:
        raw = self._raw()
        head = next(raw, b"")
        # No text begins with these two bytes in any encoding.
        if self._gzipped or head.startswith(GZIP):
            return gunzip(_behind(head, raw), self.name)
        return _behind(head, raw)

    def _raw(self) -> Iterator[bytes]:
        try:
            if self.path == "-":
                yield from _read_blocks(sys.stdin.buffer, piped=True)
                return
            with Path(self.path).open("rb") as file:
                yield from _read_blocks(file, piped=self._piped)
        except OSError as error:
            raise _unreadable(self.name, error) from None


def _read_blocks(file: BinaryIO, *, piped: bool) -> Iterator[bytes]:
    # read() would wait until a slow pipe has filled a whole block.
    read = getattr(file, "read1", file.read) if piped else file.read
    while block := read(BLOCK_BYTES):
        yield block


def _behind(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


class WholeFile:
    """What is known of a file that is read by a library, by its path and not as a stream of bytes.

    Raises:
        InputError: there is none, or it may not be read.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)  # noqa: PTH100 (as for a Stream)
        self.name = path
        try:
            found = Path(path).stat()
        except OSError as error:
            raise _unreadable(path, error) from None
        self.size: int | None = found.st_size
        self.mtime_ns: int | None = found.st_mtime_ns

    def peek(self) -> Iterator[bytes]:
        """The same as `blocks`."""
        return self.blocks()

    def blocks(self) -> Iterator[bytes]:
        """Its rows as JSON Lines."""
        raise NotImplementedError


def _unreadable(name: str, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"there is no file {name}; check the path")
    if isinstance(error, IsADirectoryError):
        return InputError(f"{name} is a directory; name a file in it")
    if isinstance(error, PermissionError):
        if barred := barred_folder(name):
            return InputError(f"{name}: this user may not enter the folder {barred}; allow it with: chmod a+x {barred}")
        return InputError(f"{name} may not be read by this user; allow it with: chmod u+r {name}")
    return InputError(f"{name} cannot be read: {error.strerror or error}; check the disk it is on, then resume")


def gunzip(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The content of a gzip file of one or more members, with zero bytes after them allowed as gzip(1) does.

    Raises:
        InputError: it is no gzip file, damaged, or ends too early. What could be unzipped was handed out before.
    """
    member, members = None, 0
    try:
        for block in blocks:
            while block:
                if member is None:
                    if members and not (block := block.lstrip(b"\0")):
                        break
                    member, members = zlib.decompressobj(GZIP_FORMAT), members + 1
                # At most a block at once: a few zipped bytes may stand for gigabytes.
                if unzipped := member.decompress(block, BLOCK_BYTES):
                    yield unzipped
                block = member.unused_data if member.eof else member.unconsumed_tail
                member = None if member.eof else member
        while member is not None and not member.eof:
            if not (unzipped := member.decompress(b"", BLOCK_BYTES)):
                raise InputError(f"{name} is cut off: its gzip stream has no end; copy or download it again")
            yield unzipped
    except zlib.error as error:
        raise InputError(
            f"{name} is not a sound gzip file ({error}); test it with gzip -t, or drop .gz from its name"
        ) from None


def codec_name(encoding: str) -> str:
    """The canonical name of a text codec.

    Raises:
        SettingError: Python has no such codec, or it is not one for text.
    """
    try:
        name = codecs.lookup(encoding).name
        "a".encode(name)  # LookupError for a codec that is not for text, such as hex
    except (LookupError, ValueError):
        raise SettingError(
            f"encoding {encoding!r} is not known; common ones: utf-8, utf-16, cp1252, latin-1, gb18030, shift_jis"
        ) from None
    return "utf-8" if name == "utf-8-sig" else name


def as_utf8(blocks: Iterator[bytes], codec: str) -> Iterator[bytes]:
    """The blocks as UTF-8. A byte order mark is taken off, and wins over the codec: it is the file's own word. So is a
    second one, which a program put before a file that had one.

    What is UTF-8 already is handed on unchecked; whoever decodes it will see.

    Raises:
        BadByte: what follows is not in that encoding; all before it was handed out.
    """
    head = b""
    while len(head) < LONGEST_MARK and (block := next(blocks, b"")):
        head += block
    for mark, marked in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            codec = marked
            break
    else:
        codec = UNMARKED.get(codec, codec)
    whole = _behind(head, blocks)
    return _without_marks(whole if codec == "utf-8" else _transcoded(whole, codec))


def _without_marks(blocks: Iterator[bytes]) -> Iterator[bytes]:
    head = b""
    for block in blocks:
        head += block
        while head.startswith(codecs.BOM_UTF8):
            head = head.removeprefix(codecs.BOM_UTF8)
        if not codecs.BOM_UTF8.startswith(head):  # so it is no beginning of another one
            break
    yield from _behind(head, blocks)


def _transcoded(blocks: Iterator[bytes], codec: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(codec)()
    position = 0
    ended = False
    while not ended:
        block = next(blocks, b"")
        ended = not block
        before = decoder.getstate()
        bad: UnicodeDecodeError | None = None
        try:
            text = decoder.decode(block, ended)
        except UnicodeDecodeError as error:
            bad = error
            decoder.setstate(before)
            text = decoder.decode(block[: max(0, error.start - len(before[0]))])
        if encoded := text.encode("utf-8", "replace"):
            position += len(encoded)
            yield encoded
        if bad is not None:
            raise BadByte(position, f"byte 0x{bad.object[bad.start]:02x}", codec)
