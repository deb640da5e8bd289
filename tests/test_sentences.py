"""Sentences that are met seldom, each met once: wrong settings, files that are no tables, rows that cannot be read.

What is printed is compared with what a person should read; `tests/sentences.py` lists those that no test has met.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchjob.cli import _run

if TYPE_CHECKING:
    from tests.conftest import BatchJob

JOB = ("--labels", "refund,invoice", "--sandbox")
OURS = ("--labels", "refund,invoice", "--base-url", "http://127.0.0.1:9/v1", "--model", "m")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("id,text,gold\n1,a refund,refund\n2,my invoice,invoice\n")
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `start` says that is refused, in a line."""
    assert _run(["start", *arguments, "--quiet"]) in (1, 2)
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1, told
    return told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--param", "x"), "--param 'x': give KEY=VALUE, such as reasoning_effort=low or seed=7"),
        (("--param", "messages=[]"), "messages cannot be given: they come from the prompt and the rows"),
        (("--param", "stream=true"), "stream cannot be given: an answer is read when it is whole"),
        (("--param", "tools=[]"), "tools cannot be given: a label is no call of a tool"),
        (("--param", "temperature=0"), "params: give --temperature 0; temperature=omit leaves it out"),
        (("--param", "max_tokens=0"), "max_tokens is a number of tokens, 1 or more, or omit"),
        (("--param", "max_tokens=omit", "--budget", "1", "--price", "1,1"), "a budget cannot be kept with max_tokens"),
        (("--header", "x"), "--header: give NAME=VALUE, or NAME=env:VARIABLE for a value that is a secret"),
        (("--header", "Content-Type=x"), "Content-Type is set by batchjob for each request, and cannot be given"),
        (("--header", "a b=c"), "headers: 'a b' is no name of a header"),
        (("--header", "X-A=env:NOT_SET"), "headers: X-A is to be read from NOT_SET, which is not set"),
        (("--header", "X-A=a\nb"), "headers: X-A holds characters that no header may have"),
        (("--describe", "a"), "--describe 'a': give LABEL=TEXT, such as refund='money back for something bought'"),
        (("--describe", "refund=x", "--describe", "refund=y"), "--describe: 'refund' is there twice"),
        (("--describe", "c=x"), "'c' is described, and is no label of this job. The labels are: refund, invoice"),
        (("--second-model", "m"), "--second-model: name another model than --model"),
        (("--second-below", "0.5"), "--second-below is for --second-model with --confidence"),
        (("--examples", "3"), "--examples 3 draws from rows that have a label by hand: name its column with --gold"),
        (("--gold", "gold"), "--gold COLUMN says where examples are drawn from: give --examples N too"),
        (
            ("--examples", "9", "--gold", "gold"),
            "only 2 texts of the rows that are read for it have a label",
        ),
        (("--examples", "1", "--gold", "id"), "values there are no labels of this job: '1' (1 row, first on line 2)"),
        (("--unpaid-status", "abc"), "--unpaid-status 'abc': give HTTP statuses from 500 on, such as 503"),
        (("--api-key-command", " "), "--api-key-command printed no key"),
        (("--api-key-command", "false"), "--api-key-command ended with exit code 1"),
        (("--api-key-command", "printf 'a\\nb'"), "--api-key-command printed more than a key"),
        (
            ("--api-key-env", "sk-abcdefghijkl"),
            "api_key_env is no name of a variable, and what stands there",
        ),
        (("--thinking", "off"), "(nobody knows how it is told to; give --provider NAME), or say it with --param"),
        (("--append", "--new"), "--append goes on with a job and --new makes one: give one of them"),
        (
            ("--db", "redis://x"),
            "db begins with redis://, which is no store this version knows",
        ),
        (("--json", "--dry-run"), "--json is for the summary of a run: profile --json says what one would take"),
        (("--name", " "), "--name is blank: name the job, or leave it out"),
        (("--encoding", "none-such"), "encoding 'none-such' is not known; common ones: utf-8, utf-16, cp1252"),
        (("--format", "jsonl"), "t.csv: line 1 is not a JSON object"),
        (("--format", "xml"), "format 'xml' is not known; these are: csv, tsv, jsonl, parquet, xlsx"),
        (("--delimiter", "ab"), "--delimiter 'ab' is no separator: give one character such as ; or |, or tab"),
        (("--text-column", "none"), "t.csv has no column 'none'; its columns are: id, text, gold. Name one with"),
        (("--prompt-file", "."), "cannot read the prompt_file .: it is a folder"),
        (("t.csv",), "t.csv is named twice: each file is labelled once"),
        (("-",), "stdin cannot be read beside other files: save it to one"),
    ],
)
def test_a_flag_that_is_wrong_is_named_with_what_it_takes(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert said in refused(capsys, "t.csv", *OURS, *arguments)


RULE, ROUTE = '[[rules]]\nname = "r"\nlabel = "refund"\n', '[[routes]]\nname = "r"\nmodel = "x"\n'
FIELD = '[[fields]]\nname = "x"\n'


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        (RULE, "rule 'r' matches nothing: give it a pattern or words = [\"...\"]"),
        (RULE.replace("refund", "c") + 'words = ["x"]', "rule 'r': 'c' is not a label of this job."),
        (RULE + 'pattern = "("', "rule 'r': pattern '(' is not valid: missing )"),
        (RULE + 'pattern = "a{9999999}"', "is not valid: more than 1,000,000 characters with its repetitions"),
        (
            RULE.replace('"r"', '" "') + 'words = ["x"]',
            "rule number 1 has a blank name: give it one",
        ),
        (f'{RULE}words = ["x"]\n{RULE}words = ["y"]', "rule 'r' is there twice: give each rule a name of its own"),
        (ROUTE, "route 'r' has no condition, so that every row would take it"),
        (ROUTE.replace('"x"', '" "') + 'script = "Han"', "route 'r' has a blank model"),
        (ROUTE + 'value = "v"', "route 'r' has a value but no column: give both"),
        (ROUTE + 'column = "c"', "route 'r' has a column but no value: give both"),
        (ROUTE + "min_length = 5\nmax_length = 3", "min_length is more than max_length, so no row can take it"),
        (ROUTE + 'script = "Hann"', "route 'r': unknown script 'Hann'. Did you mean 'Han'? Known: Latin, Han"),
        (ROUTE + 'language = "xx"', "route 'r': unknown language 'xx': give an ISO 639-1 code. Known: af"),
        ('[prices."m"]\ninput = inf\noutput = 1', "setting prices.m.input: expected a number that is finite"),
        ('[prices."m"]\ninput = 1', "setting prices[...]: output is missing"),
        ('[models."m".params]\nmessages = 1', 'models."m".params: messages cannot be given'),
        (
            '[headers]\nAuthorization = "x"',
            "headers: Authorization is named like a secret",
        ),
        ("budgets = 5", "job.toml: unknown key 'budgets'. Did you mean 'budget'?"),
        ('confidence = "x"', "setting confidence: expected true or false, got a text"),
        ("zzz = 5", "job.toml: unknown key 'zzz'. Known keys: "),
        ('labels_file = "l.txt"', "job.toml: give labels or labels_file, not both"),
        ('[[examples]]\ntext = "x"\nlabel = "zz"', "example number 1: 'zz' is not a label of this job"),
        (FIELD, "labels cannot be given with [[fields]]: each field of kind one or several has its own"),
    ],
)
def test_a_table_of_job_toml_that_is_wrong_is_named(capsys: pytest.CaptureFixture[str], toml: str, said: str) -> None:
    Path("my.toml").write_text('labels = ["refund", "invoice"]\nsandbox = true\n' + toml)
    told = refused(capsys, "t.csv", "--config", "my.toml")
    assert said.replace("job.toml", "my.toml") in told


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        (FIELD, 'field \'x\': kind one needs labels = ["...", "..."]'),
        (FIELD + 'kind = "number"\nmin = 5\nmax = 1', "field 'x': a number needs min and max, the smaller first"),
        (
            f'{FIELD}kind = "text"\n[[examples]]\ntext = "x"\nlabel = "a"',
            "examples cannot be given with [[fields]]: they",
        ),
        (FIELD + 'kind = "nope"', "fields[0].kind: 'nope' is none of those it may be: number, one, several, text,"),
        ('thinking = "lots"', "setting thinking: 'lots' is none of those it may be: default, high, low, medium, off"),
        (FIELD + 'kind = "yes_no"\nlabels = ["a"]', "labels is for kind one and several, and this is yes_no"),
        (FIELD + 'kind = "text"\nmax = 3', "max is for kind number, and this is text"),
        (FIELD + 'labels = ["a", "a"]', "field 'x': a label is given twice"),
        (f'{FIELD}kind = "text"\n{FIELD}kind = "yes_no"', "field 'x' is there twice: capitals and _ do not tell names"),
        (f'fallback = "a"\n{FIELD}kind = "text"', "a field that is not answered fails alone, and the others are kept"),
        (
            f'{RULE}words = ["x"]\n{FIELD}kind = "text"',
            "rules cannot be given with [[fields]]: they give a row",
        ),
        (
            "".join(f'[[fields]]\nname = "f{n}"\nkind = "text"\n' for n in range(31)),
            "31 are more than one",
        ),
    ],
)
def test_a_field_that_cannot_be_asked_is_named(capsys: pytest.CaptureFixture[str], toml: str, said: str) -> None:
    Path("my.toml").write_text(f"sandbox = true\n{toml}")
    assert said in refused(capsys, "t.csv", "--config", "my.toml")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("l.txt", "a,\nb,\n", "each line has a comma at its end: take it away, or quote the labels if it is theirs"),
        ("l.txt", "- a\n- b\n", "each line has a mark of a list: take it away, or quote the labels if it is theirs"),
        ("l.txt", '"a\nb\n', """line 1, '"a', is not one label in quotes: write a quote in it as \"\""""),
        ("l.txt", "label\na\nb\n", "line 1, 'label', looks like a header: take it out, or quote it if it is a label"),
        ("l.txt", "a, b, c\n", "line 1 holds commas: write one label a line, or quote it if it is one"),
        ("l.json", "[1, 2]", 'write it as ["billing", "refund"]'),
        (
            "l.csv",
            "label,description\na,b,c\n",
            "label number 1 is not a label and its description: quote what",
        ),
        ("l.csv", 'label,description\n"a,b\n', "line 2 is no CSV: unexpected end of data"),
    ],
)
def test_a_file_of_labels_that_is_wrong_is_told_where(
    capsys: pytest.CaptureFixture[str], name: str, content: str, said: str
) -> None:
    Path(name).write_text(content)
    assert said in refused(capsys, "t.csv", "--sandbox", "--labels-file", name)


