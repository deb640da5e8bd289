"""Lines in a terminal: folded, measured and cut by the columns they take."""

from __future__ import annotations

import pytest

from batchjob.views.lines import cut, ending, folded, padded, width


def test_a_folded_line_loses_no_word_and_is_never_too_wide() -> None:
    line = "labels    " + ", ".join(f"标签{n} {n}" for n in range(30))
    parts = folded([line], 40)
    assert " ".join(part.strip() for part in parts).split() == line.split()
    assert max(len(part) + sum(char > "\u3000" for char in part) for part in parts) <= 40
    assert {part[:10] for part in parts[1:]} == {" " * 10}


@pytest.mark.parametrize("before", ["next      ", "  and 17 more: "])
def test_a_command_to_copy_is_never_folded(before: str) -> None:
    line = f"{before}batchjob errors a-long-name --db /a/rather/long/path/to/some/batchjob.db"
    assert folded([line], 40) == [line]


def test_a_text_that_has_the_name_in_it_is_folded() -> None:
    line = "    row T-1: 'I have asked batchjob status for an hour now, and batchjob says nothing', answer 'other'"
    assert max(map(len, folded([line], 40))) <= 40


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("标签", 4), ("e\u0301", 1), ("👍", 2), ("…", 1)])
def test_a_text_is_as_wide_as_a_terminal_shows_it(text: str, columns: int) -> None:
    assert width(text) == columns
    assert padded(text, 6) == text + " " * (6 - columns)


@pytest.mark.parametrize(
    ("columns", "shown"), [(None, "/a/标签.csv"), (11, "/a/标签.csv"), (8, "…签.csv"), (6, "….csv")]
)
def test_of_a_path_the_end_is_kept(columns: int | None, shown: str) -> None:
    assert ending("/a/标签.csv", columns) == shown


@pytest.mark.parametrize("columns", [0, -1])
def test_where_there_is_no_room_a_text_is_cut_to_nothing(columns: int) -> None:
    assert cut("refund", columns) == ending("refund", columns) == "…"
