"""Tables as people have them: no row and no column vanishes on the way in, or it is said."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import sqlite3
import unicodedata
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batchjob.errors import InputError, SettingError
from batchjob.inputs import open_input
from batchjob.inputs.reader import StreamReader
from batchjob.model import Chunk, InputRow
from batchjob.settings.labelsfile import parse_labels_file

if TYPE_CHECKING:
    from tests.conftest import BatchJob

JOB = ("--labels", "a,b", "--sandbox", "--rpm", "0", "--quiet")


def read(path: Path, **options: Any) -> StreamReader:
    return open_input(
        str(path), **{"format": None, "encoding": "utf-8", "id_column": None, "text_column": None, **options}
    )


def chunks_of(path: Path, content: bytes | str, **options: Any) -> tuple[StreamReader, list[Chunk]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    reader = read(path, **options)
    return reader, list(reader.chunks(position=0, digest="", number=1, chunk_rows=1000))


def rows_of(path: Path, content: bytes | str, **options: Any) -> list[InputRow]:
    return [row for chunk in chunks_of(path, content, **options)[1] for row in chunk.rows]


def texts_of(path: Path, content: bytes | str, **options: Any) -> list[str]:
    return [row[2] for row in rows_of(path, content, **options)]


def said_of(path: Path, content: bytes | str, **options: Any) -> str:
    return "; ".join(chunks_of(path, content, **options)[0].source.said)


def warnings_of(path: Path, content: bytes | str, **options: Any) -> list[str]:
    return [notice.what for chunk in chunks_of(path, content, **options)[1] for notice in chunk.noticed]


def until_it_stops(path: Path) -> tuple[list[InputRow], str]:
    """The rows before the place where it cannot be read on, and what is said about that."""
    got: list[InputRow] = []
    content = path.read_bytes()
    try:
        for chunk in read(path).chunks(position=0, digest="", number=1, chunk_rows=2000):
            got += chunk.rows
            assert content[: chunk.position].count(b"\n") == len(got) + 1
    except InputError as error:
        return got, str(error)
    pytest.fail("it was read to its end")


# ---------------------------------------------------------------- quotes


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_text_behind_a_closing_quote_stops_the_reading_and_the_rows_before_it_are_kept(
    tmp_path: Path, ending: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(ending.join(["id,text", "1,one", "2,two", '3,"broken', "4,four", '5,a"b', "6,six", ""]).encode())
    chunks = read(path).chunks(position=0, digest="", number=1, chunk_rows=1000)
    first = next(chunks)
    assert [row[2] for row in first.rows] == ["one", "two"]
    assert not first.complete
    with pytest.raises(InputError, match=r"line 6: text .* quote, in row 3, which begins on line 4"):
        next(chunks)
    # Mended behind that place, it is read on.
    path.write_bytes(path.read_bytes().replace(b'3,"broken', b"3,broken"))
    rest = list(read(path).chunks(position=first.position, digest=first.digest, number=3, chunk_rows=1000))
    assert [row[2] for chunk in rest for row in chunk.rows] == ["broken", "four", 'a"b', "six"]
    assert [row[0] for chunk in rest for row in chunk.rows] == [4, 5, 6, 7]


def test_rows_before_a_place_that_cannot_be_read_are_kept_whatever_it_is(tmp_path: Path) -> None:
    bad: dict[str, bytes] = {
        "a.csv": b'id,text\n1,one\n2,"two\nlines"\n3,"never closed\n',
        "b.csv": b"id,text\n1,one\n2,two\n3,caf\xe9\n",
        "c.jsonl": b'{"text":"one"}\n{"text":"two"}\n{"text":"caf\xe9"}\n',
        "d.tsv": b"id\ttext\n1\tone\n2\ttwo\n3\tcaf\xe9\n",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        chunks = read(tmp_path / name).chunks(position=0, digest="", number=1, chunk_rows=1000)
        first = next(chunks)
        assert len(first.rows) == 2, name
        assert first.position == content.rfind(b"\n3") + 1 if name != "c.jsonl" else 30, name
        with pytest.raises(InputError, match="row 3"):
            next(chunks)


def test_a_row_that_cannot_be_read_far_from_where_it_begins_costs_no_row_before_it(tmp_path: Path) -> None:
    rows = [f"{n},text {n}" for n in range(1, 5000)]
    swallowed = "\n".join(["x" * 100] * 20_000)  # over many blocks
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["id,text", *rows, '5000,"', swallowed, '"oops,1', ""]))
    got, error = until_it_stops(path)
    assert "in row 5,000, which begins on line 5,001" in error
    assert [row[1] for row in got] == [str(n) for n in range(1, 5000)]


def test_start_keeps_the_rows_before_a_stray_quote_and_goes_on_when_it_is_mended(
    batchjob: BatchJob,
) -> None:
    lines = ["id,text", *(f"{n},ticket {n}" for n in range(1, 6)), '6,"stray', *(f'{n},a "{n}"' for n in range(7, 20))]
    (batchjob.folder / "t.csv").write_text("\n".join(lines) + "\n")
    ended = batchjob("start", "t.csv", *JOB)
    assert ended.code == 1
    assert "line 8: text stands behind a closing quote" in ended.err
    assert json.loads(batchjob("status", "--json").out)["rows"]["total"] == 5
    (batchjob.folder / "t.csv").write_text("\n".join(lines).replace('6,"stray', "6,stray") + "\n")
    assert batchjob("start", "t.csv", *JOB, "--output", "o.csv").code == 0
    with (batchjob.folder / "o.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == [str(n) for n in range(1, 20)]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            [
                "id,text",
                *(f"{n},ticket {n}" for n in range(1, 9)),
                '9,"stray',
                *(f"{n},t" for n in range(10, 14)),
                '14,t"',
            ],
            5,
        ),
        (["text,id", "one,1", '"two,2', "three,3", 'four",4', "five,5"], 2),
        (["id;text;lang", "T-1;one;de", 'T-2;"two;fr', "T-3;three;de", 'T-4;four";fr', "T-5;five;de"], 2),
    ],
)
def test_a_field_whose_lines_would_be_rows_is_warned_of(tmp_path: Path, lines: list[str], told: int) -> None:
    [warning] = warnings_of(tmp_path / "a.csv", "\n".join(lines) + "\n")
    assert f"holds {told} lines that look like rows" in warning


@pytest.mark.parametrize(
    "content",
    [
        'id,text\n1,"Hello,\nBest regards, Bob"\n2,x\n',
        'id,text\n1,"Berlin, Germany\nParis, France"\n2,x\n',
        'text,id\n"Hello, Bob\nhow are you",1\nx,2\n',
        'text\n"one\ntwo\nthree"\nfour\n',
        'id,text,lang\n1,"a\nb\n\nc",de\n',
        'id,text\n1,"1. one\n2. two\n3. three"\n',
    ],
)
def test_a_text_of_many_lines_is_not(tmp_path: Path, content: str) -> None:
    assert warnings_of(tmp_path / "a.csv", content) == []


def test_profile_and_status_tell_of_swallowed_rows(batchjob: BatchJob) -> None:
    lines = ["id,text", "1,one", '2,"two', *(f"{n},t" for n in range(3, 40)), '40,forty"', "41,last"]
    (batchjob.folder / "t.csv").write_text("\n".join(lines) + "\n")
    sentence = "row 2 (line 3): 'text' holds 38 lines that look like rows; is a quote on line 3 too many?"
    assert f"warning   {sentence}" in batchjob("profile", "t.csv").out
    assert json.loads(batchjob("profile", "t.csv", "--json").out)["input"]["warnings"] == [sentence]
    assert batchjob("start", "t.csv", *JOB).code == 0
    assert f"warning   {sentence}" in batchjob("status").out
    assert json.loads(batchjob("status", "--json").out)["warnings"] == [sentence]


def test_quotes_written_with_a_backslash_are_read_where_the_whole_beginning_agrees(tmp_path: Path) -> None:
    content = 'id,text\n1,"say \\"hi\\", then go"\n2,"a \\\\ b"\n3,plain\n'
    assert texts_of(tmp_path / "a.csv", content) == ['say "hi", then go', "a \\ b", "plain"]
    assert "backslash" in said_of(tmp_path / "a.csv", content)


@pytest.mark.parametrize("escaped", ["\\n", "\\N", "\\t", "C:\\new"])
def test_a_backslash_that_can_mean_two_things_is_refused(tmp_path: Path, escaped: str) -> None:
    with pytest.raises(InputError, match=r"line 3 holds .* doubled quotes"):
        rows_of(tmp_path / "a.csv", f'id,text\n1,"say \\"hi\\", x"\n2,"a {escaped} b"\n')


def test_a_backslash_that_can_mean_two_things_far_behind_the_beginning_stops_the_reading(tmp_path: Path) -> None:
    rows = [f'{n},"say \\"hi\\", {n}"' for n in range(1, 20_000)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["id,text", *rows, '20000,"a \\n b"', "20001,x", ""]))
    got, error = until_it_stops(path)
    assert "line 20,001 holds" in error
    assert len(got) == 19_999


def test_backslashes_that_escape_nothing_are_text(tmp_path: Path) -> None:
    content = 'id,text\n1,"C:\\dir\\"\n2,"a\\nb, ""c"""\n3,\\x\n'
    assert texts_of(tmp_path / "a.csv", content) == ["C:\\dir\\", 'a\\nb, "c"', "\\x"]


