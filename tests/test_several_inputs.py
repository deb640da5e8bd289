"""Files as people have them: several in one job, one that grows each day, and a folder that was moved."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batchjob.errors import InputChanged, InputError, SettingError
from batchjob.inputs import open_inputs, reopen_input
from batchjob.model import Chunk, InputRow

if TYPE_CHECKING:
    from tests.conftest import BatchJob

JOB = ("--labels", "a,b", "--sandbox", "--rpm", "0", "--quiet")
WANTED: dict[str, Any] = {"format": None, "encoding": "utf-8", "id_column": None, "text_column": None}


def all_chunks(paths: list[str], chunk_rows: int = 1000) -> list[Chunk]:
    reader = open_inputs(paths, **WANTED)
    return list(reader.chunks(position=0, digest="", number=1, chunk_rows=chunk_rows))


def rows_of(chunks: list[Chunk]) -> list[InputRow]:
    return [row for chunk in chunks for row in chunk.rows]


def write_rows(path: Path, first: int, last: int) -> None:
    lines = [f"{n},ticket {n}" for n in range(first, last + 1)]
    path.write_text("\n".join(["id,text", *lines]) + "\n")


def exported(batchjob: BatchJob, *arguments: str) -> list[dict[str, str]]:
    assert batchjob("export", "-o", "out.csv", *arguments).code == 0
    with (batchjob.folder / "out.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------- several files


@pytest.fixture(params=["csv", "csv without a last line end", "jsonl", "csv.gz", "tsv"])
def three(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Three files of four rows each, in an order that is not that of their names."""
    paths = []
    for number, name in enumerate(("b", "c", "a")):
        rows = [(f"{name}{n}", f"text {number} {n}", "x") for n in range(4)]
        kind = request.param.split()[0]
        path = tmp_path / f"{name}.{kind}"
        if kind == "jsonl":
            content = "\n".join(json.dumps({"id": key, "text": text, "note": note}) for key, text, note in rows)
        else:
            separator = "\t" if kind == "tsv" else ","
            content = "\n".join(separator.join(row) for row in [("id", "text", "note"), *rows])
        content += "" if "without" in request.param else "\n"
        path.write_bytes(gzip.compress(content.encode()) if kind == "csv.gz" else content.encode())
        paths.append(str(path))
    return paths


def test_the_rows_of_several_files_come_in_their_order_and_say_of_which(three: list[str]) -> None:
    rows = rows_of(all_chunks(three))
    assert [row[1] for row in rows] == [f"{name}{n}" for name in "bca" for n in range(4)]
    files = [json.loads(row[3] or "") for row in rows]
    names = [Path(path).name for path in three for _ in range(4)]
    assert files == (
        [{"file": name, "note": "x"} for name in names] if "jsonl" in three[0] else [["x", n] for n in names]
    )
    source = open_inputs(three, **WANTED).source
    assert source.columns == ("id", "text", "note", "file")
    assert source.paths == tuple(three)


@pytest.mark.parametrize("chunk_rows", [1, 2, 3, 4, 5, 100])
def test_several_files_are_read_on_from_any_chunk_as_if_never_stopped(three: list[str], chunk_rows: int) -> None:
    whole = rows_of(all_chunks(three))
    seen = 0
    for chunk in all_chunks(three, chunk_rows):
        seen += len(chunk.rows)
        reader = reopen_input(open_inputs(three, **WANTED).source, three)
        rest = list(reader.chunks(position=chunk.position, digest=chunk.digest, number=seen + 1, chunk_rows=chunk_rows))
        assert rows_of(rest) == whole[seen:]
        assert [chunk.complete for chunk in rest] == [False] * (len(rest) - 1) + [True]


def test_the_digest_is_that_of_all_bytes_one_file_behind_the_other(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("a.csv", "b.csv")]
    write_rows(Path(paths[0]), 1, 3)
    write_rows(Path(paths[1]), 4, 6)
    last = all_chunks(paths)[-1]
    content = b"".join(Path(path).read_bytes() for path in paths)
    assert (last.position, last.digest) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_changed_byte_in_a_file_that_was_read_is_noticed(three: list[str]) -> None:
    chunk = all_chunks(three, 3)[2]  # in the second file
    Path(three[0]).write_bytes(Path(three[1]).read_bytes())
    with pytest.raises(InputChanged):
        list(open_inputs(three, **WANTED).chunks(position=chunk.position, digest=chunk.digest, number=8, chunk_rows=3))


