"""Counts, amounts, durations and sizes, each in one form."""

from __future__ import annotations

import pytest

from batchjob.numbers import about, counted, dollars, duration, how_ended, size


@pytest.mark.parametrize(("count", "said"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1234, "1,234 rows")])
def test_a_count_has_its_noun(count: int, said: str) -> None:
    assert counted(count, "row") == said


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (0, "0.0000 USD"),
        (0.0000031, "0.0000031 USD"),
        (0.000999, "0.00100 USD"),
        (0.001, "0.0010 USD"),
        (0.98765, "0.9877 USD"),
        (1, "1.00 USD"),
        (1234.567, "1,234.57 USD"),
    ],
)
def test_an_amount_that_is_not_nothing_never_looks_like_nothing(amount: float, said: str) -> None:
    assert dollars(amount) == said


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (0, "0 USD"),
        (0.0000031, "less than 0.01 USD"),
        (0.0123, "about 0.012 USD"),
        (0.35, "about 0.35 USD"),
        (0.999, "about 1.00 USD"),
        (3.456, "about 3.50 USD"),
        (9.97, "about 10 USD"),
        (12.6, "about 13 USD"),
        (1234.5, "about 1,200 USD"),
    ],
)
def test_a_reckoned_amount_is_said_in_the_digits_that_are_known(amount: float, said: str) -> None:
    assert about(amount) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7380, "2 h 03 min"),
        (86400 * 2 + 3600 * 5, "2 d 5 h"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 KB"), (25e6, "25 MB"), (3.2e15, "3,200.0 TB")]
)
def test_a_size_is_said_in_the_unit_that_suits_it(count: float, said: str) -> None:
    assert size(count) == said


@pytest.mark.parametrize(
    ("code", "said"),
    [(7, "ended with exit code 7"), (-9, "was killed by SIGKILL"), (-50, "was killed by signal 50")],
)
def test_a_command_that_a_signal_killed_has_no_exit_code(code: int, said: str) -> None:
    assert how_ended(code) == said