# ---------------------------------------------------------------- separators


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz"])
@pytest.mark.parametrize(("separator", "plural"), [(";", "semicolons"), ("|", "bars"), ("\t", "tabs"), (",", "commas")])
def test_another_separator_is_read_where_the_whole_beginning_agrees_and_said(
    tmp_path: Path, name: str, separator: str, plural: str
) -> None:
    buffer = io.StringIO(newline="")
    table = [["id", "text", "n"], ["1", "Hallo, Welt", "3,50"], ["2", f"a{separator}b", "x"], ["3", "zwei\nZeilen", ""]]
    if name == "a.tsv" and separator == "\t":
        table = table[:2]
    csv.writer(buffer, delimiter=separator).writerows(table)
    content = buffer.getvalue().encode()
    path = tmp_path / name
    rows = rows_of(path, gzip.compress(content) if name.endswith("gz") else content)
    assert [[row[1], row[2], *json.loads(row[3] or "")] for row in rows] == table[1:]
    usual = separator == ("\t" if name == "a.tsv" else ",")
    assert (f"separated by {plural}" in "; ".join(read(path).source.said)) == (not usual)


def test_a_separator_that_a_row_does_not_agree_with_is_refused_and_may_be_insisted_on(tmp_path: Path) -> None:
    content = "id;text\n1;one\n2;two;too many\n"
    with pytest.raises(InputError, match=r"by semicolons, but line 3 has 3 fields and the header 2; .*--delimiter ';'"):
        rows_of(tmp_path / "a.csv", content)
    rows = rows_of(tmp_path / "a.csv", content, delimiter=";")
    assert [(row[2], bool(row[4])) for row in rows] == [("one", False), ("two", True)]
    assert texts_of(tmp_path / "a.csv", content, text_column="id;text") == ["1;one", "2;two;too many"]


