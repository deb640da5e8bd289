"""A setting is declared once: what flags, help, job.toml and the reference say of it is what the program does."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import click
import msgspec
import pytest
from reference import PAGE, page

from batchjob.cli import group
from batchjob.cli.init import job_toml
from batchjob.errors import SettingError
from batchjob.settings.config import JobConfig, deciding, merge
from batchjob.settings.declared import ALWAYS, GROUPS, About, Because, Decides, Setting, columns, declared, spelled
from batchjob.settings.jobfile import BESIDE, FILES, settings
from batchjob.settings.tables import OfModel, Price, Route, Rule

ALL = {setting.name: setting for setting in settings()}
OF_JOB = [setting for setting in ALL.values() if setting.name in JobConfig.__struct_fields__]
FLAGGED = [setting for setting in ALL.values() if setting.commands]
BOUNDED = [setting for setting in OF_JOB if setting.bounds]
SWITCHES_ALONE = ("append", "dry_run", "new", "show_prompt")


def names(chosen: list[Setting]) -> list[str]:
    return [setting.name for setting in chosen]


def command(name: str) -> click.Command:
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found


def help_of(name: str, *, columns: int = 400) -> str:
    top = click.Context(group, terminal_width=columns, max_content_width=columns)
    return command(name).get_help(click.Context(command(name), info_name=name, parent=top))


def rows_of(text: str) -> dict[str, list[str]]:
    """The cells of each setting in the tables of the reference, by key or else flag."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    rows = [cells for cells in lines if len(cells) == 7 and cells[0] != "flag"]
    return {(cells[1] if cells[1] != "-" else cells[0]).strip("`"): cells for cells in rows}


def row_of(setting: Setting) -> list[str]:
    rows = rows_of(PAGE.read_text(encoding="utf-8"))
    named = setting.about.in_file and (setting.table or setting.pairs)
    heading = setting.heading(setting.about.shown) if named else ""
    key = heading or (setting.name if setting.about.in_file else setting.option)
    assert key in rows, f"{setting.name} is not in {PAGE.name}"
    return rows[key]


# ---------------------------------------------------------------- every setting is declared, and everywhere


def test_every_field_of_a_job_is_declared_with_its_sentence_and_whether_it_decides() -> None:
    assert names(OF_JOB) == list(JobConfig.__struct_fields__)
    for setting in ALL.values():
        assert re.fullmatch(r"[A-Z].{6,}\.", setting.about.sentence), setting.name
        assert setting.about.group in GROUPS
        if isinstance(setting.effect, Because):
            assert re.fullmatch(r"[a-z].{6,}[^.]", setting.effect.reason), setting.name


@pytest.mark.parametrize("said", [(About("run", "Of no use."),), (Decides(),), ()])
def test_a_setting_that_does_not_say_what_it_is_for_and_whether_it_decides_is_refused(said: tuple[object, ...]) -> None:
    hint: Any = str
    for part in said:
        hint = Annotated[hint, part]
    silent = msgspec.defstruct("Silent", [("novel", hint, "")])
    with pytest.raises(TypeError, match="novel"):
        declared(silent)


@pytest.mark.parametrize("table", [Rule, Route, Price, OfModel])
def test_every_field_of_a_table_is_declared(table: type[msgspec.Struct]) -> None:
    assert list(columns(table)) == list(table.__struct_fields__)
    needed = {field.name for field in msgspec.structs.fields(table) if field.required}
    assert needed <= {name for name, column in columns(table).items() if column.example is not None}


@pytest.mark.parametrize("setting", ALL.values(), ids=ALL)
def test_every_setting_has_its_flag_or_is_a_table(setting: Setting) -> None:
    assert (setting.table is None) == bool(setting.commands)
    for name in ALWAYS:
        options = [option for option in command(name).params if option.name == setting.name]
        assert bool(options) == (name in setting.commands), name
        for option in options:
            assert setting.option in option.opts
            assert (f"--no-{setting.option[2:]}" in option.secondary_opts) == setting.switch
            assert setting.about.sentence.rstrip(".") in help_of(name) or "same endpoint" in help_of(name)


@pytest.mark.parametrize("setting", ALL.values(), ids=ALL)
def test_every_setting_stands_in_a_written_job_toml(setting: Setting) -> None:
    text = job_toml()
    if not setting.about.in_file:
        assert f"\n#{setting.name} = " not in text.partition("# ---- Tables")[0]
    elif setting.table:
        assert f"# {setting.about.sentence}\n#[" in text
        assert all(re.search(rf"(?m)^#({name} = | Also {name}: )", text) for name in columns(setting.table))
    elif setting.pairs:
        assert f"# {setting.about.sentence}\n#{setting.heading('')}\n#" in text
    else:
        assert re.search(rf"(?m)^# {re.escape(setting.about.sentence)}.*(\n# .*)?\n#{setting.name} = ", text) or (
            setting in FILES.values() and f"Or {setting.name} = " in text
        )


