"""Inputs: rows, defects, and reading on from any chunk; with real files and real pipes."""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchjob.errors import InputChanged, InputError, SettingError
from batchjob.inputs import FORMATS, open_input
from batchjob.inputs import reader as reader_module
from batchjob.inputs import stream as stream_module
from batchjob.inputs.reader import StreamReader
from batchjob.model import Chunk, InputRow

TABLE = [{"id": f"k{n}", "text": f"text {n} — ünï, 中文", "lang": "xx"} for n in range(1, 26)]


def read(path: Path | str, **options: str | None) -> StreamReader:
    wanted = {"format": None, "encoding": "utf-8", "id_column": None, "text_column": None, **options}
    return open_input(str(path), **wanted)  # type: ignore[arg-type]


def all_chunks(reader: StreamReader, *, chunk_rows: int = 1000) -> list[Chunk]:
    return list(reader.chunks(position=0, digest="", number=1, chunk_rows=chunk_rows))


def all_rows(reader: StreamReader, *, chunk_rows: int = 1000) -> list[InputRow]:
    return [row for chunk in all_chunks(reader, chunk_rows=chunk_rows) for row in chunk.rows]


def after(reader: StreamReader, chunk: Chunk, *, chunk_rows: int = 1000) -> list[InputRow]:
    number = chunk.first_number + len(chunk.rows)
    rest = reader.chunks(position=chunk.position, digest=chunk.digest, number=number, chunk_rows=chunk_rows)
    return [row for chunk in rest for row in chunk.rows]


def rows_of(path: Path, content: bytes | str, **options: str | None) -> list[InputRow]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return all_rows(read(path, **options))


def refusal(path: Path, content: bytes | str, **options: str | None) -> str:
    with pytest.raises(InputError) as raised:
        rows_of(path, content, **options)
    return str(raised.value)


# ---------------------------------------------------------------- every format, one suite


def write_delimited(delimiter: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(TABLE[0])
            writer.writerows(row.values() for row in TABLE)

    return write


def write_jsonl(path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in TABLE))


def write_parquet(path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(TABLE), path)


def write_xlsx(path: Path) -> None:
    pytest.importorskip("python_calamine")
    book = pytest.importorskip("openpyxl").Workbook()
    for row in (TABLE[0], *(row.values() for row in TABLE)):
        book.active.append(list(row))
    book.save(path)


WRITERS = {
    "csv": write_delimited(","),
    "tsv": write_delimited("\t"),
    "jsonl": write_jsonl,
    "parquet": write_parquet,
    "xlsx": write_xlsx,
}
SAMPLES = [*FORMATS, "csv.gz", "tsv.gz", "jsonl.gz", "ndjson"]


@pytest.fixture(params=SAMPLES)
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """TABLE in each format."""
    path = tmp_path / f"sample.{request.param}"
    name, _, zipped = request.param.partition(".")
    WRITERS["jsonl" if name == "ndjson" else name](path)
    if zipped:
        path.write_bytes(gzip.compress(path.read_bytes()))
    return path


def test_every_format_gives_the_same_keys_and_texts_in_order(sample: Path) -> None:
    rows = all_rows(read(sample), chunk_rows=7)
    assert [(key, text) for _, key, text, _, _ in rows] == [(row["id"], row["text"]) for row in TABLE]
    assert {defect for *_, defect in rows} == {None}


def test_every_format_keeps_the_other_columns(sample: Path) -> None:
    named = not sample.name.startswith(("sample.csv", "sample.tsv"))
    assert {row[3] for row in all_rows(read(sample))} == {'{"lang":"xx"}' if named else '["xx"]'}


@pytest.mark.parametrize("chunk_rows", [1, 5, 24, 25, 26])
def test_every_format_reads_on_from_each_chunk_as_if_never_stopped(sample: Path, chunk_rows: int) -> None:
    reader = read(sample)
    whole = all_rows(reader)
    seen = 0
    for chunk in all_chunks(reader, chunk_rows=chunk_rows):
        seen += len(chunk.rows)
        assert after(read(sample), chunk, chunk_rows=chunk_rows) == whole[seen:]
    assert seen == len(whole)


