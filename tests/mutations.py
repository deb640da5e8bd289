"""Tests of the tests: each defect below is put into a copy of the package, and a test must turn red.

    python tests/mutations.py [PART OF A NAME...]

Exits with 1 where a defect goes unnoticed, or where the tests are red without any.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("batchjob", "migrations", "tests", "examples", "docs", "pyproject.toml", "README.md")
LONGEST_SECONDS = 300.0
CRASH = "tests/test_crash.py"
KILLED = f"{CRASH}::test_a_job_killed_three_times_has_every_label_once_and_no_bill_it_does_not_name"
FAILS = "tests/test_failpoints.py::test_a_job_that_fails_there_ends_as_if_it_had_not"
FAULT = "tests/test_faults.py::test_fault_ends_as_the_table_says"
STATES = "tests/test_state_machine.py"
SAVING = "tests/test_saving.py"
HOSTILE = "tests/test_hostile.py"
BUDGET = "tests/test_failpoints.py::test_a_budget_is_kept_also_by_a_job_that_is_killed"
SEND = """\
        await self._commits.submit(claim)
        heard = await self._endpoint.send(body, key)
"""
SEND_FIRST = """\
        heard = await self._endpoint.send(body, key)
        await self._commits.submit(claim)
"""
COMPLETE = """\
        value ->> 4 AS label, value ->> 5 AS source, value ->> 6 AS answer
    FROM json_each(:rows)
) AS given
WHERE row.id = given.id AND row.state = 'in_flight' AND row.claim = given.claim;
"""


class Mutation(NamedTuple):
    """A defect: in this file of the package, this text (there once) becomes that; and the tests that must tell."""

    name: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "the claim is not committed before sending",
        "run/online.py",
        SEND,
        SEND_FIRST,
        (f"{FAILS}[request.after_last_byte=kill@1]",),
    ),
    Mutation(
        "commits are flushed at checkpoints only (synchronous = NORMAL)",
        "stores/sqlite/store.py",
        '"PRAGMA synchronous = FULL"',
        '"PRAGMA synchronous = NORMAL"',
        ("tests/powercut",),
    ),
    Mutation(
        "commits are never flushed (synchronous = OFF)",
        "stores/sqlite/store.py",
        '"PRAGMA synchronous = FULL"',
        '"PRAGMA synchronous = OFF"',
        ("tests/powercut",),
    ),
    Mutation(
        "a request that goes out again has a new idempotency key",
        "run/online.py",
        "key = parcel.lost.client_key if parcel.lost else ",
        "key = ",
        (f"{KILLED}[idempotent]",),
    ),
    Mutation(
        "any answer is taken for a label",
        "exchange/rows.py",
        "    label = terms.labels.match(answer)\n",
        "    label = answer\n",
        (f"{FAULT}[paid-and-of-no-use-a-label-off-the-list]", f"{FAULT}[paid-and-of-no-use-two-labels]"),
    ),
    Mutation(
        "no budget is reserved",
        "run/online.py",
        "            self._budget.reserve(cost)\n",
        "            pass\n",
        (BUDGET,),
    ),
    Mutation(
        "what a dead run had reserved is free again",
        "stores/sqlite/store.py",
        '            tally["cost", "lost"] += sum(cost for _, cost in requests)\n',
        "",
        (BUDGET,),
    ),
    Mutation("every run has the whole budget", "cli/run.py", "spent=await store.spent_picousd()", "spent=0", (BUDGET,)),
    Mutation(
        "a connection is used again at once",
        "endpoints/fast.py",
        "        due = self._loop.time() + REST_SECONDS\n",
        "        self._idle.append((self._loop.time(), connection))\n        return\n"
        "        due = self._loop.time() + REST_SECONDS\n",
        ("tests/test_faults.py::test_a_second_answer_right_behind_the_first_is_not_taken_for_the_next_request",),
    ),
    Mutation(
        "aiohttp's insides are taken as they come",
        "endpoints/fast.py",
        "        _rehearse(self._connector, self._request, self._timeout)\n",
        "",
        ("tests/test_client.py::test_where_aiohttp_is_not_as_expected_the_plain_transport_is_taken",),
    ),
    Mutation(
        "the plain transport says of what may have been sent that it was not",
        "endpoints/plain.py",
        "            if not way.connected:\n",
        "            if True:\n",
        ("tests/test_faults.py::test_on_the_plain_transport_a_fault_ends_so_too[lost-reset-without-an-answer]",),
    ),
    Mutation(
        "the plain transport tells a proxy the key",
        "endpoints/plain.py",
        "            skip_auto_headers=",
        "            headers=self._headers,\n            skip_auto_headers=",
        ("tests/test_faults.py::test_a_proxy_is_not_given_the_key",),
    ),
    Mutation(
        "a lost request is cut in two at the end of a page",
        "stores/sqlite/store.py",
        "        if parcels and parcels[-1].lost:",
        "        if False:",
        ("tests/test_many_rows.py::test_a_lost_request_goes_out_whole_also_at_the_end_of_a_page",),
    ),
    Mutation(
        "a connection is used again on which another answer has begun",
        "endpoints/fast.py",
        " or _has_begun_another(connection)",
        "",
        ("tests/test_client.py::test_the_beginning_of_an_answer_nobody_asked_for_closes_the_connection",),
    ),
    Mutation(
        "a connection is used again whatever came on it",
        "endpoints/fast.py",
        "KEEPALIVE_SECONDS and _is_clean(connection):",
        "KEEPALIVE_SECONDS:",
        ("tests/test_faults.py::test_an_answer_nobody_asked_for_is_never_taken_for_the_next_row",),
    ),
    Mutation(
        "a lost row is asked for again although its text has a label",
        "run/supply.py",
        "            if all(known):\n",
        "            if False:\n",
        (f"{SAVING}::test_a_lost_row_whose_text_another_job_has_a_label_for_gets_it_for_free",),
    ),
    Mutation(
        "a text that was not heard of is asked in another row",
        "run/supply.py",
        '            self._unheard[key] = result.number, ""\n',
        "            pass\n",
        (f"{SAVING}::test_rows_that_come_after_a_lost_one_with_their_text_are_held_too",),
    ),
    Mutation(
        "a text another job lost is asked for a row that was tried before",
        "run/supply.py",
        "        if job and row.insisted:\n",
        "        if job and row.number:\n",
        (f"{SAVING}::test_a_row_that_was_refused_once_is_held_too",),
    ),
    Mutation(
        "a text that an earlier run lost is asked in another row",
        "run/supply.py",
        "        if not self._knows_unheard:\n",
        "        if False:\n",
        (f"{SAVING}::test_a_text_that_went_out_and_was_not_heard_of_is_held_in_every_row",),
    ),
    Mutation(
        "labels that were bought are not looked up",
        "run/supply.py",
        "found = await self._store.cached_labels(wanted) if wanted else {}",
        "found: dict[Key, Remembered] = {}",
        (f"{SAVING}::test_tomorrows_file_pays_only_for_what_is_new",),
    ),
    Mutation(
        "all rows with one text wait in memory",
        "run/supply.py",
        "return self._following < MOST_FOLLOWING",
        "return True",
        (f"{SAVING}::test_rows_that_wait_for_another_with_their_text_are_not_all_in_memory",),
    ),
    Mutation(
        "a verification looks like any request",
        "stores/sqlite/group.py",
        'purpose = "verify" if claim.verify else "label"',
        'purpose = "label"',
        (f"{SAVING}::test_a_sample_of_shared_labels_is_verified_alone",),
    ),
    Mutation(
        "an export holds on to what it began with",
        "stores/sqlite/reader.py",
        "            page = self._all(query, (last, end, PAGE_ROWS))\n",
        '            self._db.in_transaction or self._db.execute("BEGIN")\n'
        "            page = self._all(query, (last, end, PAGE_ROWS))\n",
        (f"{HOSTILE}::test_an_export_that_nobody_reads_does_not_keep_the_log_from_being_reset",),
    ),
    Mutation(
        "the latest job goes by the clock",
        "stores/sqlite/reader.py",
        '"SELECT * FROM job WHERE id = (SELECT job_id FROM run ORDER BY id DESC LIMIT 1)"',
        '"SELECT * FROM job WHERE true"',
        (f"{HOSTILE}::test_with_the_clock_set_back_the_latest_job_is_still_the_one_that_ran_last",),
    ),
    Mutation(
        "a job that was made meanwhile is made again",
        "cli/run.py",
        "        if plan.job.name in reader.names():\n",
        "        if False:\n",
        (f"{HOSTILE}::test_a_job_that_another_process_makes_meanwhile_is_not_made_twice",),
    ),
    Mutation(
        "an age is below zero",
        "cli/cache.py",
        "max(int(seconds // 60), 0)",
        "int(seconds // 60)",
        (f"{HOSTILE}::test_with_the_clock_set_back_no_age_rate_or_time_left_is_below_zero",),
    ),
    Mutation(
        "JSON of any depth is decoded",
        "inputs/jsonl.py",
        "except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:",
        "except (msgspec.DecodeError, UnicodeEncodeError) as error:",
        (f"{HOSTILE}::test_json_deeper_than_any_stack_fails_alone_from_file_to_export",),
    ),
    Mutation(
        "a reader that has gone is an error",
        "cli/__init__.py",
        "BrokenPipeError",
        "BufferError",
        (f"{HOSTILE}::test_an_export_that_is_read_for_one_line_ends_quietly",),
    ),
    Mutation(
        "an answer of any size is read",
        "endpoints/transport.py",
        "        if size > MOST_BODY_BYTES:\n",
        "        if False:\n",
        (
            f"{FAULT}[paid-and-of-no-use-a-body-of-more-than-8-mib]",
            "tests/test_faults.py::test_a_gzip_bomb_is_read_to_the_cap_and_memory_stays_flat",
        ),
    ),
    Mutation(
        "what is sent again is not counted",
        "stores/sqlite/group.py",
        '            self._tally["request", "resent"] += 1\n',
        "            pass\n",
        (f"{KILLED}[resend]", CRASH + "::test_a_second_ctrl_c_leaves_at_once_and_what_was_out_is_counted"),
    ),
    Mutation(
        "a second writer is let in",
        "stores/sqlite/lock.py",
        "            if self._taken():\n",
        "            if True:\n",
        (f"{CRASH}::test_a_second_runner_is_refused_by_name_and_may_start_when_the_first_is_dead",),
    ),
    Mutation(
        "hold sends again all the same",
        "stores/sqlite/store.py",
        "State.UNCONFIRMED if hold else State.PENDING",
        "State.PENDING",
        (f"{KILLED}[hold]", STATES),
    ),
    Mutation(
        "rows in a wrong state are passed over in silence",
        "stores/sqlite/group.py",
        '("" if name in UNGUARDED else guard)',
        '""',
        (STATES,),
    ),
    Mutation(
        "an answer settles rows of another request",
        "stores/sqlite/queries.sql",
        COMPLETE,
        COMPLETE.replace(" AND row.claim = given.claim", ""),
        (f"{STATES}::test_a_request_cannot_settle_the_row_of_another",),
    ),
    Mutation(
        "a counter drifts",
        "stores/sqlite/group.py",
        '            tally["row", after] += n\n',
        '            tally["row", after] += n if event is not Event.COMPLETE else 2 * n\n',
        (STATES,),
    ),
    Mutation(
        "an export is renamed before it is whole",
        "outputs/target.py",
        '            failpoints.reach("export.before_rename")\n',
        '            temporary.replace(path)\n            failpoints.reach("export.before_rename")\n',
        (f"{FAILS}[export.before_rename=kill@1]", f"{FAILS}[export.before_rename=enospc@1]"),
    ),
    Mutation(
        "a database that was taken away is not missed",
        "stores/sqlite/store.py",
        "            self._check_in_place()\n",
        "            pass\n",
        ("tests/test_disk.py::test_a_database_that_is_taken_away_under_a_run_stops_it_and_put_back_loses_nothing",),
    ),
    Mutation(
        "answers in hand are dropped when the disk is full",
        "run/group_commit.py",
        "            self._store.free_reserve()\n",
        "",
        ("tests/test_disk.py::test_a_full_disk_stops_the_run_the_answers_in_hand_are_kept_and_with_room_it_ends",),
    ),
    Mutation(
        "a group does not wait to hear how the one before it fared",
        "run/group_commit.py",
        "            await asyncio.wait([before])\n",
        "            pass\n",
        ("tests/test_disk.py::test_a_group_behind_one_that_found_the_disk_full_tells_the_same_and_keeps_its_answers",),
    ),
)


def copied(folder: Path) -> Path:
    """A copy of what the tests need."""
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / name)
    return folder


def mutate(folder: Path, mutation: Mutation) -> str:
    """Put the defect in; "" or why that cannot be done."""
    path = folder / "batchjob" / mutation.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.right) != 1:
        return f"the text it is made from is {text.count(mutation.right)} times in {mutation.file}"
    path.write_text(text.replace(mutation.right, mutation.wrong), encoding="utf-8")
    return ""


def red_tests(folder: Path, tests: tuple[str, ...]) -> tuple[list[str], str]:
    """The tests that fail on this copy, and the last line of pytest."""
    asked = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=no", "-rfE", "--no-header", *tests]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "NO_SHRINK": "1"}
    process = subprocess.Popen(
        asked, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        said, _ = process.communicate(timeout=LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        return [], f"no end within {LONGEST_SECONDS:g} s"
    lines = said.strip().splitlines() or [""]
    red = [line for line in lines if re.match(r"(FAILED|ERROR) ", line)]
    if process.returncode not in (0, 1):  # not "some failed" but "nothing was run"
        return [], f"pytest ended with {process.returncode}: {lines[-1]}"
    return [line.split(" ", 1)[1].split(" - ")[0] for line in red], lines[-1]


def main(wanted: list[str]) -> int:
    """Try them; the exit code."""
    chosen = [one for one in MUTATIONS if not wanted or any(part in one.name for part in wanted)]
    unnoticed = 0
    with tempfile.TemporaryDirectory(prefix="batchjob-mutations-") as temporary:
        whole = copied(Path(temporary) / "whole")
        tests = tuple(sorted({test for mutation in chosen for test in mutation.tests}))
        red, last = red_tests(whole, tests)
        print(f"{'without a defect':<62} {last}", flush=True)
        if red or "passed" not in last:
            print("\n".join(["red already:", *red]))
            return 1
        for number, mutation in enumerate(chosen):
            began = time.monotonic()
            folder = copied(Path(temporary) / str(number))
            why = mutate(folder, mutation)
            red, last = ([], why) if why else red_tests(folder, mutation.tests)
            unnoticed += not red
            verdict = f"red: {len(red)}" if red else "NOT NOTICED"
            print(f"{mutation.name:<62} {verdict:<12} {time.monotonic() - began:4.0f} s  {last}", flush=True)
            for test in red:
                print(f"    {test}", flush=True)
            shutil.rmtree(folder)
    print(f"{len(chosen)} defects, {unnoticed} not noticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