@pytest.mark.parametrize("setting", ALL.values(), ids=ALL)
def test_every_setting_stands_in_the_reference_with_its_sentence_and_whether_it_decides(setting: Setting) -> None:
    flag, _, default, _, sentence, effect, _ = row_of(setting)
    assert sentence == setting.about.sentence
    assert effect.startswith("yes" if isinstance(setting.effect, Decides) else "no: ")
    assert (setting.option in flag) == bool(setting.commands)
    if setting.has_default and setting.name not in SWITCHES_ALONE:
        assert default.startswith(f"`{spelled(setting.default)}`")


def test_the_reference_is_that_of_the_settings() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make reference"


def test_a_flag_that_is_no_setting_is_known_by_name() -> None:
    known = {setting.option for setting in FLAGGED} | {"--help", "--json", "--kind", "--input"}
    known |= {"-n", "--rows", "--sample", "--seed", "--field"}  # of try: which rows, and which answer
    assert {opt for name in ALWAYS for param in command(name).params for opt in param.opts if opt[0] == "-"} <= known


# ---------------------------------------------------------------- bounds and defaults


@pytest.mark.parametrize("setting", BOUNDED, ids=names(BOUNDED))
def test_the_bounds_in_the_reference_are_those_that_are_enforced(setting: Setting) -> None:
    told = row_of(setting)[3]
    least = re.search(r"(more than )?(\d+)", told)
    most = re.search(r"to (\d+)$", told)
    assert least is not None
    step = 1 if setting.kind is int else 1e-9
    lowest = float(least[2]) + (step if least[1] else 0)
    merge({setting.name: setting.kind(lowest)})
    with pytest.raises(SettingError):
        merge({setting.name: setting.kind(lowest - step)})
    merge({setting.name: setting.kind(most[1] if most else 10**9)})
    if most:
        above = int(most[1]) + 1 if setting.kind is int else math.nextafter(float(most[1]), math.inf)
        with pytest.raises(SettingError):
            merge({setting.name: above})


@pytest.mark.parametrize("setting", OF_JOB, ids=names(OF_JOB))
def test_a_setting_without_bounds_in_the_reference_has_none(setting: Setting) -> None:
    if setting.kind in (int, float):
        assert setting in BOUNDED
    for choice in setting.choices:
        assert f"`{choice}`" in row_of(setting)[3]
        merge({setting.name: choice})
    if setting.choices:
        with pytest.raises(SettingError):
            merge({setting.name: "another"})


@pytest.mark.parametrize("name", ["start", "profile"])
def test_help_says_the_default_and_the_range_of_each_setting(name: str) -> None:
    text = help_of(name)
    for setting in OF_JOB:
        line = next((line for line in text.splitlines() if line.strip().startswith(f"{setting.option} ")), "")
        if setting.commands and setting.has_default and not setting.switch and name in setting.commands:
            assert f"[default {spelled(setting.default)}" in line
            assert setting.hint in line


@pytest.mark.parametrize("name", ["resume", "retry"])
def test_help_of_a_later_run_names_no_default_for_it_goes_by_the_last_run(name: str) -> None:
    assert re.findall(r"--(\S+) .*\bdefault[: ]", help_of(name)) == ["api-key-command", "db", "on-end"]


# ---------------------------------------------------------------- groups


@pytest.mark.parametrize("name", ALWAYS)
@pytest.mark.parametrize("columns", [80, 100])
def test_help_shows_the_settings_in_their_groups_and_within_the_terminal(name: str, columns: int) -> None:
    text = help_of(name, columns=columns)
    assert max(map(len, text.splitlines())) <= columns
    titles = [heading.title for heading in GROUPS.values()]
    found = [title for title in re.findall(r"(?m)^(\w+):$", text) if title != "Other"]
    assert found == [title for title in titles if title in found]
    parts = dict(zip(["Usage", *found, "Other"], re.split(r"(?m)^\w+:\n", text), strict=True))
    for setting in ALL.values():
        if name in setting.commands:
            assert re.search(rf"(?m)^  {setting.option}\b", parts[GROUPS[setting.about.group].title]), setting.name
    assert re.findall(r"--\w+", parts["Other"]) == ["--help"]


@pytest.mark.parametrize("name", ALWAYS)
def test_help_loads_no_library_that_it_does_not_use(name: str, tmp_path: Path) -> None:
    code = (
        f"import sys; from batchjob.cli import _run; _run([{name!r}, '--help']);"
        "print(*{'aiohttp', 'structlog', 'wcwidth', 'uvloop'} & set(sys.modules), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ended.stderr == "\n"


# ---------------------------------------------------------------- what decides


def test_the_settings_that_decide_are_these() -> None:
    assert set(deciding()) == {
        *("base_url", "model", "labels", "fallback", "prompt", "temperature", "rules", "routes"),
        *("text_column", "encoding", "thinking", "params", "models", "descriptions", "examples", "fields"),
        *("second_model", "second_below"),
    }


def test_what_stands_beside_the_settings_of_a_job_is_none_of_them() -> None:
    beside = {setting.name for setting in (*BESIDE, *FILES.values())}
    assert not beside & set(JobConfig.__struct_fields__)
    assert set(FILES) <= set(JobConfig.__struct_fields__)
