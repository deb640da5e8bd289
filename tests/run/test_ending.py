"""How a run ends that nothing stopped: which failed rows a user must know of."""

from __future__ import annotations

import pytest

from batchjob.errors import SettingError
from batchjob.model import Ending
from batchjob.run.ending import by_itself, over_budget
from batchjob.settings.config import merge
from batchjob.settings.failures import Failures, allowed_of
from batchjob.states import JobState

ROWS = {"done": 195, "failed": 5}
KINDS = {"off_list": 2, "blank_text": 3}


def ended(rows: dict[str, int] = ROWS, kinds: dict[str, int] = KINDS, *, left: bool = False, **given: object) -> Ending:
    config = merge(given)
    return by_itself(config, Failures.of(config, rows, kinds), left=left)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({}, 4),
        ({"allow_failed": 4}, 4),
        ({"allow_failed": 5}, 0),
        ({"allow_failed": "2%"}, 4),
        ({"allow_failed": "2.5%"}, 0),
        ({"blank": "skip"}, 4),
        ({"blank": "skip", "allow_failed": "1"}, 4),
        ({"blank": "skip", "allow_failed": "1%"}, 0),
    ],
)
def test_failed_rows_give_exit_code_4_but_for_those_that_are_let_pass(given: dict[str, object], code: int) -> None:
    ending = ended(**given)
    assert (ending.exit_code, ending.state) == (code, JobState.FINISHED)
    assert ("let pass by --allow-failed" in ending.reason) == (code == 0)


def test_a_held_row_is_always_for_the_user_to_decide() -> None:
    rows, kinds = {"done": 9, "unconfirmed": 1}, {"unconfirmed": 1}
    assert ended(rows, kinds, allow_failed="100%", blank="skip").exit_code == 4


def test_only_blank_rows_that_are_skipped_are_no_failure_and_no_reason() -> None:
    assert ended({"done": 9, "failed": 1}, {"blank_text": 1}, blank="skip") == Ending(JobState.FINISHED, "", 0)


def test_behind_a_limit_rows_are_left_and_failed_ones_are_told_too() -> None:
    assert ended(left=True, limit=1000, allow_failed="5") == Ending(
        JobState.STOPPED, "the first 1,000 rows are done (--limit); 5 failed rows let pass by --allow-failed 5", 0
    )


def test_a_limit_of_one_row_is_said_as_one() -> None:
    assert ended({"done": 9}, {}, left=True, limit=1).reason == "the first row is done (--limit)"
    assert ended({"done": 9}, {}, left=True).reason == "rows are left"


@pytest.mark.parametrize("amount", ["", "-1", "1.5", "101%", "%", "few", "2 %", "1e3", "\u0663"])
def test_an_amount_that_is_none_is_refused_with_two_that_are(amount: str) -> None:
    with pytest.raises(SettingError, match=r"such as 5, or a share such as 2%"):
        allowed_of(amount, 100)


def test_a_budget_that_is_reached_says_spent_limit_and_what_the_next_request_could_cost() -> None:
    ending = over_budget(merge({"budget": 0.05}), 0.012, 0.0385)
    assert (ending.state, ending.exit_code) == (JobState.OVER_BUDGET, 5)
    assert ending.reason == (
        "0.0120 USD of the budget of 0.0500 USD are spent, and the next request could cost 0.0385 USD"
    )
