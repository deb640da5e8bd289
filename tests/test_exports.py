"""Exports as a user asks for them: which rows, which columns, in which format, and for which program."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batchjob.printable import spreadsheet_cell

if TYPE_CHECKING:
    from tests.conftest import BatchJob

TASK = ("--labels", "a,b", "--sandbox", "--rpm", "0")
JOB = (*TASK, "--quiet")


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory, batchjob_in: type[BatchJob]) -> Path:
    """A folder with a job of 3,000 rows of which the first 20 were asked for; two of them are blank."""
    folder = tmp_path_factory.mktemp("begun")
    lines = [f'{n:04},"{"" if n in (3, 7) else f"=ticket; {n}"}",{n}' for n in range(1, 3001)]
    (folder / "t.csv").write_text("\n".join(["id,text,=cmd", *lines]) + "\n")
    assert batchjob_in(folder)("start", "t.csv", *JOB, "--limit", "20").code == 4
    return folder


@pytest.fixture
def job(begun: Path, tmp_path: Path, batchjob_in: type[BatchJob]) -> BatchJob:
    folder = tmp_path / "copy"
    shutil.copytree(begun, folder)
    return batchjob_in(folder)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def change(job: BatchJob, *statements: str) -> None:
    with sqlite3.connect(job.folder / "batchjob.db") as db:
        for statement in statements:
            db.execute(statement)
    db.close()


# ---------------------------------------------------------------- which rows


def test_after_a_limit_only_what_was_asked_for_is_exported_and_the_rest_is_counted(job: BatchJob) -> None:
    ended = job("export", "-o", "-")
    assert [row["id"] for row in rows_of(ended.out)] == [f"{n:04}" for n in range(1, 21)]
    assert "left out: 1,980 rows behind the --limit; --all has them" in ended.err
    whole = job("export", "-o", "-", "--all")
    assert len(rows_of(whole.out)) == 2000
    assert "left out" not in whole.err


def test_what_an_earlier_run_has_asked_for_is_not_left_out(job: BatchJob) -> None:
    assert job("resume", "--quiet", "--limit", "5").code == 4
    assert len(rows_of(job("export", "-o", "-").out)) == 20
    assert job("retry", "--quiet").code == 4
    assert len(rows_of(job("export", "-o", "-").out)) == 20
    assert job("resume", "--quiet", "--output", "o.csv").code == 4
    assert len(rows_of((job.folder / "o.csv").read_text())) == 3000


@pytest.mark.parametrize(
    ("only", "ids"),
    [
        ("failed", ["0003", "0007"]),
        ("blank_text", ["0003", "0007"]),
        ("done", [f"{n:04}" for n in range(1, 21) if n not in (3, 7, 9, 10)]),
        ("unconfirmed", ["0009"]),
        ("timeout", ["0009"]),
        ("near", ["0004"]),
        ("pending", ["0010"]),
    ],
)
def test_only_some_rows(job: BatchJob, only: str, ids: list[str]) -> None:
    nothing = "label = NULL, source = NULL"
    change(
        job,
        f"UPDATE row SET state = 'unconfirmed', error_kind = 'timeout', {nothing} WHERE id = (1 << 40) + 9",
        f"UPDATE row SET state = 'in_flight', {nothing} WHERE id = (1 << 40) + 10",
        "UPDATE row SET matched = 'near' WHERE id = (1 << 40) + 4",
        "INSERT INTO tally VALUES (1, 'error', 'timeout', 1)",
    )
    ended = job("export", "-o", "-", "--only", only)
    assert [row["id"] for row in rows_of(ended.out)] == ids
    assert f"{only}" in ended.err


def test_a_state_or_kind_that_no_row_can_have_names_the_nearest(job: BatchJob) -> None:
    ended = job("export", "-o", "-", "--only", "blank-txt")
    assert (ended.code, "did you mean 'blank_text'?" in ended.err) == (2, True)


# ---------------------------------------------------------------- which columns


def test_columns_are_chosen_by_name_and_come_in_that_order(job: BatchJob) -> None:
    out = job("export", "-o", "-", "--columns", 'label, id,"=cmd"').out
    assert out.splitlines()[0] == "label,id,=cmd"
    assert rows_of(out)[4]["=cmd"] == "5"
    assert job("export", "-o", "-", "--format", "jsonl", "--columns", "id").out.splitlines()[0] == '{"id":"0001"}'


@pytest.mark.parametrize(
    ("columns", "said"),
    [("lable", "did you mean 'label'?"), ("nothing", "there are: id, text"), ("id,id", "twice"), ("", "names none")],
)
def test_a_wrong_column_is_refused(job: BatchJob, columns: str, said: str) -> None:
    ended = job("export", "-o", "o.csv", "--columns", columns)
    assert (ended.code, said in ended.err) == (2, True)
    assert not (job.folder / "o.csv").exists()


def test_requests_have_no_rows_to_choose(job: BatchJob) -> None:
    assert job("export", "-o", "-", "--requests", "--only", "done").code == 2


# ---------------------------------------------------------------- for which program


def test_a_file_for_a_spreadsheet_has_a_mark_and_nothing_that_runs(job: BatchJob) -> None:
    assert job("export", "-o", "o.csv", "--spreadsheet").code == 0
    content = (job.folder / "o.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    header, first, *_ = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    assert header[2] == "'=cmd"
    assert first[:3] == ['="0001"', "'=ticket; 1", "1"]
    assert all(line.startswith(b'"') for line in content[3:].splitlines())  # no separator of another place splits it
    for name in ("o.jsonl", "o.tsv", "o.parquet"):
        assert job("export", "-o", name, "--spreadsheet").code == 2


@pytest.mark.parametrize(
    "value",
    [
        *("007", "0", "00", "1234567890123456", "12E3", "-01", "+0049", "01.5"),
        *("1-2", "3/4", "12-2024", "MAR1", "2-Sep", "Sept 3"),
    ],
)
def test_digits_that_are_no_number_stay_as_they_are(value: str) -> None:
    assert spreadsheet_cell(value) == (value if value == "0" else f'="{value}"')


@pytest.mark.parametrize(
    "value",
    ["5", "-5", "1.5", "0.5", "1e-9", "123456789012345", "2024-01-05", "5/1/2024", "a007", "", "Mark 1", "may"],
)
def test_numbers_and_texts_are_left_to_the_spreadsheet(value: str) -> None:
    assert spreadsheet_cell(value) == value


def test_tsv_refuses_what_it_cannot_hold_and_leaves_the_old_file(batchjob: BatchJob) -> None:
    (batchjob.folder / "t.csv").write_text('id,text\n1,a\n2,"b\nc"\n')
    assert batchjob("start", "t.csv", *JOB).code == 0
    (batchjob.folder / "o.tsv").write_text("old")
    ended = batchjob("export", "-o", "o.tsv")
    assert ended.code == 1
    assert "row 2, column 'text' holds a tab or a line break, which TSV cannot hold: export as .jsonl" in ended.err
    assert (batchjob.folder / "o.tsv").read_text() == "old"
    assert batchjob("export", "-o", "o.tsv", "--columns", "id,label").code == 0


# ---------------------------------------------------------------- in which format


def through(batchjob: BatchJob, name: str, out: str) -> Path:
    assert batchjob("start", name, *JOB, "--output", out).code in (0, 4)
    return batchjob.folder / out


def test_json_lines_come_out_as_they_went_in_but_for_our_columns(batchjob: BatchJob) -> None:
    lines = [
        '{"id":1,"text":"x","f":2.50,"big":12345678901234567890123,"label":"mine"}',
        '{"text":"y","id":"007","nan":NaN,"inf":-Infinity,"deep":{"a": [1, NaN, "NaN"]}}',
        '{"id":null,"text":12,"null":null,"empty":""}',
        '{"text":"z"}',
        '{"id":"","text":""}',
        '{"id":4,"text":[1]}',
        '{"id":5,"text":"\\u00fc","u":"\\u00fc"}',
    ]
    (batchjob.folder / "t.jsonl").write_text("\n".join(lines) + "\n")
    out = through(batchjob, "t.jsonl", "o.jsonl").read_text().splitlines()
    for line, written in zip(lines, out, strict=True):
        given, found = json.loads(line), json.loads(written)
        for name in ("label", "source", "state", "error"):
            del found[name]
        given = {f"input_{name}" if name == "label" else name: value for name, value in given.items()}
        assert repr(sorted(found.items())) == repr(sorted(given.items()))
    assert '"f":2.50,"big":12345678901234567890123' in out[0]
    assert '"deep":{"a": [1, NaN, "NaN"]}' in out[1]
    rows = rows_of(batchjob("export", "-o", "-", "--format", "csv").out)
    assert list(rows[0])[:9] == ["id", "text", "f", "big", "input_label", "nan", "inf", "deep", "null"]
    assert (rows[1]["nan"], rows[1]["deep"]) == ("", '{"a": [1, null, "NaN"]}')
    assert (rows[0]["f"], rows[0]["big"]) == ("2.50", "12345678901234567890123")


def test_json_columns_have_their_types_in_parquet(batchjob: BatchJob) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows: list[dict[str, Any]] = [
        {"id": 1, "text": "x", "f": 2.5, "i": 3, "b": True, "mixed": 1, "deep": [1, {"a": 2}], "u": 1 << 63},
        {"id": 2, "text": "y", "f": float("nan"), "i": None, "mixed": "1", "u": 0, "huge": 1 << 70, "n": None},
    ]
    (batchjob.folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = parquet.read_table(through(batchjob, "t.jsonl", "o.parquet"))
    types = {field.name: str(field.type) for field in table.schema}
    assert types == {
        "id": "int64",
        "text": "string",
        "f": "double",
        "i": "int64",
        "b": "bool",
        "mixed": "string",
        "deep": "string",
        "u": "uint64",
        "huge": "string",
        "n": "string",
        **dict.fromkeys(("label", "source", "state", "error"), "string"),
    }
    assert table.column("deep").to_pylist() == ['[1, {"a": 2}]', None]
    assert table.column("mixed").to_pylist() == ["1", "1"]
    assert table.column("huge").to_pylist() == [None, str(1 << 70)]
    # And back: arrays are arrays again.
    back = through(batchjob, "o.parquet", "back.jsonl").read_text().splitlines()
    assert json.loads(back[0])["deep"] == [1, {"a": 2}]
    assert isinstance(pyarrow.__version__, str)


def test_parquet_keeps_its_types_on_the_way_out(batchjob: BatchJob) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from decimal import Decimal

    from pyarrow import parquet

    moment = 1_700_000_000_123_456_789
    table = pyarrow.table(
        {
            "id": pyarrow.array([1, 2], pyarrow.int16()),
            "text": pyarrow.array([b"a", "ü".encode()], pyarrow.binary()),
            "ns": pyarrow.array([moment, None], pyarrow.timestamp("ns", tz="UTC")),
            "old": pyarrow.array([0, -2_208_988_800], pyarrow.timestamp("s", tz="Europe/Amsterdam")),
            "time": pyarrow.array([1, None], pyarrow.time64("us")),
            "day": pyarrow.array([1, None], pyarrow.date32()),
            "money": pyarrow.array([Decimal("1.50"), None], pyarrow.decimal128(10, 2)),
            "bytes": pyarrow.array([b"\xff\0", b"text"], pyarrow.binary()),
            "kind": pyarrow.array(["x", "y"]).dictionary_encode(),
            "list": pyarrow.array([[1.5, None], None]),
            "struct": pyarrow.array([{"a": Decimal("1.5")}, None]),
            "map": pyarrow.array([[("k", b"\xff")], None], pyarrow.map_(pyarrow.string(), pyarrow.binary())),
            "span": pyarrow.array([5, None], pyarrow.duration("ms")),
            "u": pyarrow.array([2**64 - 1, 0], pyarrow.uint64()),
        }
    )
    parquet.write_table(table, batchjob.folder / "t.parquet")
    before = parquet.read_table(batchjob.folder / "t.parquet")
    after = parquet.read_table(through(batchjob, "t.parquet", "o.parquet")).select(before.column_names)
    for name in before.column_names:
        assert after.schema.field(name).type == before.schema.field(name).type, name
        assert after.column(name).equals(before.column(name)), name
    first, second = map(json.loads, batchjob("export", "-o", "-", "--format", "jsonl").out.splitlines())
    assert [first["old"], second["old"]] == ["1970-01-01 01:00:00.000+0100", "1900-01-01 00:00:00.000Z"]
    assert (first["id"], first["ns"], first["money"]) == (1, "2023-11-14 22:13:20.123456789Z", "1.50")


def test_two_columns_of_one_name_in_parquet_are_refused(batchjob: BatchJob) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 3, names=["text", "x", "x"])
    parquet.write_table(table, batchjob.folder / "t.parquet")
    ended = batchjob("start", "t.parquet", *JOB)
    assert (ended.code, "two columns are named 'x'" in ended.err) == (1, True)


def test_a_spreadsheet_is_read_with_its_types_whatever_it_is_called(batchjob: BatchJob) -> None:
    pytest.importorskip("python_calamine")
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["id", "text", "n"], ["007", "a", 1.5], [None, None, None], ["8", "b\nc", 3]):
        book.active.append(row)
    book.create_sheet("Other").append(["x"])
    book.save(batchjob.folder / "t.xlsx")
    shutil.copy(batchjob.folder / "t.xlsx", batchjob.folder / "t.csv")
    for name in ("t.xlsx", "t.csv"):
        ended = batchjob("start", name, *TASK, "--output", "o.jsonl")
        assert ended.code == 0, ended.err
        assert "only its first sheet, 'Sheet', is read; there is also: 'Other'" in ended.err
        rows = [json.loads(line) for line in (batchjob.folder / "o.jsonl").read_text().splitlines()]
        assert [(row["id"], row["text"], row["n"]) for row in rows] == [("007", "a", 1.5), ("8", "b\nc", 3)]


def test_where_the_first_sheet_is_not_the_one_that_is_meant_the_error_names_the_others(batchjob: BatchJob) -> None:
    pytest.importorskip("python_calamine")
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["what this book is about"])
    book.create_sheet("Tickets").append(["id", "text"])
    book.save(batchjob.folder / "t.xlsx")
    ended = batchjob("start", "t.xlsx", *TASK)
    assert (ended.code, "there is also: 'Tickets' (put the one you mean first, " in ended.err) == (2, True), ended.err


def test_a_spreadsheet_with_lines_above_its_header_asks_for_the_option(batchjob: BatchJob) -> None:
    pytest.importorskip("python_calamine")
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["Report of May"], [], ["id", "text", "n"], ["1", "a", 1], ["2", "b", 2]):
        book.active.append(row)
    book.save(batchjob.folder / "t.xlsx")
    ended = batchjob("start", "t.xlsx", *JOB)
    assert (ended.code, "--skip-lines 2" in ended.err) == (2, True)
    assert batchjob("start", "t.xlsx", *JOB, "--skip-lines", "2").code == 0
    assert len(rows_of(batchjob("export", "-o", "-").out)) == 2


def test_what_is_no_spreadsheet_says_so(batchjob: BatchJob) -> None:
    pytest.importorskip("python_calamine")
    (batchjob.folder / "t.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000))
    ended = batchjob("start", "t.xls", *JOB)
    assert (ended.code, "no spreadsheet that can be read" in ended.err) == (1, True)