def test_only_the_last_chunk_of_every_format_is_complete(sample: Path) -> None:
    for chunk_rows in (4, 25):
        flags = [chunk.complete for chunk in all_chunks(read(sample), chunk_rows=chunk_rows)]
        assert flags == [False] * (len(flags) - 1) + [True]


def test_every_format_refuses_to_read_on_behind_something_else(sample: Path) -> None:
    reader = read(sample)
    chunk = next(reader.chunks(position=0, digest="", number=1, chunk_rows=3))
    with pytest.raises(InputChanged) as raised:
        next(reader.chunks(position=chunk.position, digest="0123456789abcdef", number=4, chunk_rows=3))
    assert f"{chunk.digest[:12]}, not 0123456789ab;" in str(raised.value)
    assert "--new" in str(raised.value)


def test_every_format_says_which_columns_there_are_when_one_is_missing(sample: Path) -> None:
    for option in ("text_column", "id_column"):
        with pytest.raises(InputError, match=r"no column 'nope'; its columns are: id, text, lang\. .*--"):
            read(sample, **{option: "nope"})


def test_the_source_tells_what_is_needed_to_open_it_again(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sample.parent)
    source = read(sample.name).source
    assert source.path == str(sample)
    assert (source.columns, source.id_column, source.text_column) == (("id", "text", "lang"), "id", "text")
    assert (source.size, source.mtime_ns) == (sample.stat().st_size, sample.stat().st_mtime_ns)
    again = read(source.path, format=source.format, encoding=source.encoding).source
    assert again == source


# ---------------------------------------------------------------- positions and digests


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=12)


@settings(max_examples=60, deadline=None)
@given(table=st.lists(st.tuples(cells, cells, cells), max_size=12), chunk_rows=st.integers(1, 5))
def test_any_csv_comes_back_and_can_be_resumed_at_any_chunk(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[str, str, str]], chunk_rows: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "any.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("id", "text", "more"), *table])
    reader = read(path)
    rows = all_rows(reader, chunk_rows=chunk_rows)
    assert [(key, text, *json.loads(rest or "")) for _, key, text, rest, _ in rows] == table
    seen = 0
    for chunk in all_chunks(reader, chunk_rows=chunk_rows):
        seen += len(chunk.rows)
        assert after(reader, chunk) == rows[seen:]
        before = path.read_bytes()[: chunk.position]
        assert hashlib.sha256(before).hexdigest() == chunk.digest


