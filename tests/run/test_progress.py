"""How far a run is: its total follows the limit, and what was put back."""

from __future__ import annotations

from batchjob.model import Chunk, RowResult
from batchjob.run.progress import Progress
from batchjob.settings.config import merge
from batchjob.states import Event, State


def chunk(first: int, rows: int) -> Chunk:
    return Chunk(first, [(1, "", "", None, None)] * rows, 0, "", False)


def test_rows_behind_the_limit_are_read_and_not_counted() -> None:
    progress = Progress(merge({"limit": 100}))
    progress.begin({}, {}, 0)
    progress.arrived(chunk(1, 60))
    progress.arrived(chunk(61, 60))
    progress.arrived(chunk(121, 60))
    assert (progress.counts[State.PENDING], progress.total, progress.left) == (180, 100, 100)


def test_a_run_that_wants_some_rows_counts_to_them() -> None:
    progress = Progress(merge({}))
    progress.begin({"pending": 1000, "done": 40, "failed": 10}, {}, 5)
    assert (progress.total, progress.settled, progress.left) == (55, 50, 5)
    progress.count(RowResult(1, Event.FAIL, error_kind="timeout"))
    assert (progress.left, progress.failed, progress.last_kind) == (4, 11, "timeout")


def test_blank_rows_that_are_skipped_are_settled_and_have_not_failed() -> None:
    progress = Progress(merge({"blank": "skip"}))
    progress.begin({"pending": 2, "failed": 3}, {"blank_text": 2, "off_list": 1}, 2)
    progress.count(RowResult(1, Event.REJECT, error_kind="blank_text"))
    assert (progress.settled, progress.failed, progress.last_kind) == (4, 1, "")


def test_the_oldest_request_is_the_one_that_is_out_the_longest() -> None:
    progress = Progress(merge({}))
    assert progress.oldest_seconds(5.0) == 0.0
    for request, at in ((1, 1.0), (2, 2.0), (3, 4.0)):
        progress.sent(request, at)
    assert progress.oldest_seconds(5.0) == 4.0
    progress.back(1)
    progress.back(3)
    assert progress.oldest_seconds(5.0) == 3.0