@pytest.mark.parametrize("given", ["tab", "\t", "\\t", "TAB"])
def test_a_tab_can_be_typed(tmp_path: Path, given: str) -> None:
    assert texts_of(tmp_path / "a.csv", 'id\ttext\n1\t"a\tb"\n', delimiter=given) == ["a\tb"]


@pytest.mark.parametrize("given", ["", ";;", '"', "a", "\n", "\\"])
def test_what_separates_nothing_is_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(SettingError, match="--delimiter"):
        rows_of(tmp_path / "a.csv", "id,text\n1,a\n", delimiter=given)


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;", "sep=;\r"])
def test_the_separator_that_excel_names_is_honoured(tmp_path: Path, line: str) -> None:
    assert texts_of(tmp_path / "a.csv", f"{line}\nid;text\n1;a\n2;b;c\n")[0] == "a"
    assert rows_of(tmp_path / "b.csv", "sep=,\nid,text\n1,a;b\n")[0][:3] == (3, "1", "a;b")


def test_ragged_rows_do_not_make_a_comma_another_separator(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "a.csv", "id,text\n1,a;b\n2,c,d;e\n3;4,f;g\n")
    assert [bool(row[4]) for row in rows] == [False, True, False]


def test_a_tsv_that_was_quoted_like_csv_is_read_so(tmp_path: Path) -> None:
    content = 'id\ttext\n1\t"a\ttab"\n2\t"says ""hi"""\n3\t"two\nlines"\n'
    assert texts_of(tmp_path / "a.tsv", content) == ["a\ttab", 'says "hi"', "two\nlines"]
    assert texts_of(tmp_path / "b.tsv", 'id\ttext\n1\t"says ""hi"""\n2\tplain\n') == ['says "hi"', "plain"]
    assert texts_of(tmp_path / "c.tsv", '"id"\t"text"\n"1"\t"a"\n') == ["a"]
    assert texts_of(tmp_path / "d.tsv", 'id\ttext\n1\t"a"\n2\t"b\n3\tc"d\n') == ['"a"', '"b', 'c"d']