def test_files_that_are_no_one_table_are_refused(tmp_path: Path) -> None:
    contents = {
        "a.csv": "id,text\n1,a\n",
        "b.csv": "text,id\na,1\n",
        "c.csv": "id;text\n1;a\n",
        "d.jsonl": '{"id":1,"text":"a"}\n',
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    for other, said in (("b.csv", "same header"), ("c.csv", "another separator"), ("d.jsonl", "two jobs")):
        with pytest.raises(InputError, match=said):
            open_inputs([str(tmp_path / "a.csv"), str(tmp_path / other)], **WANTED)
    for twice in (["a.csv", "a.csv"], ["a.csv", "./a.csv"]):
        with pytest.raises(SettingError, match="twice"):
            open_inputs([f"{tmp_path}/{name}" for name in twice], **WANTED)
    with pytest.raises(SettingError, match="stdin"):
        open_inputs([str(tmp_path / "a.csv"), "-"], **WANTED)


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    paths = []
    for day in ("mon", "tue"):
        (tmp_path / day).mkdir()
        write_rows(tmp_path / day / "t.csv", 1, 1)
        paths.append(str(tmp_path / day / "t.csv"))
    assert [json.loads(row[3] or "") for row in rows_of(all_chunks(paths))] == [["mon/t.csv"], ["tue/t.csv"]]


def test_a_column_that_is_called_file_already_loses_nothing(batchjob: BatchJob) -> None:
    (batchjob.folder / "a.csv").write_text("id,text,file\n1,x,mine\n")
    (batchjob.folder / "b.csv").write_text("id,text,file\n2,y,yours\n")
    assert batchjob("start", "a.csv", "b.csv", *JOB).code == 0
    rows = exported(batchjob)
    assert [(row["file"], row["input_file"]) for row in rows] == [("mine", "a.csv"), ("yours", "b.csv")]


def test_a_job_of_several_files_is_found_again_stopped_and_gone_on_with(batchjob: BatchJob) -> None:
    for name, first in (("b.csv", 1), ("a.csv", 3001)):
        write_rows(batchjob.folder / name, first, first + 2999)
    assert batchjob("start", "b.csv", "a.csv", *JOB, "--limit", "10").code == 0
    assert batchjob("start", "b.csv", "a.csv", *JOB).code == 0
    rows = exported(batchjob)
    assert [row["id"] for row in rows] == [str(n) for n in range(1, 6001)]
    assert {row["state"] for row in rows} == {"done"}
    assert [row["file"] for row in rows[2998:3002]] == ["b.csv", "b.csv", "a.csv", "a.csv"]
    assert len(json.loads(batchjob("jobs", "--json").out)) == 1
    assert "a.csv" in batchjob("profile", "b.csv", "a.csv").out
    refused = batchjob("start", "b.csv", "a.csv", *JOB, "--output", "a.csv")
    assert refused.code == 2


def test_parquet_files_become_one_job_with_their_types(batchjob: BatchJob) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for name, n in (("a", 1), ("b", 2)):
        parquet.write_table(pyarrow.table({"id": [n], "text": ["x"]}), batchjob.folder / f"{name}.parquet")
    assert batchjob("start", "a.parquet", "b.parquet", *JOB, "--output", "o.parquet").code == 0
    table = parquet.read_table(batchjob.folder / "o.parquet")
    assert table.column("id").to_pylist() == [1, 2]
    assert table.column("file").to_pylist() == ["a.parquet", "b.parquet"]


# ---------------------------------------------------------------- a file that grows


def test_a_file_that_grows_each_day_is_one_job(batchjob: BatchJob) -> None:
    path = batchjob.folder / "t.csv"
    for day in range(4):
        write_rows(path, 1, 3 + 2500 * day)
        ended = batchjob("start", "t.csv", *JOB, "--append")
        assert ended.code == 0, ended.err
        rows = exported(batchjob)
        assert [row["id"] for row in rows] == [str(n) for n in range(1, 4 + 2500 * day)]
        assert {row["state"] for row in rows} == {"done"}
    assert len(json.loads(batchjob("jobs", "--json").out)) == 1
    sent = json.loads(batchjob("status", "--json").out)["requests"]["sent"]
    assert sent == 7503
    assert batchjob("start", "t.csv", *JOB).code == 0  # nothing new: no need for it
    assert "equal to what they count" in batchjob("doctor").out


def test_without_it_a_grown_file_is_refused_and_the_option_is_named(batchjob: BatchJob) -> None:
    write_rows(batchjob.folder / "t.csv", 1, 3)
    assert batchjob("start", "t.csv", *JOB).code == 0
    write_rows(batchjob.folder / "t.csv", 1, 4)
    ended = batchjob("start", "t.csv", *JOB)
    assert (ended.code, "--append" in ended.err, "--new" in ended.err) == (1, True, True)
    assert batchjob("start", "t.csv", *JOB, "--append", "--new").code == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("id,text\n1,one\n2,two\n", "id,text\n1,ONE\n2,two\n3,three\n"),
        ("id,text\n1,one\n2,two\n", "id,text\n1,one\n"),
        ("id,text\n1,one\n2,two", "id,text\n1,one\n2,two and more\n3,three\n"),
    ],
)
def test_a_file_that_changed_where_it_was_read_is_no_grown_one(batchjob: BatchJob, before: str, after: str) -> None:
    (batchjob.folder / "t.csv").write_text(before)
    assert batchjob("start", "t.csv", *JOB).code == 0
    (batchjob.folder / "t.csv").write_text(after)
    ended = batchjob("start", "t.csv", *JOB, "--append")
    assert (ended.code, "t.csv" in ended.err) == (1, True)
    assert len(exported(batchjob)) == 2


