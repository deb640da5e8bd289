"""A file of labels: one a line, a JSON array, or a table with what each means. What has two meanings is refused."""

from __future__ import annotations

import csv
import re
from typing import Any

import msgspec

from batchjob.errors import SettingError

HEADERS = frozenset({"label", "labels", "name", "category", "categories", "class", "classes", "intent", "tag"})
DESCRIPTIONS = frozenset({"description", "descriptions", "definition", "meaning"})
COLUMNS = frozenset({"id", "text", "body"})
"""Names of columns that the first line of a table of texts has."""
BETWEEN = {",": ("commas", 3), ";": ("semicolons", 3), "\t": ("tabs", 2)}
"""What stands between the cells of a table, and with how many cells in each line that is one."""
_LISTED = re.compile(r"(?:[-*+\u2022]|\d{1,3}[.)])\s+\S.*")
"""A line of a list: with a dash, a dot or a number before it."""


def read_labels_file(text: str, origin: str) -> dict[str, Any]:
    """The settings in a file of labels: `labels`, and `descriptions` where it is a table with a header of both.

    Raises:
        SettingError: it is not clear what is meant; the text names the line.
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    header = [name.strip().casefold() for name in first.split(",")]
    if len(header) != 2 or header[0] not in HEADERS or header[1] not in DESCRIPTIONS:
        return {"labels": parse_labels_file(text, origin)}
    lines = csv.reader(text.splitlines(), strict=True)
    try:
        rows = [[cell.strip() for cell in row] for row in lines if any(cell.strip() for cell in row)][1:]
    except csv.Error as error:
        raise SettingError(f"{origin}: line {lines.line_num} is no CSV: {error}") from None
    for at, row in enumerate(rows, 1):
        if len(row) > 2 or not row[0]:
            raise SettingError(f"{origin}: label number {at} is not a label and its description: quote what has commas")
    described = {row[0]: row[1] for row in rows if len(row) == 2 and row[1]}
    return {"labels": [row[0] for row in rows], "descriptions": described}


def parse_labels_file(text: str, origin: str) -> list[str]:
    """The labels in a file. Blank lines are left out, and so are comments: a # before a space, or alone.

    A label in quotes is read as in CSV, so that it may begin with a # or be called "label".

    Raises:
        SettingError: it is not clear what is meant; the text names the line.
    """
    if text.lstrip()[:1] in ("[", "{"):
        return _of_json(text, origin)
    lines = [(at, line.strip()) for at, line in enumerate(re.split("\r\n|\n|\r", text), 1)]
    lines = [(at, line) for at, line in lines if line and not re.match(r"#(\s|$)", line)]
    _check_form(lines, origin)
    return [_label(line, at, origin) for at, line in lines]


def _of_json(text: str, origin: str) -> list[str]:
    try:
        found: Any = msgspec.json.decode(text.encode())
        return msgspec.convert(found, list[str])
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise SettingError(
            f"{origin} is neither a JSON array of strings nor labels, one a line ({error}): write it as"
            f' ["billing", "refund"]'
        ) from None


def _check_form(lines: list[tuple[int, str]], origin: str) -> None:
    """See that the lines are labels and nothing else.

    Raises:
        SettingError: they are a table, a list on one line, or have marks before or behind them.
    """
    if not lines:
        return
    first_at, first = lines[0]
    names = re.split("[,;\t]", first)
    found = [name.strip().casefold() for name in names]
    named = found[0] in HEADERS and len(lines) > 1
    if named or (len(names) > 1 and (found[0] in HEADERS or COLUMNS & {*found})):
        raise SettingError(
            f"{origin}: line {first_at}, {first!r}, looks like a header: take it out, or quote it if it is a label"
        )
    _check_no_table([line for _, line in lines], origin)
    if len(lines) == 1 and "," in first and '"' not in first:
        raise SettingError(f"{origin}: line {first_at} holds commas: write one label a line, or quote it if it is one")
    for what, is_so in (("a comma at its end", _ends_in_comma), ("a mark of a list", _LISTED.fullmatch)):
        if len(lines) > 1 and all(is_so(line) for _, line in lines):
            raise SettingError(f"{origin}: each line has {what}: take it away, or quote the labels if it is theirs")


def _check_no_table(lines: list[str], origin: str) -> None:
    """See that the lines are not the rows of a table, such as the input itself.

    Raises:
        SettingError: they have all the same number of cells.
    """
    for mark, (said, least) in BETWEEN.items():
        try:
            cells = {len(row) for row in csv.reader(lines, delimiter=mark)}
        except csv.Error:  # a cell is too large, and so is a label
            continue
        if len(lines) > 1 and len(cells) == 1 and min(cells) >= least:
            raise SettingError(
                f"{origin}: each line has {min(cells)} cells with {said} between them, as a table has: write one label"
                " a line, or quote the labels if that is theirs"
            )


def _ends_in_comma(line: str) -> bool:
    return line.endswith(",")


def _label(line: str, at: int, origin: str) -> str:
    if not line.startswith('"'):
        return line
    try:
        fields = next(csv.reader([line], strict=True))
    except csv.Error:
        fields = []
    if len(fields) != 1:
        raise SettingError(f'{origin}: line {at}, {line!r}, is not one label in quotes: write a quote in it as ""')
    return fields[0].strip()