def test_a_job_goes_on_as_it_was_read_and_not_in_another_way(batchjob: BatchJob) -> None:
    rows = [f"{n};ticket, number {n}" for n in range(1, 5001)]
    (batchjob.folder / "t.csv").write_text("\n".join(["id;text", *rows]) + "\n")
    assert batchjob("start", "t.csv", *JOB, "--limit", "10").code == 0
    assert batchjob("resume", "--quiet", "--output", "o.csv").code == 0
    with (batchjob.folder / "o.csv").open(newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)] == [f"ticket, number {n}" for n in range(1, 5001)]
    (batchjob.folder / "v.csv").write_text("id,text\nid,text\n1,x\n")
    assert batchjob("start", "v.csv", *JOB).code == 0
    ended = batchjob("start", "v.csv", *JOB, "--skip-lines", "1")
    assert (ended.code, "--new" in ended.err) == (1, True)


# ---------------------------------------------------------------- the header


@pytest.mark.parametrize(
    ("content", "skip"),
    [
        ("Report of May\n\nid,text\n1,a\n2,b\n", 2),
        ("Export;;\nmade 2024-01-05\n\nid;text;n\n1;a;x\n2;b;y\n", 3),
        ("Survey results\nid,text\n1,a\n2,b\n", 1),
        ("Report,,\n,,\nid,text,n\n1,a,\n2,b,4\n", 2),
        ("Report;;\n;;\nid;text;n\n1;a;\n2;b;\n", 2),
        ("Customer;;What;\nid;text;n;x\n1;a;;4\n2;b;;\n", 1),
    ],
)
def test_lines_above_the_header_are_noticed_and_can_be_left_out(tmp_path: Path, content: str, skip: int) -> None:
    with pytest.raises(SettingError, match=rf"--skip-lines {skip}\b.*--header-row.*--no-header-row"):
        rows_of(tmp_path / "a.csv", content)
    rows = rows_of(tmp_path / "a.csv", content, skip_lines=skip)
    assert [(row[0], row[1], row[2]) for row in rows] == [(skip + 2, "1", "a"), (skip + 3, "2", "b")]


@pytest.mark.parametrize("header_row", [True, False])
def test_who_says_where_the_header_is_gets_no_whole_lines_for_texts(tmp_path: Path, header_row: bool) -> None:
    with pytest.raises(InputError, match="'Report;;' looks separated by semicolons"):
        rows_of(tmp_path / "a.csv", "Report;;\nmade in May\nid;text;n\n1;a;\n2;b;\n", header_row=header_row)


