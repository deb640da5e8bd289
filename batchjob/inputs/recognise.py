"""What a file is by its first bytes, whatever it is called: tables that are no text, and what is no table at all."""

from __future__ import annotations

import re
import shlex
import zipfile
from pathlib import Path

from batchjob.errors import InputError

HEAD_BYTES = 512
PARQUET, ZIP, OLE, GZIP = b"PAR1", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"\x1f\x8b"

WORKBOOK = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")
"""A member of every zip archive that is a spreadsheet: of .xlsx, .xlsb and .ods."""

REFUSED = (
    (b"PK\x05\x06", "an empty zip archive", "name the file itself"),
    (b"BZh", "compressed with bzip2", "decompress it first: bunzip2 -k {name}"),
    (b"\xfd7zXZ\0", "compressed with xz", "decompress it first: xz -dk {name}"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "decompress it first: zstd -dk {name}"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"Rar!", "a RAR archive", "unpack it first"),
    (b"%PDF", "a PDF document", "export the table from what made it, as CSV"),
    (
        b"SQLite format 3\0",
        "a SQLite database",
        "export the table first: sqlite3 -csv -header {name} 'SELECT * FROM NAME'",
    ),
    (b"ORC", "an ORC file", "convert it to Parquet or CSV"),
    (b"Obj\x01", "an Avro file", "convert it to Parquet or CSV"),
    (b"ARROW1", "an Arrow file", "convert it to Parquet or CSV"),
)
"""(how it begins, what it is, what to do with {name})"""

INSIDE = (
    (ZIP, "a zip archive"),
    (GZIP, "another gzip file"),
    (PARQUET, "a Parquet file"),
    (OLE, "a spreadsheet or document"),
)
"""What a gzip file may hold instead of text."""

_PAGE = re.compile(rb"\s*(?:<!doctype html|<html\b|<head\b|<table\b)", re.IGNORECASE)
_XML = re.compile(rb"\s*<\?xml\b", re.IGNORECASE)


def recognised(path: str) -> str | None:
    """The format of a regular file that is no text, a key of FORMATS; None for text, and for what is no such file.

    Raises:
        InputError: it is something that cannot be read as a table.
    """
    head = head_of(path)
    if head.startswith(PARQUET):
        return "parquet"
    if head.startswith(ZIP):
        return _zipped(path)
    return "xlsx" if head.startswith(OLE) else None


def is_there(path: str) -> bool:
    """Whether there is anything of this name, or it cannot be known: whoever opens it says why."""
    try:
        Path(path).lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def head_of(path: str) -> bytes:
    """The first bytes of a regular file; none of what is no such file, or cannot be read: whoever opens it says why."""
    try:
        if not Path(path).is_file():
            return b""
        with Path(path).open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def _zipped(path: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            members = set(archive.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is a zip archive that cannot be read ({error}); copy or download it again") from None
    if any(name.startswith(("word/", "ppt/")) for name in members):
        raise InputError(f"{path} is a text document or slides, not a table; save its table as CSV or .xlsx")
    if members.intersection(WORKBOOK):
        return "xlsx"
    raise InputError(f"{path} is a zip archive; unpack it first: unzip {shlex.quote(path)}")


def refuse_foreign(head: bytes, name: str, codec: str) -> None:
    """See that the first bytes of an input, unzipped and decoded, may be those of a text with a table.

    Raises:
        InputError: they are of something else, or in another encoding.
    """
    for beginning, what, advice in REFUSED:
        if head.startswith(beginning):
            raise InputError(f"{name} is {what}, not a table; {advice.replace('{name}', shlex.quote(name))}")
    for beginning, what in INSIDE:
        if head.startswith(beginning):
            raise InputError(f"{name} holds {what}; unpack it, and name the file itself")
    if _PAGE.match(head):
        raise InputError(f"{name} is an HTML page, such as a login page that was saved; download the table itself")
    if _XML.match(head):
        raise InputError(f"{name} is an XML document, not a table; export it as CSV or .xlsx")
    if codec == "utf-8" and (order := _byte_order(head)):
        raise InputError(f"{name} looks like UTF-16 without a byte order mark; give --encoding utf-16-{order}")


def _byte_order(head: bytes) -> str:
    """The byte order of what looks like UTF-16 with mostly Latin letters: each second byte is zero."""
    pairs = len(head) // 2
    even, odd = head[: 2 * pairs : 2].count(0), head[1 : 2 * pairs : 2].count(0)
    if pairs < 2 or max(even, odd) < 0.4 * pairs or min(even, odd) > 0.1 * pairs:
        return ""
    return "le" if odd > even else "be"
