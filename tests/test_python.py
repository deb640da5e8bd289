"""batchjob from Python: lists, frames and files labelled in a process that belongs to the caller."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from waiting import until

import batchjob as bj
from batchjob.errors import InputError, JobBusy, JobError, JobRefused, SettingError
from batchjob.stores import open_store

if TYPE_CHECKING:
    from tests.conftest import BatchJob

ROOT = Path(__file__).resolve().parent.parent
LABELS = ["card_arrival", "request_refund", "top_up"]
TEXTS = ["Where is my card?", "I want my money back", "How do I top up?"]
MANY = [f"{TEXTS[number % 3]} ({number})" for number in range(60)]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, and nothing of the caller's settings."""
    for name in [name for name in os.environ if name.startswith(("BATCHJOB_", "OPENAI_", "TOKENHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def programs(batchjob: BatchJob) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Begins Python programs; those that go on are ended at the end."""
    begun: list[subprocess.Popen[str]] = []

    def begin(code: str, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "import batchjob\n" + textwrap.dedent(code)]
        begun.append(
            subprocess.Popen(
                command,
                cwd=batchjob.folder,
                env={**batchjob.environment, **env},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def call(url: str, data: str = repr(MANY), **more: object) -> str:
    """The code of a call."""
    given = {"labels": LABELS, "model": "m", "base_url": url, "rpm": 0, "concurrency": 4, **more}
    return f"batchjob.label({data}, {', '.join(f'{name}={value!r}' for name, value in given.items())})"


def billed(ledger: Path) -> Counter[str]:
    """How often each text was billed at the endpoint."""
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    return Counter(row["text"] for line in lines if line["billed"] for row in line["rows"])


def done(texts: list[str] = MANY) -> list[str]:
    """The texts that have a label in the database here."""
    with contextlib.suppress(bj.BatchjobError):
        labels = bj.open().job().labels
        return [text for text, label in zip(texts, labels, strict=False) if label is not None]
    return []


def in_flight(db: str = "batchjob.db") -> int:
    """How many rows are out."""
    with contextlib.suppress(bj.BatchjobError):
        rows: dict[str, int] = bj.open(db).job().status()["rows"]
        return rows["in_flight"]
    return 0


def labelled(data: Any, **more: Any) -> bj.Job:
    """What is labelled by the sandbox in this process, without a word."""
    return bj.label(data, **{"labels": LABELS, "sandbox": True, "rpm": 0, "progress": False, **more})


def sent(job: bj.Job) -> int:
    return job.status()["requests"]["sent"]


# ---------------------------------------------------------------- what the package offers


def test_the_names_that_are_offered_are_lazy_and_documented() -> None:
    code = (
        "import sys, batchjob; print(sorted({name.partition('.')[0] for name in sys.modules} & {'msgspec', 'aiohttp'}))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"
    guide = (ROOT / "docs" / "guides" / "python.md").read_text(encoding="utf-8")
    for kind, prefix in ((bj.Job, "job."), (bj.Database, "db."), (bj.Table, ".")):
        for name in [name for name in vars(kind) if not name.startswith("_")]:
            assert getattr(kind, name).__doc__, f"{kind.__name__}.{name}"
            assert f"{prefix}{name}" in guide, f"{kind.__name__}.{name}"
    assert dir(bj) == bj.__all__
    assert all(getattr(bj, name) for name in bj.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lable'"):
        _ = bj.lable


# ---------------------------------------------------------------- what goes in, what comes out


def test_the_labels_of_a_list_line_up_with_it_and_failed_rows_have_none() -> None:
    job = labelled([TEXTS[0], None, TEXTS[1], "", TEXTS[2], float("nan")])
    assert job.labels == ["card_arrival", None, "request_refund", None, "top_up", None]
    assert [error["row"] for error in job.errors()] == [2, 4, 6]
    assert {error["kind"] for error in job.errors()} == {"blank_text"}
    assert "--" not in job.errors()[0]["advice"]


def test_several_answers_about_each_text_are_fields_that_line_up() -> None:
    asked = [{"name": "topic", "labels": LABELS}, {"name": "urgent", "kind": "yes_no"}]
    job = bj.label([TEXTS[0], None], fields=asked, sandbox=True, rpm=0, progress=False)
    assert job.fields[1] is None
    assert job.fields[0] is not None
    assert set(job.fields[0]) == {"topic", "urgent"}
    assert job.fields[0]["topic"] in LABELS
    with pytest.raises(JobError, match=r"in job\.fields"):
        _ = job.labels
    assert job.score([LABELS[0], None], field="topic")["accuracy"]["n"] == 1
    assert job.compare(job, gold=[job.fields[0]["urgent"], None], field="urgent")["accuracy_a"]["hits"] == 1
    with pytest.raises(JobError, match=r"in job\.labels"):
        _ = labelled(TEXTS).fields


def test_gold_in_a_list_may_be_of_any_plain_kind() -> None:
    asked = [{"name": "n", "kind": "number", "min": 0, "max": 0.5, "decimals": 1}, {"name": "sure", "kind": "yes_no"}]
    job = bj.label(TEXTS, fields=asked, sandbox=True, rpm=0, progress=False)
    values = [found["n"] for found in job.fields if found is not None]
    assert job.score(values, field="n")["accuracy"]["hits"] == 3
    assert job.score([0, float("nan"), None], field="n")["rows"]["without_gold"] == 2


def test_what_no_json_holds_is_met_and_what_cannot_be_written_is_named_by_its_row() -> None:
    halves = labelled([f"{TEXTS[0]} \ud83d", TEXTS[1]])
    assert halves.labels == LABELS[:2]
    assert halves.rows()[0]["text"] == f"{TEXTS[0]} \ufffd"
    odd = labelled([{"text": TEXTS[0], "a": Path("x"), "b": b"\xff", "c": {1, 2}, "d": 10**30, "e": float("inf")}])
    assert [odd.rows()[0][name] for name in "ade"] == ["x", 10**30, None]
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InputError, match="data, row 2: "):
        labelled([{"text": "a"}, {"text": endless}])


def test_dicts_may_differ_in_their_keys_and_keep_them_in_an_export() -> None:
    data = [{"id": "a", "text": TEXTS[0], "n": 2.5}, {"id": "b", "text": TEXTS[1], "tags": ["x", None]}]
    job = labelled(data)
    assert job.labels == ["card_arrival", "request_refund"]
    assert job.rows()[1] | {"source": "model"} == job.rows()[1]
    assert job.rows().columns == ("id", "text", "n", "tags", "label", "source", "state", "error")
    assert [row["tags"] for row in job.rows()] == [None, ["x", None]]
    assert job.export("out.jsonl") == 2
    assert json.loads(Path("out.jsonl").read_text().splitlines()[0])["n"] == 2.5


def test_a_file_is_labelled_from_a_path_and_is_the_job_of_the_command(batchjob: BatchJob) -> None:
    Path("tickets.csv").write_text("id,text\n" + "".join(f"{n},{text}\n" for n, text in enumerate(TEXTS)))
    command = ("start", "tickets.csv", "--labels", ",".join(LABELS), "--sandbox", "--rpm", "0")
    job = labelled(Path("tickets.csv"))
    assert job.labels == LABELS
    assert batchjob(*command).code == 0
    assert len(bj.open().jobs()) == 1
    assert sent(job) == 3


def test_what_a_person_said_of_a_row_is_its_label(batchjob: BatchJob) -> None:
    job = labelled(TEXTS)
    assert batchjob("correct", "data", "2", "top_up").code == 0
    assert bj.open().job(job.name).labels == ["card_arrival", "top_up", "top_up"]
    assert bj.open().job(job.name).rows()[1]["label"] == "top_up"


@pytest.mark.parametrize("new", [False, True])
def test_the_same_list_again_is_the_same_job_and_pays_nothing(*, new: bool) -> None:
    first, second = labelled(MANY[:6]), labelled(list(MANY[:6]), new=new, cache=False)
    assert (second.name, sent(second)) == (("data-2", 6) if new else (first.name, 6))
    assert first.labels == second.labels
    assert len(bj.open().jobs()) == 1 + new


def test_a_list_is_known_by_what_is_asked_about_it() -> None:
    rows = [{"text": text, "title": "a", "mine": 1} for text in TEXTS]
    first = labelled(rows, prompt="About {title}: {text}\n{labels}")
    assert labelled([row | {"mine": 2} for row in rows], prompt="About {title}: {text}\n{labels}").name == first.name
    assert labelled([row | {"title": "b"} for row in rows], prompt="About {title}: {text}\n{labels}").name == "data-2"
    assert labelled(rows[::-1], prompt="About {title}: {text}\n{labels}").name == "data-3"


def test_a_list_goes_on_behind_its_limit_also_where_a_column_was_added_meanwhile() -> None:
    rows = [{"text": text} for text in [*MANY, *MANY]]
    first = labelled(rows * 40, limit=3)
    assert [label is None for label in first.labels] == [False] * 3 + [True] * 4797
    assert not first.status()["ingested"]
    second = labelled([{"text": row["text"], "label": "x"} for row in rows * 40])
    assert second.name == first.name
    assert None not in second.labels
    assert sent(second) == 60


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (7, "data is of the type int"),
        ([], "no rows"),
        ("Where is my card?", "there is no file Where is my card.; check the path, or give texts in a list"),
        (["a", {"text": "b"}], "row 2: it is of the type dict and not a text"),
        ([{"text": "b"}, 5], "row 2: it is of the type int and not a dict"),
        ([{"title": "b"}, {"words": "c"}], "data has no column text or body; its columns are: title, words"),
    ],
)
def test_data_that_is_none_is_refused_by_its_row(data: Any, said: str) -> None:
    with pytest.raises((InputError, SettingError), match=said):
        labelled(data)
    assert not Path("batchjob.db").exists()


def test_a_setting_that_is_unknown_is_answered_by_the_nearest() -> None:
    with pytest.raises(SettingError, match=r"no setting 'lables'\. Did you mean 'labels'\?"):
        bj.label(TEXTS, lables=LABELS)
    with pytest.raises(SettingError, match=r"no setting 'api_kee'\. Did you mean 'api_key'\?") as told:
        bj.label(TEXTS, api_kee="sk-geheim")
    assert "geheim" not in str(told.value)
    with pytest.raises(bj.BatchjobError, match=r"no API key for .* Or give it as api_key"):
        bj.label(TEXTS, labels=LABELS, base_url="https://host.example/v1", model="m")
    for labels, said in (
        ("a,b", r'labels: expected a list such as \["a", "b"\], got a text'),
        ({"a": None}, "got nothing"),
    ):
        with pytest.raises(SettingError, match=said):
            bj.label(TEXTS, labels=labels, sandbox=True)
    with pytest.raises(SettingError, match="output is '-'"):
        labelled(TEXTS, output="-")
    with pytest.raises(SettingError, match=r"no endpoint: give base_url https://host/v1 .* sandbox=True"):
        bj.label(TEXTS, labels=LABELS)


def test_other_labels_for_a_finished_list_are_refused_until_new_is_said() -> None:
    labelled(TEXTS)
    with pytest.raises(SettingError, match="add new=True"):
        labelled(TEXTS, labels=[*LABELS, "other"])
    assert labelled(TEXTS, labels=[*LABELS, "other"], new=True).name == "data-2"


def test_a_job_file_and_descriptions_count_as_the_command_has_them() -> None:
    Path("job.toml").write_text(f"labels = {LABELS}\nsandbox = true\nrpm = 0\n")
    with pytest.raises(SettingError, match="no labels"):
        bj.label(TEXTS)  # a file that nobody named
    assert bj.label(TEXTS, config="job.toml", progress=False).labels == LABELS
    described = bj.label(TEXTS, labels=dict.fromkeys(LABELS, "words"), sandbox=True, progress=False, new=True)
    assert set(described.labels) <= set(LABELS)


# ---------------------------------------------------------------- read


def test_any_job_is_read_also_while_a_run_writes(
    sandbox: Callable[..., str], programs: Callable[..., subprocess.Popen[str]]
) -> None:
    program = programs(call(sandbox("--latency", "0.1"), progress=False))
    until(lambda: len(done()) > 2)
    job = bj.open("batchjob.db").job()
    assert program.poll() is None
    assert job.status()["pid"] == program.pid
    assert {row["state"] for row in job.rows()} >= {"done", "pending"}
    assert len(job.requests()) >= 3
    assert job.requests()[0]["rows"] == [1]
    with pytest.raises(JobBusy, match=f"process {program.pid} is working on job 'data'.* with db") as busy:
        labelled(TEXTS)
    assert busy.value.__notes__[0].startswith("on the command line: batchjob status data --watch")


def test_scores_comparisons_and_reports_are_those_of_the_commands(batchjob: BatchJob) -> None:
    data = [{"text": text, "gold": gold} for text, gold in zip(TEXTS, [*LABELS[:2], LABELS[0]], strict=True)]
    first = labelled(data, name="first")
    second = labelled(data, name="second", model="other", new=True)
    score = first.score("gold")
    assert (score["accuracy"]["hits"], score["accuracy"]["n"]) == (2, 3)
    assert first.score([LABELS[0], None, LABELS[0]])["accuracy"]["hits"] == 1
    with pytest.raises(SettingError, match="1 labels for 3 rows"):
        first.score([LABELS[0]])
    assert json.loads(batchjob("score", "first", "--gold", "gold", "--json").out) == score
    compared = first.compare(second, gold="gold")
    assert json.loads(batchjob("compare", "first", "second", "--gold", "gold", "--json").out) == compared
    last = labelled([TEXTS[2]], name="last")
    compared = first.compare(last, gold=["other", "other", LABELS[2]])
    assert (compared["accuracy_a"]["hits"], compared["accuracy_a"]["n"]) == (1, 1), "gold of the rows before is theirs"
    first.report("report.html", gold="gold")
    assert "66.7 %" in Path("report.html").read_text()


def test_failed_rows_are_put_back_by_retry(sandbox: Callable[..., str]) -> None:
    url = sandbox("--poison", "back", "--poison-fault", "off_list")
    job = bj.label(TEXTS, labels=LABELS, model="m", base_url=url, rpm=0, max_attempts=1, progress=False)
    assert job.labels == ["card_arrival", None, "top_up"]
    assert job.retry(base_url=sandbox(), progress=False).labels == LABELS


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(JobError, match=r"there is no database .*none\.db: name one with db"):
        bj.open("none.db")
    labelled(TEXTS, name="tickets")
    with pytest.raises(JobError, match="tickets"):
        bj.open().job("tickts")


# ---------------------------------------------------------------- frames

NO_PANDAS = "pandas is not here: make installs it"
NO_POLARS = "polars is not here: make installs it"


def test_a_pandas_frame_is_labelled_in_its_order_and_may_get_the_labels_as_a_column() -> None:
    pandas = pytest.importorskip("pandas", reason=NO_PANDAS)
    when = pandas.to_datetime(["2026-01-02", None, "2026-01-04"])
    frame = pandas.DataFrame({"body": [TEXTS[2], None, TEXTS[0]], "n": [1, 2, 3], "when": when}, index=[9, 4, 7])
    job = labelled(frame)
    frame["label"] = job.labels
    assert frame.loc[9, "label"] == "top_up"
    assert frame.loc[7, "label"] == "card_arrival"
    assert sent(labelled(frame)) == sent(job) == 2
    assert len(bj.open().jobs()) == 1
    table = job.rows(details=True).to_pandas()
    assert list(table["n"]) == [1, 2, 3]
    assert table["when"][0].startswith("2026-01-02")
    assert labelled(frame["body"]).labels == job.labels
    scored = [
        job.score(gold)["rows"] for gold in (["top_up", pandas.NA, None], pandas.Series(["top_up", None, pandas.NaT]))
    ]
    assert [(rows["scored"], rows["right"], rows["without_gold"]) for rows in scored] == [(1, 1, 2)] * 2
    for missing in (pandas.Series([*TEXTS, None], dtype="string"), [*TEXTS, pandas.NA, pandas.NaT]):
        assert labelled(missing).labels[len(TEXTS) :] == [None] * (len(missing) - len(TEXTS))


def test_gold_and_another_job_are_what_they_are_said_to_be() -> None:
    class Frame(list[str]):
        columns = ("gold",)

    job = labelled(TEXTS)
    for gold in (Frame(TEXTS), dict.fromkeys(TEXTS, "top_up"), {*TEXTS}, iter(TEXTS), 3):
        with pytest.raises(bj.errors.SettingError, match="name a column, or give a list with a label for each row"):
            job.score(gold)  # type: ignore[arg-type]
    with pytest.raises(bj.errors.SettingError, match="other is of the type str: give a job"):
        job.compare("texts")  # type: ignore[arg-type]


def test_a_polars_frame_is_labelled_in_its_order() -> None:
    polars = pytest.importorskip("polars", reason=NO_POLARS)
    frame = polars.DataFrame({"body": [TEXTS[2], None, TEXTS[0]], "n": [1, None, 3]})
    job = labelled(frame)
    assert frame.with_columns(label=polars.Series(job.labels))["label"].to_list() == ["top_up", None, "card_arrival"]
    assert job.rows().to_polars()["n"].to_list() == [1, None, 3]
    with pytest.raises(SettingError, match="collect"):
        labelled(frame.lazy())
    assert labelled(frame["body"]).labels == job.labels


def test_a_frame_that_nobody_can_make_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(bj.BatchjobError, match="pip install pandas"):
        labelled(TEXTS).requests().to_pandas()


# ---------------------------------------------------------------- killed


def test_a_list_whose_program_was_killed_goes_on_by_the_same_call_and_pays_for_no_row_twice(
    sandbox: Callable[..., str], programs: Callable[..., subprocess.Popen[str]], here: Path
) -> None:
    ledger = here / "bill.jsonl"
    url = sandbox("--latency", "0.05", "--ledger", str(ledger))
    killed = programs(call(url, progress=False))
    until(lambda: len(done()) >= 8)
    killed.kill()
    killed.wait()
    completed, out = done(), bj.open().job().status()["rows"]["in_flight"]
    assert 8 <= len(completed) < 60
    before = billed(ledger)
    again = programs(f"print(sum(map(bool, {call(url, progress=False)}.labels)))")
    assert again.communicate(timeout=30)[0] == "60\n"
    bills = billed(ledger)
    assert {text: bills[text] for text in completed} == dict.fromkeys(completed, 1)
    assert sum(bills.values()) <= 60 + out
    assert sum(before.values()) <= len(completed) + out


def test_a_list_whose_program_was_killed_before_all_of_it_was_read_is_read_on(
    programs: Callable[..., subprocess.Popen[str]],
) -> None:
    code = call("sandbox:", "[f'Where is my card? {n % 3}' for n in range(4100)]", sandbox=True, progress=False)
    killed = programs(code, BATCHJOB_FAILPOINT="input.between_chunks=kill@1")
    assert killed.wait(timeout=20) == -signal.SIGKILL, killed.communicate()
    status = bj.open().job().status()
    assert (status["ingested"], status["rows"]["total"]) == (False, 2000)
    again = programs(f"print(len([label for label in {code}.labels if label]))")
    assert again.communicate(timeout=20)[0] == "4100\n"
    assert len(bj.open().jobs()) == 1


# ---------------------------------------------------------------- Ctrl-C

INTERRUPTED = """
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_stops_when_what_is_in_flight_is_committed(
    sandbox: Callable[..., str], programs: Callable[..., subprocess.Popen[str]]
) -> None:
    program = programs(INTERRUPTED.format(call=call(sandbox("--latency", "0.3"))))
    until(lambda: in_flight() >= 2)
    program.send_signal(signal.SIGINT)
    said, told = program.communicate(timeout=10)
    assert said == "interrupted\n"
    assert "waiting for the requests in flight" in told
    status = bj.open().job().status()
    assert (status["state"], status["rows"]["in_flight"], status["requests"]["lost"]) == ("stopped", 0, 0)
    assert status["rows"]["done"] == status["requests"]["answered"]


def test_a_second_ctrl_c_leaves_at_once_and_the_same_call_settles_what_was_out(
    sandbox: Callable[..., str], programs: Callable[..., subprocess.Popen[str]]
) -> None:
    url = sandbox("--latency", "60")
    one = call(url, repr(MANY[:1]))
    program = programs(
        INTERRUPTED.format(call=one)
        + f"print(batchjob.label({MANY[:1]!r}, sandbox=True, labels={LABELS}, new=True).labels)"
    )
    until(lambda: in_flight() == 1)
    program.send_signal(signal.SIGINT)
    assert program.stderr is not None
    while "stopping" not in program.stderr.readline():
        pass
    program.send_signal(signal.SIGINT)
    said, told = program.communicate(timeout=30)
    assert said == "interrupted\n['card_arrival']\n", told
    status = bj.open().job("data").status()
    assert (status["state"], status["rows"]["in_flight"]) == ("interrupted", 1)


# ---------------------------------------------------------------- the caller's process


def process_state() -> dict[str, Any]:
    """What belongs to the process, and a library leaves alone."""
    return {
        "gc": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "switch": sys.getswitchinterval(),
        "signals": [
            signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
        ],
        "timer": signal.getitimer(signal.ITIMER_REAL)[1],
        "folder": os.getcwd(),
        "warnings": list(warnings.filters),
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "streams": (sys.stdin, sys.stdout, sys.stderr, sys.excepthook, threading.excepthook),
        "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
        "environment": dict(os.environ),
    }


async def test_a_call_where_a_loop_runs_leaves_the_process_as_it_is_during_and_after(
    sandbox: Callable[..., str],
) -> None:
    gc.unfreeze()  # what a test before froze may die during this one, and be one less
    before, url = process_state(), sandbox("--latency", "0.05")
    given: dict[str, Any] = {"labels": LABELS, "model": "m", "base_url": url, "rpm": 0, "db": "other.db"}
    beside = asyncio.to_thread(bj.label, MANY[:20], **given, progress=False)
    task = asyncio.create_task(beside)
    while not in_flight("other.db"):
        await asyncio.sleep(0.02)
    during = process_state()
    assert labelled(TEXTS).labels == LABELS  # right here, in the loop's own thread
    assert len((await task).labels) == 20
    assert during == before
    assert process_state() == before
    assert asyncio.get_running_loop().is_running()


async def test_a_database_that_another_thread_writes_to_is_busy() -> None:
    store = await open_store(os.path.abspath("busy.db"), job="theirs")
    with pytest.raises(JobBusy, match=f"process {os.getpid()} is working on job 'theirs' in .*busy.db"):
        labelled(TEXTS, db="busy.db")
    await store.close()
    assert labelled(TEXTS, db="busy.db").labels == LABELS


FILES = """
import gc, os, batchjob
labels = lambda text: batchjob.label(
    [text], labels=["card", "bill"], sandbox=True, db="files.db", log_file="all.log", progress=False
)
labels("my card")  # libuv has a pipe of its own in a process, from the first loop on
before = os.listdir("/dev/fd")
labels("a bill")
gc.collect()
print(sorted(os.listdir("/dev/fd")) == sorted(before))
"""


def test_a_call_leaves_no_file_open() -> None:
    told = [sys.executable, "-W", "always::ResourceWarning", "-c", FILES]  # a file the collector closed is told
    ended = subprocess.run(told, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\n", "")


def test_two_calls_in_two_threads_on_two_databases_work() -> None:
    with ThreadPoolExecutor(2) as pool:
        jobs = list(pool.map(lambda db: labelled(MANY, db=db), ["a.db", Path("b.db")]))
    assert [len(job.labels) for job in jobs] == [60, 60]
    assert jobs[0].labels == jobs[1].labels
    assert [Path(job.db).name for job in jobs] == ["a.db", "b.db"]


FIRST = """
import sys, threading
sys.setswitchinterval(1e-6)  # a crash of msgspec, once in four times, where two threads learn of a type at once
import batchjob
labels = lambda n: batchjob.label([f"card {n}"], labels=["card", "bill"], sandbox=True, db=f"{n}.db", progress=False)
threads = [threading.Thread(target=labels, args=(n,)) for n in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(*[batchjob.open(f"{n}.db").jobs()[0]["state"] for n in range(4)])
"""


def test_the_first_calls_of_a_process_may_come_from_four_threads_at_once() -> None:
    for folder in ("a", "b"):
        os.mkdir(folder)
        ended = subprocess.run([sys.executable, "-c", FIRST], cwd=folder, capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stdout) == (0, "finished finished finished finished\n"), ended.stderr


def test_progress_is_one_line_in_a_terminal_and_nothing_where_it_is_not_wanted(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, sandbox: Callable[..., str]
) -> None:
    labelled(TEXTS)
    assert capfd.readouterr() == ("", "")
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    url = sandbox("--latency", "0.1")
    bj.label(MANY[:16], labels=LABELS, model="m", base_url=url, rpm=0, concurrency=4, db="b.db")
    *painted, end = terminal.getvalue().split("\r\x1b[K")
    assert any("16 rows" in line and "in flight" in line for line in painted)
    assert "\n" not in "".join(painted)
    assert end.splitlines()[:2] == ["job data: finished", "rows      16 of 16 rows labelled"]


KEY = "sk-" + "q8ZrT0wP" * 4


def test_a_key_that_is_given_is_sent_and_never_kept_or_told(
    sandbox: Callable[..., str], capfd: pytest.CaptureFixture[str], here: Path
) -> None:
    given: dict[str, Any] = {"labels": LABELS, "model": "m", "rpm": 0, "log_file": "all.log", "max_attempts": 1}
    job = bj.label(TEXTS, **given, base_url=sandbox("--require-key", KEY), api_key=KEY)
    assert job.labels == LABELS
    with pytest.raises(JobRefused) as refused:
        bj.label(TEXTS, **given, base_url=sandbox("--require-key", "another"), api_key=KEY, db="refused.db")
    assert refused.value.exit_code == 3
    with pytest.raises(SettingError) as odd:
        bj.label(TEXTS, **given, base_url="http://127.0.0.1:9/v1", api_key=f"{KEY}\n{KEY}")
    told = [repr(job), repr(vars(job)), *capfd.readouterr()]
    for error in (refused.value, odd.value):
        told += [str(error), "".join(traceback.format_exception(error))]
    for file in here.iterdir():
        told.append(file.read_bytes().decode("latin-1"))
    assert [text for text in told if KEY[3:] in text] == []


def test_an_ending_that_leaves_labels_to_use_is_no_error(sandbox: Callable[..., str]) -> None:
    given: dict[str, Any] = {"labels": LABELS, "model": "m", "rpm": 0, "progress": False, "price": [100.0, 100.0]}
    job = bj.label(MANY, **given, base_url=sandbox(), budget=0.2, concurrency=1)
    assert job.status()["state"] == "over_budget"
    assert 0 < sum(map(bool, job.labels)) < 60


# ---------------------------------------------------------------- a notebook

NO_JUPYTER = "nbclient and ipykernel are not here: make installs them"


def test_a_notebook_whose_kernel_was_killed_is_run_again_and_pays_for_no_row_twice(
    sandbox: Callable[..., str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient = pytest.importorskip("nbclient", reason=NO_JUPYTER)
    pytest.importorskip("ipykernel", reason=NO_JUPYTER)
    from nbformat import v4

    ledger = here / "bill.jsonl"
    asked = call(sandbox("--latency", "0.05", "--ledger", str(ledger)))
    code = f"import asyncio, batchjob\nassert asyncio.get_running_loop()\njob = {asked}"
    monkeypatch.setenv("IPYTHONDIR", str(here / "ipython"))

    def notebook() -> Any:
        cells = [v4.new_code_cell(code), v4.new_code_cell("job.labels.count(None), job.name")]
        return nbclient.NotebookClient(v4.new_notebook(cells=cells), timeout=60, kernel_name="python3")

    with ThreadPoolExecutor(1) as pool:
        first = notebook()
        running = pool.submit(first.execute)
        until(lambda: len(done()) >= 8 or running.done(), seconds=60)  # a kernel takes its time to begin
        os.kill(first.km.provisioner.pid, signal.SIGKILL)
        with pytest.raises(nbclient.exceptions.DeadKernelError):
            running.result()
    completed, out = done(), bj.open().job().status()["rows"]["in_flight"]
    assert 8 <= len(completed) < 60
    shown, counted = notebook().execute()["cells"]
    assert counted["outputs"][0]["data"]["text/plain"] == "(0, 'data')"
    bills = billed(ledger)
    assert {text: bills[text] for text in completed} == dict.fromkeys(completed, 1)
    assert sum(bills.values()) <= 60 + out
    (only,) = shown["outputs"]  # one output of the cell, which was replaced again and again
    assert only["output_type"] == "display_data"
    assert "job data: finished\nrows      60 of 60 rows labelled" in only["data"]["text/plain"]


def test_the_stop_button_of_a_notebook_is_ctrl_c(
    sandbox: Callable[..., str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient = pytest.importorskip("nbclient", reason=NO_JUPYTER)
    pytest.importorskip("ipykernel", reason=NO_JUPYTER)
    from nbformat import v4

    monkeypatch.setenv("IPYTHONDIR", str(here / "ipython"))
    cell = v4.new_code_cell(f"import batchjob\n{call(sandbox('--latency', '0.3'))}")
    client = nbclient.NotebookClient(v4.new_notebook(cells=[cell]), timeout=60, kernel_name="python3")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(client.execute)
        until(lambda: in_flight() >= 2 or running.done())
        os.kill(client.km.provisioner.pid, signal.SIGINT)
        with pytest.raises(nbclient.exceptions.CellExecutionError, match="KeyboardInterrupt"):
            running.result()
    status = bj.open().job().status()
    assert (status["state"], status["rows"]["in_flight"], status["requests"]["lost"]) == ("stopped", 0, 0)