def test_a_last_line_that_gets_its_end_is_read_on_behind(batchjob: BatchJob) -> None:
    (batchjob.folder / "t.csv").write_text("id,text\n1,one\n2,two")
    assert batchjob("start", "t.csv", *JOB).code == 0
    (batchjob.folder / "t.csv").write_text("id,text\n1,one\n2,two\n3,three\n")
    assert batchjob("start", "t.csv", *JOB, "--append").code == 0
    assert [row["text"] for row in exported(batchjob)] == ["one", "two", "three"]


def test_the_last_of_several_files_may_grow(batchjob: BatchJob) -> None:
    write_rows(batchjob.folder / "a.csv", 1, 3)
    write_rows(batchjob.folder / "b.csv", 4, 5)
    assert batchjob("start", "a.csv", "b.csv", *JOB).code == 0
    write_rows(batchjob.folder / "b.csv", 4, 7)
    assert batchjob("start", "a.csv", "b.csv", *JOB, "--append").code == 0
    assert [row["id"] for row in exported(batchjob)] == [str(n) for n in range(1, 8)]
    write_rows(batchjob.folder / "a.csv", 1, 4)
    assert batchjob("start", "a.csv", "b.csv", *JOB, "--append").code == 1


# ---------------------------------------------------------------- a folder that was moved


def test_a_moved_folder_goes_on_where_it_was(batchjob_in: type[BatchJob], tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    write_rows(old / "t.csv", 1, 5000)
    assert batchjob_in(old)("start", "t.csv", *JOB, "--limit", "20").code == 0
    old.rename(new)
    batchjob = batchjob_in(new)
    ended = batchjob("resume", "--quiet")
    assert (ended.code, "batchjob resume t --input t.csv" in ended.err) == (1, True)
    (new / "other.csv").write_text((new / "t.csv").read_text().replace("ticket 7\n", "ticket seven\n"))
    ended = batchjob("resume", "--quiet", "--input", "other.csv")
    assert (ended.code, "is not the input this job began with" in ended.err) == (1, True)
    assert batchjob("resume", "--quiet", "--input", "t.csv").code == 0
    assert len(exported(batchjob)) == 5000
    assert batchjob("resume", "t", "--quiet").code == 0, "it is known from now on"
    assert batchjob("start", "t.csv", *JOB).code == 0
    assert [job["input"] for job in json.loads(batchjob("jobs", "--json").out)] == [str(new / "t.csv")]


def test_a_start_in_a_moved_folder_says_which_job_it_may_be(batchjob_in: type[BatchJob], tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    write_rows(old / "t.csv", 1, 20)
    assert batchjob_in(old)("start", "t.csv", *JOB, "--limit", "10").code == 0
    old.rename(new)
    batchjob = batchjob_in(new)
    moved = batchjob("start", "t.csv", *JOB, "--no-quiet").err
    assert f"type: batchjob resume t --input {new / 't.csv'}\n" in moved
    write_rows(new / "u.csv", 1, 20)
    assert "may" not in batchjob("start", "u.csv", *JOB, "--no-quiet").err
    assert "batchjob resume t --input" not in batchjob("start", "t.csv", *JOB, "--no-quiet").err


def test_a_file_that_was_read_to_its_end_may_be_moved_too_and_must_be_the_same(
    batchjob_in: type[BatchJob], tmp_path: Path
) -> None:
    batchjob = batchjob_in(tmp_path)
    write_rows(tmp_path / "t.csv", 1, 5)
    assert batchjob("start", "t.csv", *JOB).code == 0
    write_rows(tmp_path / "u.csv", 2, 6)
    assert batchjob("resume", "t", "--input", "u.csv").code == 1
    (tmp_path / "t.csv").rename(tmp_path / "v.csv")
    assert batchjob("resume", "t", "--quiet", "--input", "v.csv").code == 0
    write_rows(tmp_path / "v.csv", 1, 7)
    assert batchjob("start", "v.csv", *JOB, "--append").code == 0
    assert len(exported(batchjob)) == 7
    assert batchjob("resume", "t", "--input", "v.csv", "--output", "v.csv").code == 2
    assert batchjob("resume", "t", "--input", "v.csv", "--input", "t.csv").code == 2
