"""Every table through every pair of formats: what comes out is what went in, as far as both formats can hold it.

TABLES says how many random tables are tried (8); SEED brings others.
"""

from __future__ import annotations

import asyncio
import csv
import json
import math
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchjob.errors import BatchjobError
from batchjob.inputs import open_input
from batchjob.jobs.exports import export
from batchjob.model import AddRows, TaskRecord
from batchjob.stores import open_reader, open_store

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402 (not without pyarrow)

TABLES = int(os.environ.get("TABLES", "8"))
SEED = int(os.environ.get("SEED", "1"))
TASK = TaskRecord("t", "q", b"{}")
MISSING = object()
Table = tuple[list[str], list[list[Any]]]

ALPHABETS = (
    "abc xyz",
    "ab\",;|'",
    "aä中文😀é\u2028\x85",
    "=+-@'\"0123456789.eE",
    'a\n\r\t,"',
    '\\"/{}[]:,nt',
)


def some_text(chance: random.Random, *, plain: bool) -> str:
    alphabet = chance.choice(ALPHABETS)
    text = "".join(chance.choices(alphabet, k=chance.choice((0, 1, 3, 8, 30))))
    if plain:
        text = text.replace("\t", " ").replace("\n", " ").replace("\r", " ")
    return text


def some_number(chance: random.Random) -> Any:
    return chance.choice(
        (
            chance.randrange(-5, 5),
            chance.randrange(1 << 60, 1 << 62),
            chance.randrange(1 << 70, 1 << 80),
            chance.uniform(-1e3, 1e3),
            chance.uniform(0, 1) * 10.0 ** chance.randrange(-300, 300),
            0.0,
            -0.0,
        )
    )


def some_value(chance: random.Random, kind: str, *, plain: bool) -> Any:
    if chance.random() < 0.15:
        return chance.choice((None, MISSING))
    if kind == "mixed":
        kind = chance.choice(("text", "number", "truth", "nested"))
    if kind == "number":
        return math.nan if chance.random() < 0.1 else some_number(chance)
    if kind == "integer":
        return chance.randrange(-1000, 1000)
    if kind == "truth":
        return chance.random() < 0.5
    if kind == "nested":
        inner = [some_text(chance, plain=plain), some_number(chance), None, True, {"k": [1, {"é": "ü"}]}]
        return chance.choice(([], {}, inner, {"a": inner, "": 1}))
    return some_text(chance, plain=plain)


def some_table(chance: random.Random) -> Table:
    """Columns and rows of any JSON values; half of them with nothing that TSV cannot hold."""
    plain = chance.random() < 0.5
    names = ["id"] * (chance.random() < 0.6) + ["text"]
    candidates = ["label", "error", "input_label", "state", "Überschrift", "a b", 'say "x"', "a,b", "=1+1", "n", "列"]
    candidates += [f"wide {n}" for n in range(chance.choice((0, 0, 40)))]
    names += chance.sample(candidates, k=chance.randrange(len(candidates)))
    chance.shuffle(names)
    kinds = {name: chance.choice(("text", "number", "integer", "truth", "nested", "mixed")) for name in names}
    kinds["text"] = "text"
    rows = []
    for number in range(chance.choice((1, 2, 7, 30))):
        values = {name: some_value(chance, kinds[name], plain=plain) for name in names}
        values["text"] = some_text(chance, plain=plain)
        if "id" in values:
            values["id"] = chance.choice((number, f"{number:03}", f"k{number}"))
        rows.append([values[name] for name in names])
    # The first object has the names that a reader knows a JSONL file by.
    rows[0] = [None if value is MISSING else value for value in rows[0]]
    return names, rows


# ---------------------------------------------------------------- as each format holds it


def as_text(value: Any) -> str:
    """What a format without types holds of a value."""
    if value is None or value is MISSING or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value if isinstance(value, str) else json.dumps(without_nan(value), ensure_ascii=False)