@pytest.mark.parametrize("block_bytes", [1, 2, 7, 64])
def test_the_size_of_a_block_makes_no_difference(
    sample: Path, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = all_chunks(read(sample), chunk_rows=4)
    monkeypatch.setattr(stream_module, "BLOCK_BYTES", block_bytes)
    assert all_chunks(read(sample), chunk_rows=4) == whole
    assert after(read(sample), whole[2]) == [row for chunk in whole[3:] for row in chunk.rows]


def test_a_changed_byte_before_the_position_is_noticed_and_one_behind_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\none\ntwo\nthree\n")
    chunk = next(read(path).chunks(position=0, digest="", number=1, chunk_rows=2))
    path.write_text("text\none\ntwo\nTHREE\n")
    assert [row[2] for row in after(read(path), chunk)] == ["THREE"]
    path.write_text("text\nOne\ntwo\nthree\n")
    with pytest.raises(InputChanged, match="its first 13 bytes have the fingerprint"):
        after(read(path), chunk)


def test_a_shorter_input_is_a_changed_one(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\none\ntwo\nthree\n")
    chunk = next(read(path).chunks(position=0, digest="", number=1, chunk_rows=2))
    path.write_text("text\none\n")
    with pytest.raises(InputChanged, match=r"its 9 bytes \(of 13 read then\)"):
        after(read(path), chunk)


def test_a_file_zipped_between_two_runs_is_still_the_same_input(tmp_path: Path) -> None:
    plain, zipped = tmp_path / "a.csv", tmp_path / "a.csv.gz"
    plain.write_text("text\n" + "".join(f"row {n}\n" for n in range(9)))
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    chunk = all_chunks(read(plain), chunk_rows=4)[0]
    assert [row[2] for row in after(read(zipped), chunk)] == [f"row {n}" for n in range(4, 9)]


def test_lines_count_from_the_header_on_also_after_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text\r\n"two\r\nlines"\r\n\r\nfive\r\n"six\n\nseven"\nnine')
    reader = read(path)
    assert [(row[0], row[2]) for row in all_rows(reader)] == [
        (2, "two\r\nlines"),
        (5, "five"),
        (6, "six\n\nseven"),
        (9, "nine"),
    ]
    for chunk in all_chunks(reader, chunk_rows=1)[:-1]:
        assert after(reader, chunk) == all_rows(reader)[chunk.first_number :]


def test_a_chunk_of_long_texts_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "CHUNK_BYTES", 1 << 19)
    path = tmp_path / "a.csv"
    path.write_text("text\n" + ("x" * 100_000 + "\n") * 30)
    sizes = [len(chunk.rows) for chunk in all_chunks(read(path))]
    assert sum(sizes) == 30
    assert max(sizes) <= 9


# ---------------------------------------------------------------- columns


def test_without_an_id_column_the_key_is_the_number_also_after_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\na\nb\nc\n")
    chunk = all_chunks(read(path), chunk_rows=2)[0]
    assert [row[1] for row in chunk.rows] == ["1", "2"]
    assert [row[1:] for row in after(read(path), chunk)] == [("3", "c", None, None)]


@pytest.mark.parametrize(("header", "text"), [("text,body", "text"), ("body,note", "body"), ("comment", "comment")])
def test_the_text_is_text_then_body_then_the_only_column(tmp_path: Path, header: str, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(header + "\n")
    assert read(path).source.text_column == text


def test_given_columns_win_and_leave_the_others_to_rest(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "a.csv", "id,text,ref\n1,t,r\n", id_column="ref", text_column="id")
    assert rows == [(2, "r", "1", '["t"]', None)]


def test_an_unnamed_text_column_is_not_guessed_among_several(tmp_path: Path) -> None:
    message = refusal(tmp_path / "a.csv", "Label,SMS\nham,hi\n")
    assert "its columns are: Label, SMS" in message
    assert "--text-column NAME" in message


def test_duplicate_names_are_refused_and_blank_ones_at_the_end_dropped(tmp_path: Path) -> None:
    assert "two columns are named 'x'" in refusal(tmp_path / "a.csv", "text,x,x\n")
    rows = rows_of(tmp_path / "a.csv", " text ,x,,\na,b,,\n")
    assert rows == [(2, "1", "a", '["b"]', None)]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.csv.gz"])
@pytest.mark.parametrize("content", ["", "\n\n", "﻿"])
def test_an_empty_input_is_refused(tmp_path: Path, name: str, content: str) -> None:
    raw = content.encode()
    assert "is empty" in refusal(tmp_path / name, gzip.compress(raw) if name.endswith("gz") else raw)


@pytest.mark.parametrize("header", ["id,text", "id,text\n"])
def test_a_header_alone_is_one_complete_chunk_without_rows(tmp_path: Path, header: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(header)
    [chunk] = all_chunks(read(path))
    assert (chunk.rows, chunk.complete, chunk.position) == ([], True, len(header))


# ---------------------------------------------------------------- defects of CSV and TSV


def test_a_ragged_row_is_kept_and_says_what_is_wrong(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "a.csv", "id,text,x\n1,a,b,c\n2\n3,ok,z\n4,a,b,,\n")
    assert rows[0] == (
        2,
        "1",
        "a",
        '["b"]',
        "ragged_row: 4 fields where the header has 3; quote the text if it holds the separator",
    )
    assert rows[1][:4] == (3, "2", "", '[""]')
    assert (rows[1][4] or "").startswith("ragged_row: 1 field where")
    assert [row[4] for row in rows[2:]] == [None, None]


def test_an_unclosed_quote_names_the_row_and_the_line_it_began_on(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text\nfine\n"open\nto\nthe end\n')
    chunks = read(path).chunks(position=0, digest="", number=1, chunk_rows=1)
    assert next(chunks).rows[0][2] == "fine"
    with pytest.raises(InputError, match="row 2, which begins on line 3, is never closed"):
        next(chunks)
    assert "never closed" in refusal(path, 'text,"x\n')
    assert "row 1," in refusal(path, 'text\n"')


def test_quotes_in_a_tsv_are_text(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "a.tsv", 'text\tx\n"open\ta\nsays "hi"\tb\n')
    assert [row[2] for row in rows] == ['"open', 'says "hi"']


def test_a_nul_character_is_kept(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "a.csv", "text,x\na\0b,c\nd,e\n")[0][2:4] == ("a\0b", '["c"]')


def test_a_file_with_bare_carriage_returns_is_explained(tmp_path: Path) -> None:
    assert "old Macs" in refusal(tmp_path / "a.csv", "text,x\ra,b\rc,d\r")


def test_a_stray_carriage_return_costs_only_its_row(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "a.csv", "id,text\n1,a\rb\n2,c\n")
    assert (rows[0][0], (rows[0][4] or "")[:15]) == (2, "unreadable_row:")
    assert rows[1] == (3, "2", "c", None, None)


def test_a_field_may_be_longer_than_the_csv_module_allows_by_default(tmp_path: Path) -> None:
    assert len(rows_of(tmp_path / "a.csv", "text\n" + "x" * 1_000_000 + "\n")[0][2]) == 1_000_000


def test_a_field_over_the_limit_names_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchjob.inputs.delimited.MAX_FIELD_CHARS", 1000)
    message = refusal(tmp_path / "a.csv", 'text\nok\n"' + "line\n" * 500)
    assert "row 2, which begins on line 3" in message


def test_a_line_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchjob.inputs.lines.MAX_LINE_BYTES", 1 << 20)
    assert "line 2 is longer than 1 MiB" in refusal(tmp_path / "a.csv", "text\n" + "x" * (2 << 20))


# ---------------------------------------------------------------- JSON Lines


def test_a_line_that_is_no_object_fails_alone_and_keeps_its_beginning(tmp_path: Path) -> None:
    bad = '{"text": "cut' + "x" * 5000
    rows = rows_of(tmp_path / "a.jsonl", f'{{"text":"a"}}\n{bad}\n[1]\n\n{{"text":"b"}}\n')
    assert [row[2] for row in rows] == ["a", "", "", "b"]
    assert [(row[4] or "").split(":")[0] for row in rows] == ["", "bad_json", "bad_json", ""]
    assert json.loads(rows[1][3] or "") == {"_line": bad[:2000]}
    assert rows[3][0] == 5


@pytest.mark.parametrize("first", ["id,text", "[1]", '"x"', '{"text": ', "[" * 100_000])
def test_a_first_line_that_is_no_object_means_another_format(tmp_path: Path, first: str) -> None:
    message = refusal(tmp_path / "a.jsonl", first + "\n")
    assert "line 1 is not a JSON object" in message
    assert ("jq -c" if first.startswith("[") else "--format") in message


@pytest.mark.parametrize(
    ("value", "text", "defect"),
    [
        ("12", "12", None),
        ("1.5", "1.5", None),
        ("123456789012345678901234567890", "123456789012345678901234567890", None),
        ("null", "", None),
        ("true", "", 'not_text: "text" is a boolean; make it a string'),
        ("[1]", "", 'not_text: "text" is an array; make it a string'),
        ("{}", "", 'not_text: "text" is an object; make it a string'),
        (r'"\ud83d\ude00"', "\U0001f600", None),
        (r'"a\ud800b"', "a\ufffdb", None),
        (r'"\udc00"', "\ufffd", None),
    ],
)
def test_a_text_of_another_type(tmp_path: Path, value: str, text: str, defect: str | None) -> None:
    rows = rows_of(tmp_path / "a.jsonl", f'{{"text":"first"}}\n{{"text":{value}}}\n')
    kept = None if value.startswith('"') else f'{{"text":{value}}}'  # what the text does not say of itself
    assert rows[1] == (2, "2", text, kept, defect)


def test_numbers_too_long_for_python_fail_alone(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "a.jsonl", '{"text":"first"}\n{"text":' + "9" * 9000 + '}\n{"text":"c"}\n')
    assert [bool(row[4]) for row in rows] == [False, True, False]


def test_a_missing_text_is_a_defect_and_a_missing_id_an_empty_key(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "a.jsonl", '{"id":7,"text":"a"}\n{"x": [1, 2.50]}\n')
    assert rows == [
        (1, "7", "a", '{"id":7}', None),
        (2, "", "", '{"x":[1, 2.50]}', 'missing_text: no "text" in this object'),
    ]


def test_half_a_surrogate_pair_in_another_column_is_replaced_too(tmp_path: Path) -> None:
    [row] = rows_of(tmp_path / "a.jsonl", '{"text":"a","x":"\\ud800"}\n')
    assert row[3] == '{"x":"\ufffd"}'


def test_line_separators_of_unicode_do_not_end_a_line(tmp_path: Path) -> None:
    [row] = rows_of(tmp_path / "a.jsonl", '{"text":"a\u2028b\x85c"}\n')
    assert row[2] == "a\u2028b\x85c"


# ---------------------------------------------------------------- encodings


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_taken_off_and_tells_the_encoding(tmp_path: Path, encoding: str) -> None:
    rows = rows_of(tmp_path / "a.csv", "text,x\nänd 中文,1\n".encode(encoding))
    assert rows == [(2, "1", "änd 中文", '["1"]', None)]


@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le", "gb18030", "utf-7"])
def test_a_given_encoding_is_used_and_resumed_in(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text\n一\n二\n三\n".encode(encoding))
    reader = read(path, encoding=encoding)
    first, *_ = all_chunks(reader, chunk_rows=2)
    assert [row[2] for row in first.rows] == ["一", "二"]
    assert [row[2] for row in after(reader, first)] == ["三"]


def test_utf_16_without_a_mark_is_taken_for_little_endian(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "a.csv", "text\nä\n".encode("utf-16-le"), encoding="utf-16")[0][2] == "ä"
    assert "--encoding utf-16-le" in refusal(tmp_path / "a.csv", "text\nä\n".encode("utf-16-le"))


@pytest.mark.parametrize("block_bytes", [1, 3, 1 << 18])
@pytest.mark.parametrize(("encoding", "bad", "guess"), [("utf-8", b"\xe9", "cp1252"), ("cp1252", b"\x81", "utf-8")])
def test_a_byte_of_another_encoding_is_named_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, bad: bytes, guess: str, block_bytes: int
) -> None:
    monkeypatch.setattr(stream_module, "BLOCK_BYTES", block_bytes)
    path = tmp_path / "a.csv"
    path.write_bytes(b'text\n"one\nmore"\ntwo\ncaf' + bad + b" three\nfour\n")
    chunks = read(path, encoding=encoding).chunks(position=0, digest="", number=1, chunk_rows=2)
    assert [row[2] for row in next(chunks).rows] == ["one\nmore", "two"]
    with pytest.raises(InputError) as raised:
        next(chunks)
    assert f"byte 0x{bad[0]:02x} at offset 23 (line 5, row 3) is not {encoding}" in str(raised.value)
    assert f"--encoding {guess}" in str(raised.value)


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 4, 5, 100])
@pytest.mark.parametrize("bad", [b"\x81\xff\n", b"\xff\n", b"\x81"])
def test_a_bad_byte_behind_a_character_cut_by_a_block_is_named_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int, bad: bytes
) -> None:
    monkeypatch.setattr(stream_module, "BLOCK_BYTES", block_bytes)
    content = "text\n一".encode("gb18030") + bad
    message = refusal(tmp_path / "a.csv", content, encoding="gb18030")
    assert f"byte 0x{bad[0]:02x} at offset 8 (line 2, row 1) is not gb18030" in message


@pytest.mark.parametrize("block_bytes", [11, 12, 13, 14])
def test_a_bad_surrogate_behind_a_cut_one_is_named_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(stream_module, "BLOCK_BYTES", block_bytes)
    content = "text\n\U0001f600".encode("utf-16-be") + b"\xdc\0\0a\0\n"
    assert "byte 0xdc at offset 9 (line 2, row 1)" in refusal(tmp_path / "a.csv", content, encoding="utf-16-be")


def test_a_bad_byte_in_the_header_is_named(tmp_path: Path) -> None:
    assert "(line 1, the header) is not utf-8" in refusal(tmp_path / "a.csv", b"text,caf\xe9\n")
    assert "(line 1, row 1) is not utf-8" in refusal(tmp_path / "a.jsonl", b'{"text":"caf\xe9"}\n')


@pytest.mark.parametrize("encoding", ["klingon", "hex", "", "a\0b"])
def test_an_unknown_encoding_is_a_setting_to_correct(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\n")
    with pytest.raises(SettingError, match="is not known"):
        read(path, encoding=encoding)


def test_an_encoding_that_now_fails_before_the_position_means_the_input_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text\né one\ntwo\nthree\n".encode("cp1252"))
    reader = read(path, encoding="cp1252")
    chunk = all_chunks(reader, chunk_rows=2)[0]
    path.write_bytes(b"text\n\x81 one\ntwo\nthree\n")
    with pytest.raises(InputChanged):
        after(reader, chunk)


# ---------------------------------------------------------------- files that cannot be read


def test_a_gzip_file_of_several_members_and_padding_is_read_whole(tmp_path: Path) -> None:
    content = b"".join(gzip.compress(part) for part in (b"text\na", b"b\n", b"", b"c\n")) + b"\0" * 300_000
    assert [row[2] for row in rows_of(tmp_path / "a.csv.gz", content)] == ["ab", "c"]


def test_a_cut_gzip_file_gives_its_rows_before_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    text = "text\n" + "".join(f"{hashlib.sha256(str(n).encode()).hexdigest()}\n" for n in range(20_000))
    path.write_bytes(gzip.compress(text.encode())[:-100_000])
    chunks = read(path).chunks(position=0, digest="", number=1, chunk_rows=100)
    assert len(next(chunks).rows) == 100
    with pytest.raises(InputError, match="is cut off"):
        list(chunks)


def test_what_is_no_gzip_or_damaged_is_refused_by_name(tmp_path: Path) -> None:
    assert "a.csv.gz is not a sound gzip file" in refusal(tmp_path / "a.csv.gz", "text\nplain\n")
    damaged = bytearray(gzip.compress(b"text\nhello\n"))
    damaged[-5] ^= 1
    assert "not a sound gzip file" in refusal(tmp_path / "a.csv.gz", bytes(damaged))


def test_a_small_gzip_file_of_much_text_is_unzipped_a_block_at_a_time() -> None:
    zipped = gzip.compress(b"x" * (20 << 20))
    sizes = [len(block) for block in stream_module.gunzip(iter([zipped]), "a.gz")]
    assert sum(sizes) == 20 << 20
    assert max(sizes) <= stream_module.BLOCK_BYTES


def test_missing_files_directories_and_permissions_each_have_their_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        read(tmp_path / "none.csv")
    (tmp_path / "dir.csv").mkdir()
    with pytest.raises(InputError, match="is a directory"):
        read(tmp_path / "dir.csv")
    path = tmp_path / "locked.csv"
    path.write_text("text\n")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(InputError, match=r"may not be read by this user; .*chmod"):
        read(path)


def test_an_unknown_suffix_lists_the_known_ones_and_the_option(tmp_path: Path) -> None:
    (tmp_path / "a.doc").touch()
    with pytest.raises(InputError, match=r"\.csv, \.tsv, \.jsonl, \.parquet.*--format"):
        read(tmp_path / "a.doc")
    with pytest.raises(SettingError, match="format 'xml' is not known"):
        read(tmp_path / "a.csv", format="xml")


def test_a_given_format_wins_over_the_suffix(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "a.txt", "id\ttext\n1\ta\n", format="tsv") == [(2, "1", "a", None, None)]


# ---------------------------------------------------------------- stdin and pipes

PIPED = """
import json, sys
from batchjob.inputs import open_input
reader = open_input("-", format=None, encoding="utf-8", id_column=None, text_column=None)
position, digest, number = json.loads(sys.argv[1])
chunks = reader.chunks(position=position, digest=digest, number=number, chunk_rows=2)
print(json.dumps([reader.source.format, [[c.rows, c.position, c.digest] for c in chunks]]))
"""


def pipe(content: bytes, start: tuple[int, str, int] = (0, "", 1)) -> tuple[str, list[list[object]]]:
    done = subprocess.run(
        [sys.executable, "-c", PIPED, json.dumps(start)], input=content, capture_output=True, check=True
    )
    format, chunks = json.loads(done.stdout)
    return format, chunks


@pytest.mark.parametrize(
    ("content", "format"),
    [(b"text\na\nb\nc\n", "csv"), (b' \n{"text":"a"}\n{"text":"b"}\n{"text":"c"}\n', "jsonl")],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_stdin_tells_its_format_and_resumes_when_piped_in_again(content: bytes, format: str, zipped: bool) -> None:
    piped = gzip.compress(content) if zipped else content
    found, chunks = pipe(piped)
    assert found == format
    assert [row[2] for rows, *_ in chunks for row in rows] == ["a", "b", "c"]  # type: ignore[attr-defined]
    _, position, digest = chunks[0]
    _, rest = pipe(piped, (position, digest, 3))  # type: ignore[arg-type]
    assert rest == chunks[1:]


def test_stdin_can_be_read_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"text\na\n")))
    reader = read("-")
    assert (reader.source.path, reader.source.size, reader.source.mtime_ns) == ("-", None, None)
    assert [row[2] for row in all_rows(reader)] == ["a"]
    with pytest.raises(InputError, match="stdin can be read only once"):
        all_rows(reader)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[tuple[Path, Callable[[bytes], None]]]:
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    writers: list[threading.Thread] = []

    def feed(content: bytes) -> None:
        writers.append(threading.Thread(target=path.write_bytes, args=(content,)))
        writers[-1].start()

    yield path, feed
    for writer in writers:
        writer.join(timeout=10)