def zipped(*members: str) -> bytes:
    with zipfile.ZipFile("made.zip", "w") as archive:
        for member in members:
            archive.writestr(member, "x")
    return Path("made.zip").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a b.xz", b"\xfd7zXZ\0", "compressed with xz, not a table; decompress it first: xz -dk 'a b.xz'"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c", "a.7z is a 7z archive, not a table; unpack it first"),
        ("a.rar", b"Rar!\x1a\x07", "a.rar is a RAR archive, not a table; unpack it first"),
        ("a.csv", b"ORC", "a.csv is an ORC file, not a table; convert it to Parquet or CSV"),
        ("a.csv", b"Obj\x01", "a.csv is an Avro file, not a table; convert it to Parquet or CSV"),
        ("a.csv", b"ARROW1\0\0", "a.csv is an Arrow file, not a table; convert it to Parquet or CSV"),
        ("a.csv", b"PK\x05\x06" + bytes(18), "a.csv is an empty zip archive, not a table; name the file itself"),
        ("a.csv", b"PK\x03\x04junk", "a.csv is a zip archive that cannot be read"),
        ("a.zip", ("t.csv",), "a.zip is a zip archive; unpack it first: unzip a.zip"),
        ("a.docx", ("word/document.xml",), "a.docx is a text document or slides, not a table; save its table as CSV"),
        ("a.csv.gz", gzip.compress(b"PAR1"), "a.csv.gz holds a Parquet file; unpack it, and name the file itself"),
        (
            "a.csv.gz",
            gzip.compress(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
            "a.csv.gz holds a spreadsheet or document; unpack",
        ),
        ("a.csv.gz", gzip.compress(gzip.compress(b"x")), "a.csv.gz holds another gzip file; unpack it"),
        ("a.csv.gz", gzip.compress(b"id,text\n1,a\n" * 99)[:-9], "a.csv.gz is cut off: its gzip stream has no end"),
        ("a.csv", "id,text\n1,a\n".encode("utf-16-le"), "looks like UTF-16 without a byte order mark; give --encoding"),
        ("a.csv", b"id\0,text\n1,a\n", "the header holds zero bytes; if it is UTF-16, give --encoding utf-16-le"),
        ("a.csv", b"id,text\r1,a\r", 'a.csv: its lines end with a bare carriage return ("\\r"), as on old Macs'),
        ("a.csv", b"", "a.csv is empty; it needs a header line and rows below it"),
        ("a.csv", b'id,text\n1,"a\n2,b\n', "the quote opened in row 1, which begins on line 2, is never closed"),
        ("a.csv", b'id,text\n1,"a" b\n', "a.csv: line 2: text stands behind a closing quote, in row 1"),
        (
            "a.csv",
            b"1,hello there\n2,another\n",
            "its first line, '1, hello there', looks like a row",
        ),
        ("a.jsonl", b"", "a.jsonl is empty; it needs a JSON object on each line"),
        ("a.jsonl", b'[{"text":"a"}]\n', "so this is not JSON Lines; make lines of it with: jq -c '.[]' a.jsonl"),
        (
            "a.jsonl",
            b'{\n"text": "a"\n}\n',
            "so this is not JSON Lines; put each object on one line with: jq -c .",
        ),
        ("a.jsonl", b"id,text\n1,a\n", "so this is not JSON Lines; give the right --format"),
        ("none.log", None, "there is no file none.log; check the path"),
    ],
)
def test_a_file_that_is_no_table_is_called_what_it_is(
    capsys: pytest.CaptureFixture[str], name: str, content: bytes | tuple[str, ...] | None, said: str
) -> None:
    if content is not None:
        Path(name).write_bytes(zipped(*content) if isinstance(content, tuple) else content)
    assert said in refused(capsys, name, *JOB)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"b.jsonl": '{"id":"1","text":"a"}\n'}, "b.jsonl is jsonl and "),
        ({"b.csv": "id,text\n1,a\n"}, "b.csv has the columns id, text, and "),
        ({"b.csv": "id;text;gold\n1;a;b\n"}, "b.csv has another separator or header than "),
    ],
)
def test_files_that_are_not_alike_are_no_one_job(
    capsys: pytest.CaptureFixture[str], files: dict[str, str], said: str
) -> None:
    for name, content in files.items():
        Path(name).write_text(content)
    assert said in refused(capsys, "t.csv", *files, *JOB)


