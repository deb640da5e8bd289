"""What the documents say is so: links lead somewhere, commands parse, tables and names are those of the program."""

from __future__ import annotations

import re
import shlex
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from commands_page import PAGE as COMMANDS_PAGE
from commands_page import page as commands_page
from errors_page import PAGE as ERRORS_PAGE
from errors_page import page as errors_page
from json_page import PAGE as JSON_PAGE
from json_page import page as json_page

from batchjob.cli import group
from batchjob.settings.declared import spelled
from batchjob.settings.jobfile import read_job_toml, settings
from batchjob.states import TRANSITIONS
from batchjob.stores.sqlite.schema import migrate

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "docs" / "reference" / "tables.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
QUERIES = [code for language, code in CODE.findall(SCHEMA.read_text(encoding="utf-8")) if language == "sql"]
BEHIND = frozenset({"|", "||", "&", "&&", ";", ">", ">>", "2>", "<"})
"""Words of a shell's line that end a command."""


def names(documents: list[Path]) -> list[str]:
    return [str(document.relative_to(ROOT)) for document in documents]


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of each `batchjob` in the code of a document, in fences of sh or indented."""
    fenced = [code for language, code in CODE.findall(text) if language == "sh"]
    indented = re.findall(r"^ {4}(batchjob .*)$", CODE.sub("", text), re.MULTILINE)
    # In a crontab, a unit of systemd, or behind a prompt.
    others = "\n".join(code for language, code in CODE.findall(text) if language in ("text", "ini", "console"))
    elsewhere = re.findall(r"(?:^\$ |/)(?:\w+=\S+ )?(batchjob [a-z].*)$", others, re.MULTILINE)
    for line in "\n".join([*fenced, *indented, *elsewhere]).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            del words[0]
        if words[:1] == ["batchjob"]:
            end = next((at for at, word in enumerate(words) if word in BEHIND), len(words))
            yield words[1:end]


def named(text: str) -> Iterator[list[str]]:
    """The arguments of each `batchjob` within a sentence."""
    for code in re.findall(r"`(batchjob [a-z][^`]*)`", CODE.sub("", text)):
        yield shlex.split(" ".join(code.split()))[1:]


def parse(arguments: list[str]) -> None:
    """See that the command line takes these arguments; nothing is run."""
    top = group.make_context("batchjob", list(arguments))
    begun = top._protected_args if hasattr(top, "_protected_args") else top.protected_args  # click 8.2, and before
    name, command, rest = group.resolve_command(top, [*begun, *top.args])
    assert command is not None
    context = command.make_context(name, rest, parent=top)
    if isinstance(command, click.Group):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        command.make_context(name, rest, parent=context)


def test_the_page_of_the_commands_is_their_help() -> None:
    written = COMMANDS_PAGE.read_text(encoding="utf-8")
    # Versions of click fold lines in other places; and -h stands there or not by who asked a command first.
    words = commands_page().replace("-h, --help", "--help").split()
    assert words == written.replace("-h, --help", "--help").split(), "run: make reference"


def test_the_page_of_the_error_kinds_is_what_the_program_advises() -> None:
    assert ERRORS_PAGE.read_text(encoding="utf-8") == errors_page(), "run: make reference"


def test_the_page_of_the_json_documents_has_the_keys_that_are_printed() -> None:
    assert JSON_PAGE.read_text(encoding="utf-8") == json_page(), "run: make reference"


def test_a_default_named_in_a_guide_is_that_of_the_setting() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "guides").glob("*.md"))
    named = re.findall(r"`--([\w-]+)` \((\d+(?:\.\d+)?)", text)
    defaults = {setting.option[2:]: spelled(setting.default) for setting in settings()}
    assert len(named) >= 3
    assert [(name, value) for name, value in named if defaults[name] != value] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_every_link_leads_to_a_file(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in LINK.findall(CODE.sub("", text)):
        path, _, place = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        linked = document if not path else document.parent / path
        assert linked.exists(), f"{document.name}: {target}"
        if place:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert place in {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}, target


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_every_command_shown_is_one_the_program_takes(document: Path) -> None:
    for arguments in commands(document.read_text(encoding="utf-8")):
        try:
            parse(arguments)
        except click.UsageError as error:
            pytest.fail(f"{document.name}: batchjob {shlex.join(arguments)}: {error.format_message()}")


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_every_command_named_in_a_sentence_is_one_the_program_has(document: Path) -> None:
    for arguments in (
        named(document.read_text(encoding="utf-8")) if document.name != "CHANGELOG.md" else ()
    ):  # tells what is gone
        try:
            parse(arguments)
        except click.MissingParameter:
            pass  # a sentence need not name all of them
        except click.UsageError as error:
            pytest.fail(f"{document.name}: batchjob {shlex.join(arguments)}: {error.format_message()}")


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_every_job_toml_shown_is_one_the_program_takes(document: Path, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for language, code in CODE.findall(document.read_text(encoding="utf-8")):
        if language == "toml":
            (tmp_path / "job.toml").write_text(code, encoding="utf-8")
            read_job_toml(tmp_path / "job.toml")


def test_commands_in_documents_are_found_and_wrong_ones_refused() -> None:
    fences = "```sh\nKEY=x batchjob start a.csv \\\n  --rpm 0 | head\n```\n\n{}\n```text\nbatchjob no\n```\n"
    text = fences.format("    batchjob jobs\n")
    assert list(commands(text)) == [["start", "a.csv", "--rpm", "0"], ["jobs"]]
    with pytest.raises(click.UsageError):
        parse(["start", "a.csv", "--no-such-option"])


def test_the_table_of_states_is_that_of_transitions() -> None:
    text = (ROOT / "docs" / "explained" / "states.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| `(\w+)` \| ([^|]*) \| `(\w+)` \|", text, re.MULTILINE)
    told = {event: (frozenset(re.findall(r"`(\w+)`", before)), after) for event, before, after in lines}
    assert told == {
        str(event): (frozenset(map(str, before)), str(after)) for event, (before, after) in TRANSITIONS.items()
    }


def test_every_test_that_the_guarantee_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "explained" / "guarantee.md").read_text(encoding="utf-8")))
    there = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) > 15
    assert named <= there, named - there


def test_every_module_has_its_line_in_the_architecture() -> None:
    text = (ROOT / "docs" / "explained" / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "batchjob"
    modules = {str(path.relative_to(package)) for path in package.rglob("*.py") if not path.name.startswith("__")}
    lacking = {module for module in modules if f"`{module}`" not in text}
    assert not lacking, "say in docs/explained/architecture.md what they are for"


def test_every_page_is_in_the_index_and_on_the_site() -> None:
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")} - {"index.md"}
    indexed = set(LINK.findall((ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    assert not pages - indexed, "give them a line in docs/index.md"
    site = set(re.findall(r"- ([\w/-]+\.md)", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert pages | {"index.md"} == site, "nav in mkdocs.yml"


# ---------------------------------------------------------------- the page of the tables

TICKETS = """\
id,text,channel
T-1,The parcel never came,mail
T-2,I was charged twice,chat
T-3,,chat
"""


@pytest.fixture(scope="module")
def tickets(tmp_path_factory: pytest.TempPathFactory, batchjob_in: type) -> Iterator[sqlite3.Connection]:
    """A database, opened for reading, with a job of two labelled rows and one that failed."""
    folder = tmp_path_factory.mktemp("tickets")
    (folder / "tickets.csv").write_text(TICKETS)
    ended = batchjob_in(folder)("start", "tickets.csv", "--labels", "shipping,billing", "--sandbox", "--rpm", "0")
    assert ended.code == 4, ended.err
    connection = sqlite3.connect(f"file:{folder / 'batchjob.db'}?mode=ro", uri=True)
    yield connection
    connection.close()


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_shown_finds_something(tickets: sqlite3.Connection, query: str) -> None:
    assert tickets.execute(query).fetchall(), query


def test_queries_in_the_page_of_the_tables_are_found_and_use_each_view() -> None:
    assert len(QUERIES) > 4
    assert all(any(f"FROM {view}" in query for query in QUERIES) for view in ("labelled", "requests", "label_counts"))


def test_every_table_and_column_is_told_of_and_no_other(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "empty.db", isolation_level=None)
    migrate(connection, tmp_path / "empty.db")
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')").fetchall()
    there = {name: [column[1] for column in connection.execute(f"PRAGMA table_info({name})")] for (name,) in names}
    connection.close()
    told: dict[str, list[str]] = {}
    for section in SCHEMA.read_text(encoding="utf-8").split("\n### ")[1:]:
        cells = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
        told[section.partition("\n")[0]] = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert {name: sorted(columns) for name, columns in told.items()} == {
        name: sorted(columns) for name, columns in there.items()
    }