def without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [without_nan(one) for one in value]
    if isinstance(value, dict):
        return {key: without_nan(one) for key, one in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def write_csv(path: Path, table: Table) -> Table:
    names, rows = table
    texts = [[as_text(value) for value in row] for row in rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([names, *texts])
    return names, texts


def write_tsv(path: Path, table: Table) -> Table:
    names, rows = table
    texts = [[as_text(value) for value in row] for row in rows]
    cells = [cell for row in texts for cell in row]
    blank = len(names) == 1 and "" in cells  # a line with nothing is no row
    if blank or any(char in cell for cell in cells for char in '\t\n\r"'):
        pytest.skip("TSV cannot hold it")
    path.write_text("".join("\t".join(row) + "\n" for row in [names, *texts]), encoding="utf-8", newline="")
    return names, texts


def write_jsonl(path: Path, table: Table) -> Table:
    names, rows = table
    objects = [{name: value for name, value in zip(names, row, strict=True) if value is not MISSING} for row in rows]
    ascii_alone = len(rows) % 2 == 0
    path.write_text("".join(json.dumps(one, ensure_ascii=ascii_alone) + "\n" for one in objects), encoding="utf-8")
    return table


def write_parquet(path: Path, table: Table) -> Table:
    """Columns of one type each; the others as text."""
    names, rows = table
    columns = [[None if row[at] is MISSING else row[at] for row in rows] for at in range(len(names))]
    held = []
    arrays = []
    for column in columns:
        kinds = {type(value) for value in column if value is not None}
        small = all(-(1 << 63) <= value < 1 << 63 for value in column if isinstance(value, int))
        if len(kinds) == 1 and kinds <= {int, float, bool, str} and small:
            arrays.append(pyarrow.array(column))
        else:
            column = [None if value is None else as_text(value) for value in column]
            arrays.append(pyarrow.array(column, pyarrow.string()))
        held.append(column)
    parquet.write_table(pyarrow.table(arrays, names=names), path)
    return names, [list(row) for row in zip(*held, strict=True)]


def write_xlsx(path: Path, table: Table) -> Table:
    pytest.importorskip("python_calamine")
    openpyxl = pytest.importorskip("openpyxl")
    names, rows = table

    def held(value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = float(f"{value:.15g}") if abs(value) < 1e300 else None  # as many digits as openpyxl writes
            return int(value) if value is not None and value.is_integer() and abs(value) < 1 << 53 else value
        if isinstance(value, str):
            value = value.replace("\r", " ").replace("\x85", " ")
            return None if value.strip() == "" or value[0] == "=" else value  # openpyxl does not keep blanks alone
        return None if value is None or value is MISSING else value if isinstance(value, bool) else as_text(value)

    kept = [[held(value) for value in row] for row in rows]
    kept = [row for row in kept if any(value is not None for value in row)]  # a row of a sheet with nothing is none
    if not kept:
        pytest.skip("nothing is left")
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in [[f"'{name}" if name[0] == "=" else name for name in names], *kept]:
        sheet.append(row)
    book.save(path)
    return [f"'{name}" if name[0] == "=" else name for name in names], kept


WRITERS: dict[str, Callable[[Path, Table], Table]] = {
    "csv": write_csv,
    "tsv": write_tsv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
    "xlsx": write_xlsx,
}


# ---------------------------------------------------------------- through a job, and back


async def ingest(path: Path, database: Path, name: str) -> None:
    """The rows of a file in the work table, as those of a job."""
    reader = open_input(str(path), format=None, encoding="utf-8", id_column=None, text_column=None, header_row=None)
    store = await open_store(str(database), job=name)
    try:
        await store.create_job(uid=name, name=name, source=reader.source, settings=b"{}", task=TASK, at=1.0)
        await store.begin_run(TASK, fresh=True, up_to=None, at=1.0)
        job = await store.job()
        for chunk in reader.chunks(position=0, digest="", number=1, chunk_rows=11):
            await store.commit([AddRows(job.id, chunk)])
    finally:
        await store.close()


def write_out(database: Path, name: str, path: Path) -> None:
    with open_reader(str(database)) as reader:
        export(reader, reader.job(name), str(path))


def read_back(path: Path) -> list[dict[str, Any]]:
    """What an export holds, by somebody else's reader."""
    if path.suffix == ".parquet":
        found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return found
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in content.split("\n")[:-1]]
    if path.suffix == ".tsv":
        header, *lines = (line.split("\t") for line in content.split("\n")[:-1])
        return [dict(zip(header, line, strict=True)) for line in lines]
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    assert len(set(header)) == len(header)
    return [dict(zip(header, line, strict=True)) for line in lines]


def same(value: Any, other: Any) -> bool:
    """Equal as text, as numbers, or as JSON."""
    one, two = as_text(value), as_text(other)
    if one == two:
        return True
    try:
        return bool(without_nan(json.loads(one)) == without_nan(json.loads(two)))
    except ValueError:
        return False


def named(names: list[str]) -> list[str]:
    """What an export without details calls these columns."""
    ours, taken, found = {"label", "source", "state", "error"}, set(names), []
    if "id" not in names:
        ours.add("id")
    taken |= ours
    for name in names:
        while name in ours or (name in found):
            name = f"input_{name}"
            while name in taken:
                name = f"input_{name}"
        found.append(name)
        taken.add(name)
    return found


def check(held: Table, rows: list[dict[str, Any]]) -> None:
    names, values = held
    assert len(rows) == len(values)
    for row, expected in zip(rows, values, strict=True):
        for name, value in zip(named(names), expected, strict=True):
            if value is MISSING and name not in row:
                continue
            assert same(value, row.get(name)), (name, value, row.get(name))


def holds_breaks(held: Table) -> bool:
    names, rows = held
    cells = [*names, *(as_text(value) for row in rows for value in row)]
    return any(char in cell for cell in cells for char in "\t\n\r")


@pytest.mark.parametrize("into", WRITERS)
@pytest.mark.parametrize("seed", range(SEED, SEED + TABLES))
def test_a_table_comes_out_of_every_format_as_it_went_into_any(tmp_path: Path, seed: int, into: str) -> None:
    chance = random.Random(seed)
    source, database = tmp_path / f"in.{into}", tmp_path / "job.db"
    held = WRITERS[into](source, some_table(chance))
    asyncio.run(ingest(source, database, "first"))
    for out in ("csv", "jsonl", "parquet", "tsv"):
        path = tmp_path / f"out.{out}"
        if out == "tsv" and holds_breaks(held):
            with pytest.raises(BatchjobError, match=r"TSV cannot hold: export as \.jsonl"):
                write_out(database, "first", path)
            assert not path.exists()
            continue
        write_out(database, "first", path)
        check(held, read_back(path))
        if out == into == "jsonl":
            check_alike(held, read_back(path))
        if out == "tsv" and any('"' in as_text(value) for row in held[1] for value in row):
            continue  # quotes alone could be those of CSV: see test_tables
        # Our own reader takes it for the same.
        asyncio.run(ingest(path, database, f"again {out}"))
        write_out(database, f"again {out}", tmp_path / "again.jsonl")
        again = read_back(tmp_path / "again.jsonl")
        exported = list(dict.fromkeys(name for row in read_back(path) for name in row))
        renamed = dict(zip(named(held[0]), named_again(exported, named(held[0])), strict=True))
        check_named(held, again, renamed)


def named_again(exported: list[str], names: list[str]) -> list[str]:
    places = dict(zip(exported, named(exported), strict=True))
    return [places.get(name, name) for name in names]


def check_named(held: Table, rows: list[dict[str, Any]], renamed: dict[str, str]) -> None:
    names, values = held
    for row, expected in zip(rows, values, strict=True):
        for name, value in zip(named(names), expected, strict=True):
            assert same(value, row.get(renamed[name])), (name, value, row)


def check_alike(held: Table, rows: list[dict[str, Any]]) -> None:
    """From JSON Lines to JSON Lines: types too, and which keys there are."""
    names, values = held
    for row, expected in zip(rows, values, strict=True):
        given = {name: value for name, value in zip(named(names), expected, strict=True) if value is not MISSING}
        if "id" not in names:
            row.pop("id")
        for ours in ("label", "source", "state", "error"):
            row.pop(ours)
        assert json.dumps(row) == json.dumps({name: given[name] for name in row})
        assert set(row) == set(given)