def test_a_missing_header_is_noticed_where_a_text_stands_in_its_place(tmp_path: Path) -> None:
    content = "My card does not work\nWhere is my refund?\nThanks a lot\n"
    with pytest.raises(SettingError, match=r"'My card does not work'.*--no-header-row.*--header-row"):
        rows_of(tmp_path / "a.csv", content)
    assert len(texts_of(tmp_path / "a.csv", content, header_row=False)) == 3
    assert len(texts_of(tmp_path / "a.csv", content, header_row=True)) == 2
    assert read(tmp_path / "a.csv", header_row=False).source.columns == ("text",)


@pytest.mark.parametrize(
    "content",
    [
        "1,My card does not work\n2,Where is my refund?\n",
        "ham,hello there\nspam,buy now\nham,see you\n",
        "2024-01-05,I want to close my account\n2024-01-06,x\n",
        "de;Ich möchte mein Konto schließen, bitte helfen Sie mir\nfr;x\n",
        "ok\nbad\ngood\n",
        "Great\nReally great product\nGreat\n",
    ],
)
def test_a_first_row_that_looks_like_the_others_is_no_header(tmp_path: Path, content: str) -> None:
    with pytest.raises(SettingError, match=r"--no-header-row"):
        rows_of(tmp_path / "a.csv", content)


def test_columns_without_a_header_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = rows_of(path, "7,hello\n8,bye\n", header_row=False, text_column="column_2", id_column="column_1")
    assert [row[:3] for row in rows] == [(1, "7", "hello"), (2, "8", "bye")]
    with pytest.raises(InputError, match="its columns are: column_1, column_2"):
        read(path, header_row=False)


@pytest.mark.parametrize(
    "content",
    [
        "id,text\n1,a\n",
        "text\nx\n",
        "body,note\na,b\n",
        "Comment\nI like it\n",
        "customer_feedback\nok\n",
        "utterance\na long text that was said\nanother long text\n",
        "id,text,2019,2020\n1,a,3,4\n",
        "id,text\n",
    ],
)
def test_a_real_header_is_asked_no_questions(tmp_path: Path, content: str) -> None:
    assert len(rows_of(tmp_path / "a.csv", content)) == content.count("\n") - 1


def test_a_lone_column_of_an_unusual_name_is_said(tmp_path: Path) -> None:
    assert "is taken for the header" in said_of(tmp_path / "a.csv", "mail\na long text that was written\n")
    assert said_of(tmp_path / "a.csv", "Review\nx\n") == ""


def test_an_empty_text_in_quotes_is_a_row_and_a_blank_line_is_none(tmp_path: Path) -> None:
    assert texts_of(tmp_path / "a.csv", 'text\na\n""\n\nb\n') == ["a", "", "b"]


def test_what_has_no_header_takes_no_option_about_one(tmp_path: Path) -> None:
    for option in ({"skip_lines": 1}, {"header_row": False}, {"delimiter": ";"}):
        with pytest.raises(SettingError, match="leave them out"):
            rows_of(tmp_path / "a.jsonl", '{"text":"a"}\n', **option)


# ---------------------------------------------------------------- JSON Lines


def test_values_of_json_lines_are_kept_as_they_stand_there(tmp_path: Path) -> None:
    line = (
        '{"id":1,"text":"a","f":2.50,"big":123456789012345678901234567890,"e":1e400,"n":{"a": [1, NaN]},"x":-Infinity}'
    )
    [row] = rows_of(tmp_path / "a.jsonl", line + "\n")
    assert row[4] is None
    assert '"f":2.50' in (row[3] or "")
    assert "123456789012345678901234567890" in (row[3] or "")
    assert "1e400" in (row[3] or "")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "[NaN, 1]", '{"a": Infinity}'])
@pytest.mark.parametrize("first", [True, False])
def test_a_number_that_json_lacks_does_not_cost_the_row(tmp_path: Path, value: str, first: bool) -> None:
    lines = [f'{{"id":1,"text":"NaN is \\"no\\" Infinity","score":{value}}}', '{"id":2,"text":"b","score":1}']
    rows = rows_of(tmp_path / "a.jsonl", "\n".join(lines if first else reversed(lines)) + "\n")
    assert {row[4] for row in rows} == {None}
    assert {row[2] for row in rows} == {'NaN is "no" Infinity', "b"}