LINES = [
    ('{"text":"a",}', "bad_json", "write one JSON object on this line"),
    ('{"text":"a","n":1' + "0" * 5000 + "}", "bad_json", "a number in it is too long"),
    ('{"text":"a","x":' + "[" * 500 + "]" * 500 + "}", "bad_json", "values in it are nested more than 400 deep"),
    ('{"text":"a","text":"b"}', "bad_json", "the key 'text' stands there twice"),
    ('{"te\\u0000xt":"a","text":"c"}', "bad_json", "a key holds a zero byte"),
    ("[1]", "bad_json", "it is JSON of another kind"),
]


def test_a_line_that_is_no_row_is_told_with_its_reason(batchjob: BatchJob) -> None:
    lines = ['{"text":"a refund"}', *(line for line, _, _ in LINES)]
    (batchjob.folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    (batchjob.folder / "rows.csv").write_bytes(b"id,text\n1,a\rb\n2,c\n")
    for name in ("rows.jsonl", "rows.csv"):
        assert batchjob("start", name, *JOB, "--rpm", "0", "--quiet").code == 4
    told = json.loads(batchjob("errors", "rows", "--json", "--limit", "20").out)["kinds"]
    rows = {row["line"]: (kind["kind"], row["error"]) for kind in told for row in kind["rows"]}
    for at, (_, kind, said) in enumerate(LINES, 2):
        assert rows[at][0] == kind
        assert said in rows[at][1], rows[at]
    assert "a carriage return stands outside of quotes; quote that text" in batchjob("errors", "rows-2").out
