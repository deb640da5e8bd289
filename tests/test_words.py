"""What people most probably get wrong: one sentence names the thing and the next step, and nothing is paid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchjob.cli import _run

JOB = ("--labels", "refund,invoice", "--sandbox")
OURS = ("--labels", "refund,invoice", "--base-url", "http://127.0.0.1:9/v1", "--model", "m")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("id,text\n1,a refund\n")
    Path("type.toml").write_text("rpm = 'many'\n")
    Path("latin.txt").write_bytes("r\xfcckgabe\n".encode("latin-1"))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--config", "type.toml"), "setting rpm: expected a number, got a text"),
        ((*OURS, "--concurrency", "0"), "setting concurrency: expected a whole number of at least 1"),
        ((*OURS, "--rpm", "-1"), "setting rpm: expected a number of at least 0"),
        ((*OURS, "--timeout", "0"), "setting timeout: expected a number above 0"),
        ((*OURS, "--budget", "-1"), "setting budget: expected a number above 0"),
        ((*OURS, "--unpaid-status", "404"), "setting unpaid_status[0]: expected a whole number of at least 500"),
        (("--labels-file", "none.txt"), "cannot read the labels_file none.txt: No such file or directory"),
        (("--labels-file", "latin.txt"), "cannot read the labels_file latin.txt: it is not UTF-8"),
        ((*JOB, "--db", "none/j.db"), "; make it with: mkdir -p "),
        ((*OURS, "--output", "none/o.csv"), "cannot write none/o.csv: there is no folder"),
        ((*OURS, "--api-key-env", "MINE"), "api_key_env names MINE, which is not set in the environment"),
        ((*OURS, "--price", "1"), "--price '1': give two amounts in USD per million tokens, sent and answered"),
        ((*OURS, "--param", "n=2"), "params: n cannot be given: one answer is read, and all are paid for"),
        ((*OURS, "--header", "X-Api-Key=abc"), "put it into a variable of the environment and give X-Api-Key=env:"),
        (("--labels", "a,a", "--sandbox"), "label 'a' is given twice"),
        (("--labels", "caf\u00e9,a,cafe\u0301", "--sandbox"), "label 'caf\u00e9' is given twice"),
    ],
)
def test_a_setting_that_is_wrong_is_named_with_what_it_takes(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert _run(["start", "t.csv", *arguments]) in (1, 2)
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.pdf", b"%PDF-1.7 x", "x.pdf is a PDF document, not a table; export the table"),
        ("x.bz2", b"BZh91AY&SY", "x.bz2 is compressed with bzip2, not a table; decompress it first: bunzip2 -k"),
        ("x.zst", b"\x28\xb5\x2f\xfd\x01", "x.zst is compressed with zstd, not a table; decompress it first: zstd -dk"),
        ("page.html", b"<!doctype html><p>", "page.html is an HTML page"),
        ("x.xml", b"<?xml version='1.0'?><a/>", "x.xml is an XML document"),
        ("x.db", b"SQLite format 3\0", "x.db is a SQLite database, not a table"),
        ("x.log", b"id,text\n1,a\n", "x.log: the suffix does not tell the format"),
        ("folder", None, "folder is a folder: name the files in it"),
    ],
)
def test_an_input_that_is_no_table_is_called_what_it_is(
    capsys: pytest.CaptureFixture[str], name: str, content: Any, said: str
) -> None:
    if content is None:
        Path(name).mkdir()
    else:
        Path(name).write_bytes(content)
    assert _run(["start", name, *JOB]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1
    assert not Path("batchjob.db").exists()