def test_keys_that_come_later_are_columns_in_the_order_of_first_sight(tmp_path: Path) -> None:
    content = '{"text":"a"}\n{"text":"b","z":1}\n{"text":"c","y":1,"z":2}\n'
    assert warnings_of(tmp_path / "a.jsonl", content) == ["z", "y"]


def test_a_key_that_stands_twice_is_not_taken_once(tmp_path: Path) -> None:
    content = (
        '{"text":"a","x":1}\n{"text":"b","x":1,"x" : 2}\n{"text":"c: \\"x\\":","x":{"x":1}}\n{"text":"d","x":1,"x":1}\n'
    )
    defects = [row[4] for row in rows_of(tmp_path / "a.jsonl", content)]
    assert [bool(defect) for defect in defects] == [False, True, False, True]
    assert "'x' stands there twice" in (defects[1] or "")


@pytest.mark.parametrize(
    ("content", "said"), [("[\n{}\n]\n", "jq -c '.\\[\\]'"), ('{\n "text": "a"\n}\n', "jq -c \\.")]
)
def test_json_that_is_not_in_lines_says_how_to_make_it_so(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        rows_of(tmp_path / "a.jsonl", content)


# ---------------------------------------------------------------- first bytes


def zipped(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


FOREIGN = {
    "zip": (zipped(a="id,text\n1,a\n"), "zip archive"),
    "gzip in gzip": (gzip.compress(gzip.compress(b"text\na\n")), "zip|gzip|is not utf-8"),
    "zip in gzip": (gzip.compress(zipped(a="x")), "zip archive"),
    "page": (b"<!DOCTYPE html><html><body>Log in</body></html>", "HTML page"),
    "page with spaces": (b"\n\n  <HTML lang=en>\n<p>Log in</p>", "HTML page"),
    "page in gzip": (gzip.compress(b"<html>"), "HTML page"),
    "xml": (b"<?xml version='1.0'?><a/>", "XML"),
    "pdf": (b"%PDF-1.7\n", "PDF"),
    "bzip2": (b"BZh91AY&SY", "bunzip2"),
    "xz": (b"\xfd7zXZ\0\0\4", "xz"),
    "zstd": (b"\x28\xb5\x2f\xfd\x24", "zstd"),
    "utf-16": ("id,text\n1,a\n".encode("utf-16-le"), "--encoding utf-16-le"),
    "utf-16 the other way": ("id,text\n1,a\n".encode("utf-16-be"), "--encoding utf-16-be"),
}


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_table_is_refused_whatever_it_is_called(tmp_path: Path, name: str, kind: str) -> None:
    content, said = FOREIGN[kind]
    with pytest.raises(InputError, match=said):
        rows_of(tmp_path / name, content)


def test_a_database_is_no_table(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "a.csv")
    db.execute("CREATE TABLE t (id, text)")
    db.close()
    with pytest.raises(InputError, match="SQLite"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("name", ["a.csv", "b.jsonl", "c.tsv"])
def test_gzip_is_read_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    plain = {"a.csv": "id,text\n1,a\n", "b.jsonl": '{"text":"a"}\n', "c.tsv": "id\ttext\n1\ta\n"}[name]
    assert texts_of(tmp_path / name, gzip.compress(plain.encode())) == ["a"]


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx", "a.dat"])
def test_parquet_is_read_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / name)
    assert read(tmp_path / name).source.format == "parquet"
    with pytest.raises(SettingError, match="is parquet, not csv"):
        read(tmp_path / name, format="csv")


@pytest.mark.parametrize("marks", [1, 2, 3])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_every_byte_order_mark_is_taken_off(tmp_path: Path, marks: int, encoding: str) -> None:
    mark = codecs.BOM_UTF8 if encoding == "utf-8" else codecs.BOM_UTF16_LE
    rows = rows_of(tmp_path / "a.csv", mark * marks + "id,text\n1,a\n".encode(encoding))
    assert [row[:3] for row in rows] == [(2, "1", "a")]
    assert texts_of(tmp_path / "a.jsonl", mark * marks + '{"text":"a"}\n'.encode(encoding)) == ["a"]
    assert rows_of(tmp_path / "b.csv", mark * marks + '"\ufeffid",text\n1,a\n'.encode(encoding))[0][1] == "1"


# ---------------------------------------------------------------- names of columns


def test_a_column_is_found_however_its_accents_are_written(tmp_path: Path) -> None:
    for form, typed in (("NFD", "NFC"), ("NFC", "NFD")):
        content = unicodedata.normalize(form, "id,Überschrift\n1,x\n")  # type: ignore[arg-type]
        name = unicodedata.normalize(typed, "Überschrift")  # type: ignore[arg-type]
        assert texts_of(tmp_path / "a.csv", content, text_column=name) == ["x"]
    with pytest.raises(InputError, match="two columns are named"):
        rows_of(tmp_path / "a.csv", "text," + unicodedata.normalize("NFD", "é,") + "é\na,b,c\n")


@pytest.mark.parametrize(("typed", "near"), [("TEXT", "text"), ("txt", "text"), ("Ticket text", "'ticket text '")])
def test_a_name_that_is_nearly_right_is_named(tmp_path: Path, typed: str, near: str) -> None:
    columns = {"'ticket text '": '{"ticket text ":"a"}'}.get(near, '{"id":1,"text":"a"}')
    with pytest.raises(InputError, match=f"Did you mean --text-column {near}"):
        rows_of(tmp_path / "a.jsonl", columns + "\n", text_column=typed)
    with pytest.raises(InputError, match="Say --text-column Text"):
        rows_of(tmp_path / "a.csv", "Id,Text\n1,a\n")


# ---------------------------------------------------------------- files of labels


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("#refund\nbilling\n", ["#refund", "billing"]),
        ("# my labels\n#\nbilling\n#\tmore\nrefund\n", ["billing", "refund"]),
        ('"health, beauty"\nother\n', ["health, beauty", "other"]),
        ('"label"\nother\n', ["label", "other"]),
        ('"says ""hi"""\nb\n', ['says "hi"', "b"]),
        ("a\r\nb\rc\n", ["a", "b", "c"]),
        ("health, beauty\nother\n", ["health, beauty", "other"]),
        ("- a\nb\n", ["- a", "b"]),
        ("money, card\nmoney, app\n", ["money, card", "money, app"]),
        ('"a, b, c"\n"d, e, f"\n', ["a, b, c", "d, e, f"]),
        ("x" * 140_000 + "\nb\n", ["x" * 140_000, "b"]),
        ('["a", "b"]\n', ["a", "b"]),
    ],
)
def test_labels_are_read_as_they_are_meant(text: str, labels: list[str]) -> None:
    assert parse_labels_file(text, "labels.txt") == labels


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("label\nbilling\nrefund\n", "looks like a header"),
        ("Label,description\nbilling,money\n", "looks like a header"),
        ("billing,refund,other\n", "one label a line"),
        ("billing,\nrefund,\n", "comma at its end"),
        ("- billing\n- refund\n", "mark of a list"),
        ("1. billing\n2. refund\n", "mark of a list"),
        ('{"label":"billing"}\n{"label":"refund"}\n', "JSON array"),
        ('{"billing":"money"}\n', "JSON array"),
        ('[{"name":"billing"}]\n', "JSON array"),
        ("[1, 2]\n", "JSON array"),
        ('"a","b"\n', "one label in quotes"),
        ("id,text\n1,where is it\n", "looks like a header"),
        ("Nr;Body\n", "looks like a header"),
        ("1,a,b\n2,c,d\n", "each line has 3 cells with commas between them, as a table has"),
        ("a;b;c\nd;e;f\n", "each line has 3 cells with semicolons"),
        ("a\tmoney\nb\tcard\n", "each line has 2 cells with tabs"),
        ('"a\nb\n', "one label in quotes"),
    ],
)
def test_labels_that_could_be_meant_in_two_ways_are_refused(text: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        parse_labels_file(text, "labels.txt")