def test_a_named_pipe_is_read_once_from_its_beginning(fifo: tuple[Path, Callable[[bytes], None]]) -> None:
    path, feed = fifo
    feed(codecs.BOM_UTF8 + b"text\n" + b"row\n" * 100_000)
    reader = read(path)
    assert reader.source.size is None
    assert len(all_rows(reader)) == 100_000


def test_the_first_rows_of_a_slow_pipe_come_before_its_end(fifo: tuple[Path, Callable[[bytes], None]]) -> None:
    path, _ = fifo
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.write(descriptor, b"text\na\nb\n")
        chunks = read(path).chunks(position=0, digest="", number=1, chunk_rows=2)
        assert [row[2] for row in next(chunks).rows] == ["a", "b"]
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------- Parquet alone


def test_parquet_values_become_json_and_nulls_blank_texts(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"id": [1, 2], "text": ["a", None], "x": [1.5, None]}), path)
    assert all_rows(read(path)) == [
        (1, "1", "a", '{"id":1,"x":1.5}', None),
        (2, "2", "", '{"id":2,"text":null,"x":null}', None),
    ]


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "batchjob[parquet]" in refusal(tmp_path / "a.parquet", "")


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    assert "is not a Parquet file" in refusal(tmp_path / "a.parquet", "text\n")


def test_parquet_is_not_taken_from_stdin() -> None:
    with pytest.raises(InputError, match="stdin"):
        read("-", format="parquet")
