"""Outputs: what is written, and that a file is whole or untouched."""

from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchjob.errors import BatchjobError, SettingError
from batchjob.outputs import FORMATS, open_output
from batchjob.printable import neutral_cell

HEADER = ("id", "text", "label")
ROWS = [("1", "ünï, 中文", "a"), ("2", 'says "hi"\nand\tgoes', None), ("3", "", "b")]
FLAT = [("1", "ünï, 中文", "a"), ("2", '"says" "hi"', None), ("3", "", "b")]
"""What TSV has room for."""


def write(path: Path, rows: object = ROWS, format: str | None = None) -> int:
    return open_output(str(path), format).write(HEADER, rows)  # type: ignore[arg-type]


def read_back(path: Path) -> list[tuple[str | None, ...]]:
    name = path.name.removesuffix(".gz").rpartition(".")[2]
    if name == "parquet":
        from pyarrow import parquet

        return [tuple(row.values()) for row in parquet.read_table(path).to_pylist()]
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    if name in ("jsonl", "ndjson"):
        return [tuple(json.loads(line).values()) for line in text.splitlines()]
    if name == "tsv":
        return [tuple(cell or None for cell in line.split("\t")) for line in text.split("\n")[1:-1]]
    _, *rows = csv.reader(io.StringIO(text, newline=""))
    return [tuple(cell or None for cell in row) for row in rows]


@pytest.mark.parametrize("suffix", [*FORMATS, "csv.gz", "tsv.gz", "jsonl.gz", "ndjson"])
def test_every_format_comes_back_as_it_went(tmp_path: Path, suffix: str) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"out.{suffix}"
    rows = FLAT if suffix.startswith("tsv") else ROWS
    assert write(path, rows) == 3
    blank_as_none = [tuple(cell or None for cell in row) for row in rows]
    assert [tuple(cell or None for cell in row) for row in read_back(path)] == blank_as_none
    assert os.listdir(tmp_path) == [path.name]


def test_csv_ends_its_lines_with_a_line_feed_and_quotes_where_needed(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write(path, [("1", "a,b", None), ("2", "c", "d")])
    assert path.read_bytes() == b'id,text,label\n1,"a,b",\n2,c,d\n'


def test_no_rows_give_a_header_and_more_than_a_batch_all_rows(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    assert write(path, []) == 0
    assert path.read_bytes() == b"id,text,label\n"
    assert write(path, ((n, "x", "y") for n in range(2500))) == 2500
    assert [row[0] for row in read_back(path)] == [str(n) for n in range(2500)]


cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)


@settings(max_examples=80, deadline=None)
@given(rows=st.lists(st.tuples(cells, cells, cells), max_size=8))
def test_any_text_comes_back_from_csv_also_with_bare_carriage_returns(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    path = tmp_path_factory.mktemp("any") / "out.csv"
    write(path, rows)
    assert read_back(path) == [tuple(cell or None for cell in row) for row in rows]


def test_json_values_keep_their_type_in_jsonl_and_are_json_text_in_csv(tmp_path: Path) -> None:
    rows = [(1, ["a", {"b": 2.5}], None), (True, "x", 0.1)]
    write(tmp_path / "out.jsonl", rows)
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert lines[0] == '{"id":1,"text":["a",{"b":2.5}],"label":null}'
    write(tmp_path / "out.csv", rows)
    assert (tmp_path / "out.csv").read_text() == 'id,text,label\n1,"[""a"",{""b"":2.5}]",\ntrue,x,0.1\n'


def test_half_a_surrogate_pair_does_not_cost_the_file(tmp_path: Path) -> None:
    write(tmp_path / "out.csv", [("1", "a\ud800", "b")])
    assert read_back(tmp_path / "out.csv") == [("1", "a?", "b")]


def test_the_same_labels_make_the_same_gzip_file_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, now in (("a.csv.gz", 1_000_000_000.0), ("b.csv.gz", 1_500_000_000.0)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        write(tmp_path / name)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


# ---------------------------------------------------------------- whole or untouched


def failing_rows(error: BaseException) -> Iterator[tuple[str, str, str]]:
    for n in range(5000):
        yield str(n), "x", "y"
    raise error


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "csv.gz", "parquet"])
@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, suffix: str, error: BaseException) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"out.{suffix}"
    path.write_text("old")
    with pytest.raises(type(error)):
        write(path, failing_rows(error))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == [path.name]


def test_until_all_is_written_the_old_file_is_what_others_see(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    seen = []

    def rows() -> Iterator[tuple[str, str, str]]:
        yield from ROWS  # type: ignore[misc]
        seen.append(path.read_text())

    write(path, rows())
    assert seen == ["old"]
    assert path.read_text() != "old"


def test_what_a_killed_export_left_is_removed_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    (tmp_path / ".o[ut].csv.abandon1.part").write_bytes(b"texts of somebody")
    (tmp_path / ".o[ut].csv.by-hand.part").write_bytes(b"not ours")
    path = tmp_path / "o[ut].csv"

    def rows() -> Iterator[tuple[str, str, str]]:
        write(path, iter([("2", "second", "y")]))
        assert "second" in path.read_text()
        yield "1", "first", "x"

    write(path, rows())
    assert "first" in path.read_text()
    assert sorted(os.listdir(tmp_path)) == [".o[ut].csv.by-hand.part", path.name]


def test_a_new_file_is_for_its_owner_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    new, old = tmp_path / "new.csv", tmp_path / "old.csv"
    old.write_text("old")
    old.chmod(0o664)
    write(new)
    write(old)
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    assert stat.S_IMODE(old.stat().st_mode) == 0o664


def test_a_symbolic_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    link.symlink_to(target)
    write(link)
    assert link.is_symlink()
    assert target.read_text().startswith("id,text,label\n")


def test_the_file_is_on_the_disk_before_it_takes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "out.csv", []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append((path.exists(), os.fstat(descriptor).st_size > 0))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write(path)
    assert synced[0] == (False, True)
    assert [existed for existed, _ in synced] == [False, True]


@pytest.mark.parametrize(
    ("number", "sentence"), [(errno.ENOSPC, "no room left to write .*out.csv"), (errno.EIO, "cannot write .*out.csv")]
)
def test_a_failing_disk_is_one_sentence_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, sentence: str
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "out.csv"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(BatchjobError, match=sentence):
        write(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.csv"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_device_is_one_sentence() -> None:
    with pytest.raises(BatchjobError, match="no room left to write /dev/full"):
        write(Path("/dev/full"), format="csv")


# ---------------------------------------------------------------- where it goes


def test_what_cannot_be_written_is_known_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=rf"\.{', .'.join(FORMATS)}, .*--format"):
        open_output(str(tmp_path / "out.xlsx"), None)
    with pytest.raises(SettingError, match="format 'xml' is not known"):
        open_output(str(tmp_path / "out.csv"), "xml")
    with pytest.raises(BatchjobError, match="there is no folder"):
        open_output(str(tmp_path / "none" / "out.csv"), None)
    with pytest.raises(BatchjobError, match="is a directory"):
        open_output(str(tmp_path), "csv")
    assert os.listdir(tmp_path) == []


def test_without_pyarrow_the_extra_is_named_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "batchjob.outputs.parquet", raising=False)
    with pytest.raises(BatchjobError, match=r"batchjob\[parquet\]"):
        open_output(str(tmp_path / "out.parquet"), None)


def test_a_given_format_wins_over_the_suffix(tmp_path: Path) -> None:
    write(tmp_path / "out.txt", format="jsonl")
    assert json.loads((tmp_path / "out.txt").read_text().splitlines()[0])["id"] == "1"


def test_a_device_is_written_to_and_not_replaced() -> None:
    assert write(Path("/dev/null"), format="csv") == 3
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


STDOUT = """
import sys
from batchjob.outputs import open_output
open_output("-", None).write(("id", "text"), ((n, "x" * 50) for n in range(int(sys.argv[1]))))
print("still open")
"""


def test_stdout_gets_csv_and_stays_open() -> None:
    done = subprocess.run([sys.executable, "-c", STDOUT, "1"], capture_output=True, check=True)
    assert done.stdout == b"id,text\n0," + b"x" * 50 + b"\nstill open\n"


def test_a_reader_of_stdout_that_leaves_is_told_to_the_caller() -> None:
    process = subprocess.Popen([sys.executable, "-c", STDOUT, "100000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    with process.stderr:
        raised = [line for line in process.stderr.read().splitlines() if b"Error: " in line]
    process.wait()
    assert raised[0].startswith(b"BrokenPipeError")
    assert not any(b"BatchjobError" in line for line in raised)


# ---------------------------------------------------------------- cells for spreadsheets


@pytest.mark.parametrize("value", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "-", "=5", "+1 800", "-٣"])
def test_what_a_spreadsheet_may_run_gets_an_apostrophe(value: str) -> None:
    assert neutral_cell(value) == "'" + value


@pytest.mark.parametrize("value", ["", "a=b", "-5", "+1.5", "-.5", "-1e-9", "+3.", "'=1", " =1", "billing"])
def test_plain_numbers_and_texts_stay_as_they_are(value: str) -> None:
    assert neutral_cell(value) == value
