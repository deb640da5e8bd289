"""Defects, each a few lines that change the program by name.

tests/mutations.py puts each into a copy of the package, and one of its `tests` must turn red. The storm
(tests/storm/test_storm.py) does so with those that name a `storm`, and its oracle must object.

A defect is a function with @defect. It is given its module when that has just been imported, in every process that
uses the copy, and before anyone else has taken a name from it. It changes the module with `put` and `cut`, which raise
Gone where what they are to change is no longer there. So this file imports nothing of the package at its top.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.util
import inspect
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent

CONCLUDE = "tests/exchange/test_conclude.py"
CRASH = "tests/test_crash.py"
KILLED = f"{CRASH}::test_a_job_killed_three_times_has_every_label_once_and_no_bill_it_does_not_name"
FAILS = "tests/test_failpoints.py::test_a_job_that_fails_there_ends_as_if_it_had_not"
BUDGET = "tests/test_failpoints.py::test_a_budget_is_kept_also_by_a_job_that_is_killed"
FAULTS = "tests/test_faults.py"
FAULT = f"{FAULTS}::test_fault_ends_as_the_table_says"
KEY_AGAIN = f"{FAULTS}::test_a_key_is_used_again_until_a_failure_was_answered"
CLIENT = "tests/test_client.py"
DECISIONS = "tests/test_decisions.py"
DISK = "tests/test_disk.py"
FIELDS = "tests/task/test_fields.py"
HOSTILE = "tests/test_hostile.py"
MOVED = "tests/test_move.py::test_killed_on_the_way_it_goes_on_in_one_place_alone"
IDENTITY = "tests/task/test_identity.py"
LIFE = "tests/stores/test_life_of_rows.py"
CORRECTIONS = "tests/corrections/test_log.py"
PAGE = "tests/page/test_page.py"
PACING = "tests/test_pacing.py"
RULE = "tests/pace/test_rule.py"
PRICING = "tests/test_pricing.py"
PYTHON = "tests/test_python.py"
SCORE = "tests/test_score.py"
SAVING = "tests/test_saving.py"
STORE = "tests/stores/test_store.py"
PG_RUNS = "tests/stores/test_postgres_runs.py"
SEVERAL = "tests/stores/test_several_runs.py"
TOGETHER = "tests/run/test_together.py"
WORKERS = "tests/test_workers.py"


class Storm(NamedTuple):
    """In which mode of the storm a defect is looked for, a part of what the oracle says of it, and of how many rows."""

    mode: str
    objection: str
    rows: int = 1000


class Defect(NamedTuple):
    """What is wrong, in which module, what makes it so, and who must tell."""

    name: str
    module: str  # of the package, without its name
    patch: Callable[[Any], None]
    tests: tuple[str, ...]
    storm: Storm | None


DEFECTS: list[Defect] = []


def defect(
    name: str, module: str, *tests: str, storm: tuple[str, str] | tuple[str, str, int] | None = None
) -> Callable[[Callable[[Any], None]], None]:
    """The function that follows puts this defect into this module."""

    def keep(patch: Callable[[Any], None]) -> None:
        DEFECTS.append(Defect(name, module, patch, tests, storm and Storm(*storm)))

    return keep


# ---------------------------------------------------------------- how one is put in


class Gone(Exception):
    """What a defect changes is not there, or no longer what it was."""


_undo: list[Callable[[], None]] = []


def put(owner: Any, name: str, new: Any) -> Any:
    """Put something in the place of what has this name ("Class.method") in a module, class or dict; what was there.

    Raises:
        Gone: nothing has this name, or the new one takes other arguments. A defect that is only a crash proves nothing.
    """
    told = ".".join(filter(None, (getattr(owner, "__name__", ""), name)))
    *path, last = name.split(".")
    for part in path:
        owner = _found(owner, part, told)
    old = _found(owner, last, told)
    if inspect.isfunction(old) and not _fits(new, old):
        raise Gone(f"{told} takes {inspect.signature(old)}, and what the defect puts there {inspect.signature(new)}")
    change = owner.__setitem__ if isinstance(owner, dict) else lambda key, value: setattr(owner, key, value)
    change(last, new)
    _undo.append(lambda: change(last, old))
    return old


def cut(owner: Any, name: str, piece: str, instead: str = "") -> None:
    """Take a piece, which is there once, out of a text that has this name."""
    text = _found(owner, name, name)
    if text.count(piece) != 1:
        raise Gone(f"{piece!r} is {text.count(piece)} times in {name}")
    put(owner, name, text.replace(piece, instead))


def _found(owner: Any, name: str, told: str) -> Any:
    held = owner if isinstance(owner, dict) else vars(owner)
    if name not in held:
        raise Gone(f"there is no {told}")
    return held[name]


def _fits(new: Any, old: Any) -> bool:
    """Whether it takes the same arguments, or any."""
    taken, wanted = [
        [(each.name, each.kind) for each in inspect.signature(function).parameters.values()] for function in (new, old)
    ]
    return taken == wanted or inspect.Parameter.VAR_POSITIONAL in [kind for _, kind in taken]


def why_not(one: Defect) -> str:
    """Why a defect cannot be put in; "" where it can. Nothing of it stays."""
    try:
        one.patch(importlib.import_module(f"batchjob.{one.module}"))
    except Exception as error:  # a name that is gone may show as anything
        return str(error) if isinstance(error, Gone) else f"{type(error).__name__}: {error}"
    finally:
        while _undo:
            _undo.pop()()
    return ""


def copied(folder: Path, names: Sequence[str], one: Defect | None) -> Path:
    """A copy of these files and folders, `batchjob` among them, with the defect in its package."""
    folder.mkdir()
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / name)
    if one is not None:
        shutil.copy(__file__, folder / "batchjob" / "_defects.py")
        with (folder / "batchjob" / "__init__.py").open("a") as package:
            package.write(f"\nfrom batchjob._defects import put_in\n\nput_in({one.name!r})\n")
    return folder


def put_in(name: str) -> None:
    """Patch the module of this defect when it is imported. Called by the copy of the package."""
    sys.meta_path.insert(0, _Patching(next(one for one in DEFECTS if one.name == name)))


class _Patching(importlib.abc.MetaPathFinder):
    """Finds one module, once, and has it patched when it has been loaded."""

    def __init__(self, one: Defect) -> None:
        self._defect = one

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> Any:
        if fullname != f"batchjob.{self._defect.module}":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def load_and_patch(module: ModuleType) -> None:
            load(module)
            self._defect.patch(module)

        spec.loader.exec_module = load_and_patch
        return spec


async def nothing(self: Any) -> None:
    """In the place of a method that is not carried out."""


# ---------------------------------------------------------------- claim, send, conclude


@defect(
    "the claim is committed after the request",
    "run.group_commit",
    f"{FAILS}[request.after_last_byte=kill@1]",
    storm=("resend", "sent without a claim"),
)
def _(commit: Any) -> None:
    from batchjob.endpoints.chat import ChatEndpoint

    kept: dict[str, Callable[[], Any]] = {}

    def keep_claims(self: Any, write: Any) -> Any:
        if not isinstance(write, commit.Claim):
            return submit(self, write)
        kept[write.client_key] = lambda: submit(self, write)
        done = self._loop.create_future()
        done.set_result(None)
        return done

    async def send_and_claim(self: Any, body: bytes, client_key: str) -> Any:
        reply = await send(self, body, client_key)
        await kept.pop(client_key)()
        return reply

    submit = put(commit, "GroupCommit.submit", keep_claims)
    send = put(ChatEndpoint, "send", send_and_claim)


@defect(
    "a request that goes out again has a new idempotency key",
    "exchange.exchange",
    f"{KILLED}[idempotent]",
    storm=("idempotent", "paid twice"),
)
def _(exchange: Any) -> None:
    put(exchange, "client_key", lambda prefix, number, lost, body_digest: f"{prefix}-{number}")


@defect(
    "a body that changed keeps its old key",
    "exchange.exchange",
    "tests/exchange/test_keys.py::test_a_lost_request_keeps_its_key_only_while_its_body_is_the_same",
)
def _(exchange: Any) -> None:
    put(
        exchange,
        "client_key",
        lambda prefix, number, lost, body_digest: lost.client_key if lost else f"{prefix}-{number}",
    )


@defect(
    "a key that brings half an answer is used again",
    "exchange.exchange",
    f"{FAULT}[lost-finish-reason-error]",
)
def _(exchange: Any) -> None:
    def whole_or_not(prefix: str, number: int, lost: Any, body_digest: int) -> str:
        whole = lost and exchange.LostRequest(lost.request_id, lost.client_key, lost.body_digest)
        return str(client_key(prefix, number, whole, body_digest))

    client_key = put(exchange, "client_key", whole_or_not)


@defect(
    "a lost parcel is put back without its key",
    "exchange.conclude",
    f"{KEY_AGAIN}[lost-lost]",
    storm=("idempotent, faults", "paid twice"),
)
def _(conclude: Any) -> None:
    part = put(conclude, "_part", lambda parcel, results, places, lost=None: part(parcel, results, places))


@defect(
    "a key is used again after an answered failure",
    "exchange.conclude",
    f"{DECISIONS}::test_a_key_is_kept_until_a_failure_was_answered",
    f"{KEY_AGAIN}[lost-500]",
)
def _(conclude: Any) -> None:
    still = put(conclude, "still_lost", lambda exchange, decision: still(exchange, decision) or exchange.parcel.lost)


@defect(
    "any answer is taken for a label",
    "task.labels",
    f"{FAULT}[paid-and-of-no-use-a-label-off-the-list]",
    f"{FAULT}[paid-and-of-no-use-two-labels]",
)
def _(labels: Any) -> None:
    put(labels, "LabelSet.read", lambda self, answer, *, exact_only=False: labels.Match(answer, near=False))


@defect(
    "a label in the object that was asked for counts as near",
    "task.labels",
    "tests/task/test_labels.py::test_where_an_object_was_asked_for_the_label_in_it_is_exact_and_nothing_else_is",
)
def _(labels: Any) -> None:
    put(labels, "_of_object", lambda text: None)


@defect(
    "an answer that may not be whole is read like any other",
    "exchange.rows",
    f"{CONCLUDE}::test_of_an_answer_that_may_not_be_whole_only_the_label_itself_counts",
)
def _(rows: Any) -> None:
    def replaced(row, answer, terms, *, exact_only=False, tokens=(), number=None):  # type: ignore[no-untyped-def]
        return read(row, answer, terms, tokens=tokens, number=number)

    read = put(rows, "read_answer", replaced)


@defect(
    "in an outage a run gives up later than it says",
    "pace.health",
    f"{DECISIONS}::test_a_run_gives_up_when_it_says_and_tries_once_more_just_then",
)
def _(health: Any) -> None:
    put(health, "Health.probe_by", lambda self, at: None)


@defect(
    "words that a refusal repeats of the row are taken for the endpoint's own",
    "exchange.adapt",
    "tests/exchange/test_adapt.py::test_what_a_refusal_repeats_of_the_row_names_nothing",
)
def _(adapt: Any) -> None:
    put(adapt, "without_echo", lambda message, sent: message)


@defect(
    "labels are remembered under the question as asked for, and not as it was sent",
    "providers.dialect",
    "tests/test_parameters.py::test_a_label_is_remembered_under_the_question_as_it_was_sent",
)
def _(dialect: Any) -> None:
    put(dialect, "_asked", lambda params, *, temperature, system: b"")


@defect(
    "rows keep the keys of a question that was met with a change",
    "run.supply",
    "tests/test_adapting.py::test_each_refusal_is_met_once_said_and_known_to_the_next_job",
)
def _(supply: Any) -> None:
    put(supply, "Supply.ask_as", lambda self, learned, asked: asked)


@defect(
    "a model of a route is asked by many at once before anybody knows how",
    "run.adapting",
    "tests/test_adapting.py::test_each_model_of_a_job_is_asked_alone_first",
)
def _(adapting: Any) -> None:
    put(adapting, "Adapting.waits", lambda self, model: False)


@defect(
    "a secret may stand in a header that is stored",
    "settings.pairs",
    "tests/test_parameters.py::test_a_header_that_cannot_be_sent_is_refused_and_its_value_is_not_shown",
)
def _(pairs: Any) -> None:
    put(pairs, "check_headers", lambda headers: None)


@defect(
    "a thought is taken for an answer",
    "task.thoughts",
    "tests/task/test_thoughts.py::test_what_stands_behind_the_last_thought_is_the_answer",
    "tests/task/test_labels.py::test_what_an_answer_says_itself_is_read",
)
def _(thoughts: Any) -> None:
    put(thoughts, "spoken", lambda content: content)


@defect(
    "labels land on the wrong row",
    "exchange.rows",
    f"{KILLED}[resend]",
    storm=("resend", "label: row"),
)
def _(rows: Any) -> None:
    def wrong(
        row: Any, answer: str, terms: Any, *, exact_only: bool = False, tokens: Any = (), number: int | None = None
    ) -> Any:
        labels = terms.labels.labels
        return read(row, labels[row.number % len(labels)], terms)

    read = put(rows, "read_answer", wrong)


@defect(
    "every row is verified",
    "exchange.conclude",
    f"{SAVING}::test_a_sample_of_shared_labels_is_verified_alone",
    storm=("verify", "verify: "),
)
def _(conclude: Any) -> None:
    to_verify = put(conclude, "_to_verify", lambda over, model, share, chance: to_verify(over, model, 1.0, chance))


@defect(
    "a verification looks like any request",
    "stores.sqlite.group",
    f"{SAVING}::test_a_sample_of_shared_labels_is_verified_alone",
    storm=("verify", "paid twice"),
)
def _(group: Any) -> None:
    cut(group.QUERIES, "add_intents", "value ->> 4", "'label'")


@defect(
    "what is sent again is not counted",
    "exchange.exchange",
    f"{KILLED}[resend]",
    f"{CRASH}::test_a_second_ctrl_c_leaves_at_once_and_what_was_out_is_counted",
    storm=("resend", "paid twice"),
)
def _(exchange: Any) -> None:
    from msgspec.structs import replace

    def alone(self: Any, at: float, *, asks_for_all: bool = False) -> Any:
        return replace(claim(self, at, asks_for_all=asks_for_all), repeats=None)

    claim = put(exchange, "Exchange.claim", alone)


@defect(
    "after an error a row goes out again at once",
    "exchange.conclude",
    f"{CONCLUDE}::test_after_an_error_a_row_waits_longer_each_time",
)
def _(conclude: Any) -> None:
    put(conclude, "_wait", lambda parcel, decision, chance: 0.0)


@defect(
    "a parcel that should wait goes out at once",
    "run.supply",
    "tests/run/test_supply.py",
)
def _(supply: Any) -> None:
    put_back = put(supply, "Supply.put_back", lambda self, parcel, due: put_back(self, parcel, 0.0))


@defect(
    "an answer off the list is remembered as a label",
    "exchange.conclude",
    f"{CONCLUDE}::test_an_answer_off_the_list_is_remembered_as_one",
)
def _(conclude: Any) -> None:
    def as_label(parcel: Any, results: Any) -> Any:
        return tuple(conclude.Remembered(one.key, one.label, False) for one in remembered(parcel, results))

    remembered = put(conclude, "_remembered", as_label)


# ---------------------------------------------------------------- pace


@defect(
    "a pause that the endpoint asked for is not made",
    "pace.pacer",
    f"{PACING}::test_the_retry_after_of_a_quota_is_followed_exactly_and_never_early",
)
def _(pacer: Any) -> None:
    put(pacer, "Pacer._wait", lambda self, seconds, now, why: None)


@defect(
    "every 429 is taken for a quota's",
    "pace.company",
    f"{PACING}::test_a_429_alone_among_accepted_ones_holds_nobody_back",
    f"{RULE}::test_429s_by_chance_hold_back_nobody_but_their_rows",
)
def _(company: Any) -> None:
    put(company, "Company.refused", lambda self, sent_at, now: company.Verdict.QUOTA)


@defect(
    "rows that failed together are put back together",
    "run.supply",
    "tests/test_many_rows.py::test_rows_that_one_among_them_took_down_are_asked_apart_by_a_retry",
)
def _(supply: Any) -> None:
    put(supply, "Supply._parted", lambda self, cases: [cases])


@defect(
    "connections are kept whatever comes on them",
    "endpoints.fast",
    f"{CLIENT}::test_after_an_answer_that_nobody_asked_for_no_connection_is_kept",
)
def _(fast: Any) -> None:
    put(fast, "FastTransport._see_answer_too_many", lambda self, connection, *, begun=False: None)


@defect(
    "a rate that chance has taught is never doubted",
    "pace.insistence",
    f"{RULE}::test_many_429s_by_chance_do_not_wear_the_speed_down",
)
def _(insistence: Any) -> None:
    put(insistence, "Insistence.event", lambda self, accepted, now: None)


@defect(
    "whoever insists finds chance",
    "pace.insistence",
    f"{RULE}::test_a_quota_of_a_few_a_minute_is_asked_ever_more_rarely_whether_it_is_one",
)
def _(insistence: Any) -> None:
    put(insistence, "Insistence.MORE", 9.0)


@defect(
    "a cycle that is mostly a guessed pause is a measure of the rate",
    "pace.refusals",
    f"{RULE}::test_a_429_by_chance_behind_a_long_pause_that_was_guessed_says_nothing_of_the_rate",
)
def _(refusals: Any) -> None:
    succeeded = refusals.Refusals.succeeded

    def patched(self: Any, now: float, cap: float) -> None:
        succeeded(self, now, cap)
        self._resumed = self.since

    put(refusals, "Refusals.succeeded", patched)


@defect(
    "no trial is made",
    "pace.company",
    f"{RULE}::test_a_quota_a_little_below_what_the_concurrency_can_do_is_found_by_a_trial",
)
def _(company: Any) -> None:
    put(company, "Trial._begin", lambda self, now, sent: None)


@defect(
    "what is in flight is not counted among the company of a 429",
    "pace.company",
    f"{RULE}::test_429s_by_chance_hold_back_nobody_but_their_rows",
)
def _(company: Any) -> None:
    put(company, "Company.sent", lambda self, now: None)


@defect(
    "an outage is not noticed",
    "pace.health",
    f"{DECISIONS}::test_an_outage_is_noticed_after_twenty_in_a_row_and_probed_ever_more_rarely",
    f"{FAULTS}::test_rows_survive_an_outage_in_the_middle_of_the_job",
)
def _(health: Any) -> None:
    put(health, "Health.bad", lambda self, signal, row, now: True)


@defect(
    "a row that is turned away twice pays for it",
    "pace.health",
    f"{DECISIONS}::test_an_endpoint_that_turns_many_away_costs_no_row_an_attempt",
)
def _(health: Any) -> None:
    put(health, "BY_CHANCE", 1.0)


@defect(
    "a row that breaks the endpoint is sent for ever",
    "pace.health",
    f"{DECISIONS}::test_a_row_that_is_turned_away_while_all_others_are_answered_is_to_blame_itself",
)
def _(health: Any) -> None:
    put(health, "BY_CHANCE", 1e-30)


@defect(
    "a connection that was not made counts against the row",
    "pace.health",
    f"{DECISIONS}::test_what_was_never_sent_is_held_against_no_row_and_one_connection_is_no_outage",
    f"{FAULTS}::test_connections_refused_now_and_then_fail_no_row",
)
def _(health: Any) -> None:
    bad = health.Health.bad
    erred = health.Signal.ERRED

    def as_if_sent(self: Any, signal: Any, row: Any, now: float) -> bool:
        return bool(bad(self, erred if signal is health.Signal.UNREACHABLE else signal, row, now))

    put(health, "Health.bad", as_if_sent)


@defect(
    "an address where nobody ever was is an outage of hours",
    "pace.gate",
    f"{DECISIONS}::test_a_job_that_never_reached_its_endpoint_gives_up_after_a_minute_and_says_what_to_check",
)
def _(gate: Any) -> None:
    put(gate, "FIRST_CONTACT_SECONDS", gate.MAX_OUTAGE_SECONDS)


@defect(
    "a job whose rows all fail alike goes on",
    "pace.health",
    f"{DECISIONS}::test_the_job_stops_at_five_rows_alike_before_any_label_and_at_twenty_after_one",
    f"{FAULTS}::test_what_stopped_the_job_once_mended_labels_every_row",
)
def _(health: Any) -> None:
    put(health, "AlikeFailures.failed", lambda self, kind, row: False)


HOLD = "tests/pace/test_hold.py"


@defect(
    "a job without a label pays on for answers that are of no use",
    "pace.first_label",
    f"{HOLD}::test_two_paid_answers_alike_are_enough_while_there_is_no_label",
    f"{FAULT}[paid-and-of-no-use-content-alp-and-finish-reason-length-for-every-row]",
)
def _(first_label: Any) -> None:
    put(first_label, "FirstLabel.watch", lambda self, decision, reply, results: None)


@defect(
    "a hiccup stops the job",
    "pace.hold",
    f"{HOLD}::test_a_minutes_limit_that_calls_itself_money_stops_no_job_however_often",
    f"{FAULT}[the-endpoint-is-busy-or-broken-429-insufficient-quota-for-the-tokens-of-a-minute]",
)
def _(hold: Any) -> None:
    put(hold, "Hold.judge", lambda self, decision, row, wait, *, sent_at: decision)


@defect(
    "the words of a row's own text stop the job",
    "providers.meanings",
    f"{DECISIONS}::test_words_that_the_endpoint_only_repeats_decide_nothing",
)
def _(meanings: Any) -> None:
    def trusting(signs: Any, names: Any, message: str, repeated: str) -> Any:
        return by_words(signs, names, message, "")

    by_words = put(meanings, "_by_words", trusting)


# ---------------------------------------------------------------- money


@defect(
    "no budget is reserved",
    "money.budget",
    f"{SAVING}::test_many_requests_in_flight_keep_the_budget_together",
)
def _(budget: Any) -> None:
    def add_what_it_cost(self: Any, reserved: int, cost: int | None) -> None:
        self._held += reserved if cost is None else cost

    put(budget, "Budget.reserve", lambda self, cost: None)
    put(budget, "Budget.correct", add_what_it_cost)


@defect(
    "what a dead run had reserved is free again",
    "stores.sqlite.group",
    BUDGET,
    storm=("budget", "cost: lost requests"),
)
def _(group: Any) -> None:
    cut(group.QUERIES, "dead_requests", "coalesce(intent.cost_picousd, 0)", "0")


@defect("every run has the whole budget", "stores.sqlite.store", BUDGET, storm=("budget", "over the budget"))
def _(store: Any) -> None:
    async def all_of_it(self: Any, limit: int | None, *, held: int = 0, need: int = 0, want: int = 0) -> Any:
        return store.Drawn(0, limit)

    put(store, "SqliteStore.draw", all_of_it)


@defect(
    "a lost request costs nothing",
    "exchange.conclude",
    f"{SAVING}::test_a_lost_request_is_in_the_cost_at_its_worst_case",
)
def _(conclude: Any) -> None:
    def cheap(exchange: Any, reply: Any, decision: Any) -> Any:
        return (0, None) if decision.outcome is conclude.Outcome.LOST else cost_of(exchange, reply, decision)

    cost_of = put(conclude, "cost_of", cheap)


@defect(
    "an answer without a usage is free",
    "money.budget",
    f"{PRICING}::test_an_answer_that_tells_no_usage_keeps_its_worst_case",
)
def _(budget: Any) -> None:
    correct = put(budget, "Budget.correct", lambda self, reserved, cost: correct(self, reserved, cost or 0))


@defect(
    "thinking outside the usage is free",
    "endpoints.usage",
    f"{PRICING}::test_tokens_are_counted_as_they_are_billed",
    "tests/test_bills.py::test_thinking_outside_the_usage_passes_no_budget_but_for_what_was_in_flight",
)
def _(usage: Any) -> None:
    def as_told(fields: Any) -> Any:
        return usage.Usage(fields.get("prompt_tokens") or 0, 0, fields.get("completion_tokens") or 0)

    put(usage, "_tokens", as_told)


@defect(
    "what is out when answers prove to be dearer is left as it was",
    "exchange.spending",
    "tests/test_bills.py::test_what_is_out_when_thinking_is_first_seen_counts_with_its_thoughts",
)
def _(spending: Any) -> None:
    def learn(self: Any, exchange: Any, reply: Any) -> None:
        self._questions.learn_answer(exchange.parcel, reply.usage, reply.cost)

    put(spending, "Spending.learn", learn)


@defect(
    "the worst case is too low",
    "exchange.question",
    "tests/exchange/test_question.py",
)
def _(question: Any) -> None:
    def half(self: Any, parcel: Any, *, by_reports: bool = False) -> int | None:
        cost = worst_case(self, parcel, by_reports=by_reports)
        return cost and cost // 2

    worst_case = put(question, "Questions.worst_case", half)


# ---------------------------------------------------------------- the work table


def weaker(store: Any, synchronous: str) -> None:
    """The store's connection with another PRAGMA synchronous."""

    def connect_weaker(path: Path) -> Any:
        connection = connect(path)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        return connection

    connect = put(store, "connect", connect_weaker)


@defect("commits are flushed at checkpoints only (synchronous = NORMAL)", "stores.sqlite.connections", "tests/powercut")
def _(store: Any) -> None:
    weaker(store, "NORMAL")


@defect("commits are never flushed (synchronous = OFF)", "stores.sqlite.connections", "tests/powercut")
def _(store: Any) -> None:
    weaker(store, "OFF")


@defect(
    "a lost request is cut in two at the end of a page",
    "stores.sqlite.pages",
    "tests/test_many_rows.py::test_a_lost_request_goes_out_whole_also_at_the_end_of_a_page",
)
def _(pages: Any) -> None:
    def no_more(self: Any, request: int, after: int, last_request: int, limit: int) -> dict[str, int]:
        return values(self, request, after, last_request, max(limit, 0))  # -1, no limit: the rest of a request

    values = put(pages, "Pages._values", no_more)


@defect(
    "a retry sends rows that were never tried too",
    "stores.sqlite.pages",
    f"{STORE}::test_a_run_may_want_only_what_was_put_back_or_only_the_first_rows",
)
def _(pages: Any) -> None:
    def all_rows(self: Any, job_id: int, *, run: int, fresh: bool, up_to: int | None) -> None:
        init(self, job_id, run=run, fresh=True, up_to=up_to)

    init = put(pages, "Pages.__init__", all_rows)


@defect(
    "a second writer is let in",
    "stores.sqlite.lock",
    f"{CRASH}::test_a_second_runner_is_refused_by_name_and_may_start_when_the_first_is_dead",
    storm=("resend", "second runner"),
)
def _(lock: Any) -> None:
    put(lock, "WriterLock._taken", lambda self: True)


@defect(
    "hold sends again all the same",
    "stores.sqlite.store",
    f"{KILLED}[hold]",
    LIFE,
    storm=("hold", "paid twice"),
)
def _(store: Any) -> None:
    recover = put(store, "SqliteStore._recover", lambda self, db, *, hold, at: recover(self, db, hold=False, at=at))


# Not lost, for the label cache still has them; but they are counted twice.
@defect("a restart puts done rows back", "stores.sqlite.store", LIFE, storm=("resend", "row counters"))
def _(store: Any) -> None:
    def put_done_back(self: Any, db: Any, *, hold: bool, at: float) -> int:
        db.execute("UPDATE row SET state = 'pending', label = NULL, source = NULL WHERE state = 'done'")
        return recover(self, db, hold=hold, at=at)

    recover = put(store, "SqliteStore._recover", put_done_back)


@defect(
    "a restart takes a request that outlives its run for lost",
    "stores.sqlite.group",
    f"{STORE}::test_a_request_that_outlives_its_run_is_left_alone",
)
def _(group: Any) -> None:
    cut(group.QUERIES, "dead_requests", " AND intent.outlives_run = 0")


@defect("rows in a wrong state are passed over in silence", "stores.sqlite.group", LIFE)
def _(group: Any) -> None:
    put(group, "UNGUARDED", frozenset(group.GROUP))


@defect(
    "an answer settles rows of another request",
    "stores.sqlite.group",
    f"{STORE}::test_a_request_cannot_settle_the_row_of_another",
)
def _(group: Any) -> None:
    cut(group.QUERIES, "complete", " AND row.request_id = given.request")


@defect(
    "a chunk of the input that does not follow is taken",
    "stores.sqlite.group",
    f"{STORE}::test_rows_that_do_not_follow_are_refused",
)
def _(group: Any) -> None:
    cut(group.QUERIES, "advance_input", " AND job.rows = given.before")


@defect(
    "claims are carried out before results",
    "stores.sqlite.group",
    f"{STORE}::test_a_commit_answers_and_does_results_before_claims",
)
def _(group: Any) -> None:
    claims = ("add_intents", "claim_rows")
    put(group, "GROUP", (*claims, *(name for name in group.GROUP if name not in claims)))
    put(group, "STRAIGHT", {name: group.STRAIGHT[name] for name in (*claims, *group.STRAIGHT)})


@defect(
    "what only few records have is left out of a group",
    "stores.sqlite.group",
    f"{STORE}::test_rows_that_got_another_label_when_asked_once_more_are_found",
)
def _(group: Any) -> None:
    put(
        group, "Group._is_straight", lambda self: {name for name in self.given if self.given[name]} <= {*group.STRAIGHT}
    )


@defect("a counter drifts", "stores.writes", LIFE, storm=("resend", "row counters"))
def _(group: Any) -> None:
    def drift(self: Any) -> None:
        count(self)
        self._tally["row", group.State.DONE] += sum(result.event is group.Event.COMPLETE for result in self._results)

    count = put(group, "Sorted._count_results", drift)


@defect(
    "usage is counted twice",
    "stores.writes",
    f"{STORE}::test_the_counters_are_true_and_a_reader_sees_them",
    storm=("resend", "usage"),
)
def _(group: Any) -> None:
    def count_twice(self: Any) -> None:
        count(self)
        self._tally["usage", "input_tokens"] *= 2

    count = put(group, "Sorted._count_requests", count_twice)


@defect(
    "a row that was put back does not say so",
    "stores.sqlite.group",
    f"{STORE}::test_a_row_that_was_put_back_says_so_until_it_is_settled",
)
def _(group: Any) -> None:
    cut(group.QUERIES, "retry", " put_back = 1,")


@defect(
    "a row that was put back says so until it is claimed only",
    "stores.sqlite.group",
    f"{STORE}::test_a_row_that_was_put_back_says_so_until_it_is_settled",
)
def _(group: Any) -> None:
    cut(group.QUERIES, "claim_rows", "error_kind = NULL", "put_back = 0, error_kind = NULL")


@defect(
    "a retry puts back the rows of every job",
    "stores.sqlite.group",
    f"{STORE}::test_rows_of_another_job_are_not_put_back",
)
def _(group: Any) -> None:
    cut(group.QUERIES, "retry", " AND id > :first AND id <= :last")


@defect(
    "request ids repeat from run to run",
    "stores.ids",
    f"{STORE}::test_no_two_runs_give_out_the_same_request_ids",
)
def _(ids: Any) -> None:
    put(ids, "first_request_id", lambda run_id: (1 << ids.SHIFT) + 1)


@defect(
    "requests that are in flight are not listed",
    "stores.sqlite.reader",
    f"{STORE}::test_what_is_in_flight_is_in_the_ledger_and_so_is_what_is_over",
    storm=("resend", "sent without a claim"),
)
def _(reader: Any) -> None:
    cut(reader, "REQUESTS", " FROM intent WHERE id", " FROM intent WHERE 0 AND id")


@defect(
    "triggers and tables of a foreign hand are taken for ours",
    "stores.sqlite.schema",
    f"{HOSTILE}::test_a_database_with_a_trigger_or_a_changed_table_is_left_alone",
)
def _(schema: Any) -> None:
    put(schema, "_check_tables", lambda connection, path, version: None)


@defect(
    "an export holds on to what it began with",
    "stores.sqlite.reader",
    f"{HOSTILE}::test_an_export_that_nobody_reads_does_not_keep_the_log_from_being_reset",
)
def _(reader: Any) -> None:
    def in_one_transaction(self: Any, job: Any, *, only: Any = None, asked: Any = None) -> Any:
        self._db.execute("BEGIN")
        yield from export_rows(self, job, only=only, asked=asked)

    export_rows = put(reader, "SqliteReader.export_rows", in_one_transaction)


@defect(
    "the latest job goes by the clock",
    "stores.sqlite.reader",
    f"{HOSTILE}::test_with_the_clock_set_back_the_latest_job_is_still_the_one_that_ran_last",
)
def _(reader: Any) -> None:
    def by_the_clock(self: Any, *, unfinished: bool = False) -> Any:
        if unfinished:
            return latest(self, unfinished=True)
        return self.job(self._all("SELECT name FROM job ORDER BY updated_at DESC LIMIT 1")[0][0])

    latest = put(reader, "SqliteReader.latest", by_the_clock)


@defect(
    "a dead job is taken for alive while another runs",
    "stores.sqlite.reader",
    "tests/test_commands.py::test_a_dead_job_is_interrupted_also_while_another_runs_in_its_database",
)
def _(reader: Any) -> None:
    put(reader, "_is_on", lambda writer, job: writer is not None)


@defect(
    "a limit holds for the runs that follow",
    "jobs.plans",
    f"{SAVING}::test_a_pilot_is_continued_without_paying_for_its_rows_again",
)
def _(plans: Any) -> None:
    def with_limit(job: Any, changes: dict[str, Any]) -> Any:
        return plans.msgspec.structs.replace(settings_for(job, changes), limit=plans.settings_of(job).limit)

    settings_for = put(plans, "settings_for", with_limit)


@defect(
    "a job that was made meanwhile is made again",
    "jobs.run",
    f"{HOSTILE}::test_a_job_that_another_process_makes_meanwhile_is_not_made_twice",
)
def _(jobs: Any) -> None:
    from batchjob.stores.sqlite.reader import SqliteReader

    async def without_a_look(store: Any, plan: Any, log: Any) -> None:
        names = put(SqliteReader, "names", lambda self: set())
        await choose_job(store, plan, log)
        put(SqliteReader, "names", names)

    choose_job = put(jobs, "_choose_job", without_a_look)


# ---------------------------------------------------------------- a disk that is full, or gone


@defect(
    "a database that was taken away is not missed",
    "stores.sqlite.files",
    f"{DISK}::test_a_database_that_is_taken_away_under_a_run_stops_it_and_put_back_loses_nothing",
)
def _(files: Any) -> None:
    put(files, "check_in_place", lambda path, inode: None)


@defect(
    "answers in hand are dropped when the disk is full",
    "stores.sqlite.store",
    f"{DISK}::test_a_full_disk_stops_the_run_the_answers_in_hand_are_kept_and_with_room_it_ends",
)
def _(store: Any) -> None:
    put(store, "SqliteStore.free_reserve", lambda self: None)


@defect(
    "a group does not wait to hear how the one before it fared",
    "run.group_commit",
    f"{DISK}::test_a_group_behind_one_that_found_the_disk_full_tells_the_same_and_keeps_its_answers",
)
def _(commit: Any) -> None:
    alone = put(commit, "GroupCommit._commit", lambda self, group, before: alone(self, group, None))


# ---------------------------------------------------------------- labels without a request


@defect(
    "labels that were bought are not looked up",
    "run.supply",
    f"{SAVING}::test_tomorrows_file_pays_only_for_what_is_new",
    storm=("cache", "billed after its commit"),
)
def _(supply: Any) -> None:
    async def none_is(self: Any, cases: Any) -> dict[Any, Any]:
        return {}

    put(supply, "Supply._remembered", none_is)


@defect(
    "a lost row is asked for again although its text has a label",
    "run.supply",
    f"{SAVING}::test_a_lost_row_whose_text_another_job_has_a_label_for_gets_it_for_free",
    storm=("cache, two open", "billed after its commit", 600),  # of them the second kill hits some that both jobs have
)
def _(supply: Any) -> None:
    async def none_is(cases: Any) -> dict[Any, Any]:
        return {}

    async def ask_anyway(self: Any, lost: Any) -> None:
        self._remembered = none_is
        await ask_again(self, lost)
        del self._remembered

    ask_again = put(supply, "Supply._ask_again", ask_anyway)


@defect(
    "another job's labels are bought again",
    "shortcuts.known",
    f"{SAVING}::test_tomorrows_file_pays_only_for_what_is_new",
    storm=("cache", "billed after its commit"),
)
def _(known: Any) -> None:
    def own_alone(self: Any, case: Any) -> Any:
        return settle(self, case) if case.found and case.found.job_id == self._terms.job_id else None

    settle = put(known, "Known.settle", own_alone)


@defect(
    "texts that begin alike are the same",
    "task.identity",
    f"{SAVING}::test_tomorrows_file_pays_only_for_what_is_new",
    storm=("duplicates", "label: row"),
)
def _(identity: Any) -> None:
    of = put(identity, "Keys.of", lambda self, model, *values: of(self, model, *(value[:9] for value in values)))


@defect(
    "a text that was not heard of is asked in another row",
    "run.twins",
    f"{SAVING}::test_rows_that_come_after_a_lost_one_with_their_text_are_held_too",
)
def _(twins: Any) -> None:
    def forget_it(self: Any, twin: Any, result: Any) -> Any:
        unheard = dict(self._unheard)
        found = concluded(self, twin, result)
        self._unheard = unheard
        return found

    concluded = put(twins, "Twins.concluded", forget_it)


@defect(
    "a text another job lost is asked for a row that was tried before",
    "run.twins",
    f"{SAVING}::test_a_row_that_was_refused_once_is_held_too",
)
def _(twins: Any) -> None:
    hold = put(
        twins,
        "Twins._hold",
        lambda self, case, twin: None if self._unheard.get(case.key, (0, ""))[1] else hold(self, case, twin),
    )


@defect(
    "a text that an earlier run lost is asked in another row",
    "run.supply",
    f"{SAVING}::test_a_text_that_went_out_and_was_not_heard_of_is_held_in_every_row",
)
def _(supply: Any) -> None:
    put(supply, "Supply._learn_unheard", nothing)


@defect(
    "a text that is held is asked in another row when the question has changed",
    "stores.sqlite.group",
    f"{STORE}::test_rows_of_the_job_itself_are_unheard_of_whatever_is_asked_now",
)
def _(group: Any) -> None:
    cut(group.QUERIES, "unheard_rows", group.schema.expand("job_of(row.id) = :job OR "))


@defect(
    "a text that another job has out is asked again",
    "stores.sqlite.group",
    f"{STORE}::test_texts_unheard_of_in_another_job_are_told_to_one_that_asks_the_same",
)
def _(group: Any) -> None:
    cut(group.QUERIES, "unheard_rows", "WHERE intent.purpose <> 'verify'", "WHERE 0")


@defect(
    "all rows with one text wait in memory",
    "run.twins",
    f"{SAVING}::test_rows_that_wait_for_another_with_their_text_are_not_all_in_memory",
)
def _(twins: Any) -> None:
    put(twins, "Twins.full", property(lambda self: False))


REMEMBERED = f"{STORE}::test_labels_are_remembered_over_jobs_and_processes_the_latest_wins"


@defect("labels that came lately never get to their place", "stores.sqlite.memory", REMEMBERED)
def _(memory: Any) -> None:
    put(memory, "Memory._merge", lambda self, db: None)


@defect("labels that came lately are thrown away", "stores.sqlite.group", REMEMBERED)
def _(group: Any) -> None:
    put(group.QUERIES, "merge_inbox", "SELECT 1")


@defect("labels that were forgotten come back", "stores.sqlite.group", REMEMBERED)
def _(group: Any) -> None:
    put(group.QUERIES, "empty_inbox", "SELECT 1")


@defect(
    "a forecast does not know of the rules",
    "forecast.work",
    *[f"tests/test_forecast_agrees.py::test_profile_dry_run_and_run_agree_on_every_row[{seed}]" for seed in range(4)],
)
def _(work: Any) -> None:
    class WithoutRules(work.Walk):  # type: ignore[misc, name-defined]
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self._by_row = [each for each in self._by_row if type(each).__name__ != "ByRule"]

    put(work, "Walk", WithoutRules)


@defect(
    "a forecast does not look labels up",
    "forecast.work",
    *[f"tests/test_forecast_agrees.py::test_profile_dry_run_and_run_agree_on_every_row[{seed}]" for seed in range(4)],
)
def _(work: Any) -> None:
    class WithoutCache(work.Walk):  # type: ignore[misc, name-defined]
        def by_text(self, cases: Any, found: Any) -> Any:
            return super().by_text(cases, {})

    put(work, "Walk", WithoutCache)


# ---------------------------------------------------------------- what a job is known by


@defect(
    "a task forgets a setting that decides",
    "task.identity",
    f"{IDENTITY}::test_what_decides_a_label_and_nothing_else_makes_another_task",
)
def _(identity: Any) -> None:
    def forgetful(self: Any) -> str:
        return str(identity._digest({name: value for name, value in self.settings.items() if name != "fallback"}))

    put(identity, "Task.digest", property(forgetful))


@defect(
    "a question forgets the temperature",
    "task.identity",
    f"{IDENTITY}::test_whatever_changes_a_request_changes_the_question_and_nothing_else_does",
)
def _(identity: Any) -> None:
    put(identity, "QUESTION", tuple(name for name in identity.QUESTION if name != "temperature"))


@defect(
    "rows are the same whatever their other columns hold",
    "task.identity",
    "tests/test_columns.py::test_a_label_is_shared_only_where_all_columns_of_the_prompt_are_the_same",
    storm=("columns", "label: row"),
)
def _(identity: Any) -> None:
    of = put(identity, "Keys.of", lambda self, model, *values: of(self, model, values[-1]))


@defect(
    "another model's label is taken",
    "task.identity",
    f"{IDENTITY}::test_a_key_is_of_question_model_and_text",
)
def _(identity: Any) -> None:
    of = put(identity, "Keys.of", lambda self, model, *values: of(self, "", *values))


# ---------------------------------------------------------------- the wire


@defect(
    "a connection is used again at once",
    "endpoints.fast",
    f"{FAULTS}::test_a_second_answer_right_behind_the_first_is_not_taken_for_the_next_request",
)
def _(fast: Any) -> None:
    def without_a_rest(self: Any, connection: Any) -> None:
        rest(self, connection)
        self._idle.extend(self._resting)
        self._resting.clear()

    rest = put(fast, "FastTransport._rest", without_a_rest)


@defect(
    "a connection is used again on which another answer has begun",
    "endpoints.fast",
    f"{CLIENT}::test_the_beginning_of_an_answer_nobody_asked_for_closes_the_connection",
)
def _(fast: Any) -> None:
    put(fast, "_rehearse", lambda connector, request, timeout: None)  # it would notice
    begun = put(fast, "_has_begun_another", lambda connection: begun(connection) and False)


@defect(
    "a connection is used again whatever came on it",
    "endpoints.fast",
    f"{FAULTS}::test_an_answer_nobody_asked_for_is_never_taken_for_the_next_row",
)
def _(fast: Any) -> None:
    def unchecked(self: Any) -> Any:
        if not self._idle:
            return None
        _, connection = self._idle.popleft()
        fast._expect_answer(connection)
        return connection

    put(fast, "FastTransport._used_before", unchecked)


@defect(
    "aiohttp's insides are taken as they come",
    "endpoints.fast",
    f"{CLIENT}::test_where_aiohttp_is_not_as_expected_the_plain_transport_is_taken",
)
def _(fast: Any) -> None:
    put(fast, "_rehearse", lambda connector, request, timeout: None)


@defect(
    "the plain transport says of what may have been sent that it was not",
    "endpoints.plain",
    f"{FAULTS}::test_on_the_plain_transport_a_fault_ends_so_too[lost-reset-without-an-answer]",
)
def _(plain: Any) -> None:
    async def note_nothing(session: Any, context: Any, params: Any) -> None:
        pass

    put(plain, "_note_connection", note_nothing)


@defect(
    "the plain transport tells a proxy the key",
    "endpoints.plain",
    f"{FAULTS}::test_a_proxy_is_not_given_the_key",
)
def _(plain: Any) -> None:
    def tell_all(self: Any, *given: Any, **named: Any) -> None:
        init(self, *given, **named)
        self._session.headers.update(self._headers)

    init = put(plain, "PlainTransport.__init__", tell_all)


@defect(
    "an answer of any size is read",
    "endpoints.transport",
    f"{FAULT}[paid-and-of-no-use-a-body-of-more-than-8-mib]",
    f"{FAULTS}::test_a_gzip_bomb_is_read_to_the_cap_and_memory_stays_flat",
)
def _(transport: Any) -> None:
    put(transport, "MOST_BODY_BYTES", 1 << 40)


@defect(
    "an answer may hold the key",
    "endpoints.secrets",
    f"{FAULT}[the-key-comes-back-in-a-message]",
    f"{FAULT}[the-key-comes-back-as-x-request-id]",
    f"{FAULT}[the-key-comes-back-in-an-answer]",
)
def _(secrets: Any) -> None:
    put(secrets, "Secrets.blotted", lambda self, text: text)


@defect(
    "a key in another spelling is not known again",
    "endpoints.secrets",
    "tests/test_secrets.py::test_a_list_of_models_shows_no_key",
)
def _(secrets: Any) -> None:
    put(secrets, "PASSES", 0)


# ---------------------------------------------------------------- in and out


@defect(
    "an input that is another one now is read on",
    "inputs.lines",
    "tests/test_inputs.py::test_a_changed_byte_before_the_position_is_noticed_and_one_behind_it_is_not",
    "tests/test_inputs.py::test_a_shorter_input_is_a_changed_one",
)
def _(lines: Any) -> None:
    def skip_anything(self: Any, position: int, digest: str) -> None:
        with contextlib.suppress(lines.InputChanged):
            skip(self, position, digest)

    skip = put(lines, "Lines.skip", skip_anything)


@defect(
    "a terminal is told what a file or an endpoint holds, letter for letter",
    "printable",
    "tests/test_commands.py::test_nothing_from_a_file_or_endpoint_reaches_the_terminal_unchecked",
)
def _(printable: Any) -> None:
    put(printable, "printable", lambda text: text)


@defect(
    "JSON of any depth is decoded",
    "inputs.jsonl",
    f"{HOSTILE}::test_json_deeper_than_any_stack_fails_alone_from_file_to_export",
)
def _(jsonl: Any) -> None:
    def read_deep(line: str) -> Any:
        with contextlib.suppress(jsonl.msgspec.DecodeError):  # but not RecursionError
            jsonl._decode(line)
        return read(line)

    read = put(jsonl, "read_object", read_deep)


@defect(
    "an export has its name before it is whole",
    "outputs.target",
    f"{FAILS}[export.before_rename=kill@1]",
    f"{FAILS}[export.before_rename=enospc@1]",
)
def _(target: Any) -> None:
    def under_its_name(folder: Path, prefix: str) -> tuple[Path, int]:
        path = folder / prefix[1:-1]
        return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    put(target, "_locked_temporary", under_its_name)


@defect(
    "a reader that has gone is an error",
    "outputs.target",
    f"{HOSTILE}::test_an_export_that_is_read_for_one_line_ends_quietly",
)
def _(target: Any) -> None:
    @contextlib.contextmanager
    def complaining(path: str) -> Any:
        try:
            with opened(path) as file:
                yield file
        except BrokenPipeError as error:
            raise target._unwritable("stdout", error) from error

    opened = put(target, "opened", complaining)


@defect("what was refused is said to be typed again", "views.next_steps", "tests/views/test_next_steps.py")
def _(steps: Any) -> None:
    put(steps, "_after_refusal", lambda status, config, flag: steps.command("resume", status.job, flag))


@defect("a job's name leads out of the folder", "views.next_steps", "tests/views/test_next_steps.py")
def _(steps: Any) -> None:
    put(steps, "_file_name", lambda job: job)


@defect("a model that the job asks no more is asked again", "run.supply", "tests/test_advice.py")
def _(supply: Any) -> None:
    put(
        supply.Supply,
        "_asked_again",
        lambda self, parcel: [self._walk.asking(row, parcel.model) for row in parcel.rows],
    )


@defect(
    "the main thread is not woken to hear signals",
    "cli.run",
    f"{HOSTILE}::test_signals_that_the_kernel_gives_to_another_thread_are_heard",
)
def _(run: Any) -> None:
    put(run, "WAKE_SECONDS", 0)


@defect(
    "a pattern that runs out of time is taken for one that is not found",
    "task.patterns",
    "tests/test_patterns.py::test_a_pattern_that_runs_out_of_time_is_neither_found_nor_not_found",
)
def _(patterns: Any) -> None:
    found_in = patterns.Pattern.found_in

    def lenient(self: Any, text: str) -> bool:
        try:
            return bool(found_in(self, text))
        except patterns.PatternTimeout:
            return False

    put(patterns, "Pattern.found_in", lenient)


@defect("TAB offers nothing but options", "cli.completion", "tests/test_completion.py")
def _(completion: Any) -> None:
    put(completion, "OFFERS", {})


@defect("a log line is glued to the live lines", "cli.screen", "tests/test_terminal.py")
def _(screen: Any) -> None:
    put(screen.Above, "write", lambda self, text: self._stream.write(text))


@defect("rows behind the limit count to the whole", "run.progress", "tests/run/test_progress.py")
def _(progress: Any) -> None:
    put(progress.Progress, "total", property(lambda self: sum(self.counts.values())))


@defect("near the limit of a budget no smaller request is tried", "run.supply", "tests/test_advice.py")
def _(supply: Any) -> None:
    put(supply.Supply, "shrink", lambda self, parcel, fits: parcel)


@defect("what is reserved counts as spent", "money.budget", "tests/test_advice.py")
def _(budget: Any) -> None:
    put(budget.Budget, "spent_usd", property(lambda self: (self._spent_before + self._held) / budget.PICO + 1))


@defect("rows that are held are let pass like failed ones", "settings.failures", "tests/run/test_ending.py")
def _(failures: Any) -> None:
    put(failures.Failures, "too_many", property(lambda self: self.failed + self.held > self.allowed))


@defect("a share of rows that may fail is rounded up", "settings.failures", "tests/run/test_ending.py")
def _(failures: Any) -> None:
    allowed = put(failures, "allowed_of", lambda amount, total: allowed(amount, total) + (amount[-1] == "%"))


@defect(
    "an age is below zero",
    "views.cache",
    f"{HOSTILE}::test_with_the_clock_set_back_no_age_rate_or_time_left_is_below_zero",
)
def _(cache: Any) -> None:
    put(cache, "_age", lambda seconds: f"{int(seconds // cache.MINUTE)} min")


# ---------------------------------------------------------------- PostgreSQL


def change_sql(scripts: Any, piece: str, instead: str = "") -> None:
    """Put something in the place of a piece, which is there once, of the first migration."""
    file = scripts.migrations()[0]
    if read(file).count(piece) != 1:
        raise Gone(f"{piece!r} is {read(file).count(piece)} times in {file.name}")
    before = put(scripts, "read", lambda file: before(file).replace(piece, instead))


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


@defect(
    "a run that was given up goes on committing",
    "stores.postgres.scripts",
    f"{PG_RUNS}::test_who_is_silent_is_given_up_after_the_lease_and_then_commits_nothing",
)
def _(scripts: Any) -> None:
    change_sql(
        scripts, "WHERE id = own AND seq = at_seq - 1 AND ended_at IS NULL", "WHERE id = own AND seq = at_seq - 1"
    )


@defect(
    "a group whose answer was lost is not known again",
    "stores.postgres.scripts",
    f"{PG_RUNS}::test_a_commit_whose_answer_is_lost_is_known_when_it_is_sent_again",
)
def _(scripts: Any) -> None:
    change_sql(
        scripts, "WHERE id = own AND seq = at_seq - 1 AND ended_at IS NULL", "WHERE id = own AND ended_at IS NULL"
    )


@defect(
    "PostgreSQL lets a row be out twice",
    "stores.postgres.scripts",
    f"{PG_RUNS}::test_a_row_that_is_out_cannot_go_out_again",
)
def _(scripts: Any) -> None:
    change_sql(scripts, "row_id bigint PRIMARY KEY", "row_id bigint NOT NULL")


@defect(
    "a run that is alive is given up",
    "stores.postgres.watch",
    f"{PG_RUNS}::test_who_gives_signs_of_life_is_not_given_up",
)
def _(watch: Any) -> None:
    put(watch, "Watch.look", lambda self, peers: (list(peers), []))


@defect(
    "no run owns the text it asks for",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_a_text_is_asked_for_by_one_row_of_all_runs",
)
def _(scripts: Any) -> None:
    change_sql(scripts, "refused := own_texts(job, texts);", "refused := '{}';")


@defect(
    "a run takes rows that another one has",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_no_two_runs_are_given_the_same_rows",
)
def _(scripts: Any) -> None:
    change_sql(scripts, "NOT is_alive((free.id >> 40)::int)", "true")


@defect(
    "rows that a live run has in hand are taken up as if it were dead",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_a_run_that_was_given_up_has_its_late_answers_kept",
)
def _(scripts: Any) -> None:
    change_sql(scripts, "        AND NOT coalesce(is_alive((row.owner >> 40)::int), false)\n", "")


@defect(
    "a run dies although it has gone on since it was seen",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_a_run_that_goes_on_is_not_given_up_by_who_saw_it_before",
)
def _(scripts: Any) -> None:
    change_sql(scripts, "WHERE id = dead AND seq = seen AND ended_at IS NULL", "WHERE id = dead AND ended_at IS NULL")


@defect(
    "a job that is stopped for all goes on sending",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_a_job_that_is_stopped_for_all_sends_nothing_more",
)
def _(scripts: Any) -> None:
    change_sql(scripts, "WHERE j.id = claim.job AND j.stop IS NOT NULL", "WHERE j.id = claim.job AND false")


@defect(
    "what others may spend is not counted",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_the_allowances_of_all_runs_never_pass_the_budget",
)
def _(scripts: Any) -> None:
    change_sql(
        scripts, "    rest := most - spent - greatest(held - spent_here, 0) - others;", "    rest := most - spent;"
    )


@defect(
    "failures alike are counted by each run for itself",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_rows_that_fail_alike_are_counted_over_all_runs",
)
def _(scripts: Any) -> None:
    change_sql(scripts, "ended_at IS NULL AND id <> own AND (alike ->> 'labels')::bigint = labels", "false")


@defect(
    "a label of another run does not break a row of failures",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_a_label_of_any_run_breaks_a_row_of_failures",
)
def _(scripts: Any) -> None:
    change_sql(scripts, " AND (alike ->> 'labels')::bigint = labels;", ";")


@defect(
    "requests of the group that ends a job leave all the same",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_rows_that_fail_alike_are_counted_over_all_runs",
)
def _(scripts: Any) -> None:
    end_all = "    IF g ? 'end_all' THEN PERFORM end_all(own, job, g -> 'end_all'); END IF;\n"
    remember = "    IF g ? 'remember' THEN PERFORM remember(job, g -> 'remember'); END IF;\n"
    change_sql(scripts, end_all)
    change_sql(scripts, remember, remember + end_all)


@defect(
    "a run says why it ends when it has ended",
    "run.together",
    f"{WORKERS}::test_a_key_that_is_refused_is_told_to_all_at_once",
)
def _(together: Any) -> None:
    put(together, "Together.ends", lambda self, ending: None)


@defect(
    "who joins a retry takes rows that were never tried",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_a_run_that_joins_a_retry_takes_what_was_put_back_alone",
)
def _(scripts: Any) -> None:
    change_sql(scripts, "        fresh := one.fresh;\n")


@defect(
    "who goes on with a job does not see who began meanwhile",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_of_two_who_begin_one_job_at_once_one_is_refused_and_changes_nothing",
)
def _(scripts: Any) -> None:
    change_sql(scripts, "WHERE job_id = is_free.job AND id <> own AND ended_at IS NULL", "WHERE false")


@defect(
    "a worker joins by settings that were the job's before",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_nobody_joins_by_settings_that_are_no_more_those_of_the_job",
)
def _(scripts: Any) -> None:
    change_sql(scripts, "ELSE one.settings <> by_settings END", "ELSE false END")


@defect(
    "who was given up begins anew what was stopped for all",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_who_was_given_up_begins_nothing_that_was_stopped_for_all_meanwhile",
)
def _(scripts: Any) -> None:
    change_sql(scripts, "    joins := joins OR again;\n")


@defect(
    "workers of two versions work on one job",
    "stores.postgres.watch",
    f"{SEVERAL}::test_workers_of_two_versions_do_not_work_on_one_job",
)
def _(watch: Any) -> None:
    put(watch, "other_version", lambda one, other: False)


@defect(
    "a take whose answer was lost is not known again",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_a_take_whose_answer_was_lost_is_given_again",
)
def _(scripts: Any) -> None:
    change_sql(scripts, "INTO first, last FROM lease WHERE id = mine;", "INTO first, last FROM lease WHERE false;")


@defect(
    "a claim that was refused counts when its answer was lost",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_a_claim_that_was_refused_and_whose_answer_was_lost_is_refused_again",
)
def _(scripts: Any) -> None:
    change_sql(
        scripts,
        "jsonb_build_object('again', true, 'refused', refused)",
        "jsonb_build_object('again', true, 'refused', '[]'::jsonb)",
    )


@defect(
    "a claim looks at its rows before it waits for them",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_a_claim_sees_what_the_one_made_of_the_row_for_whom_it_waited",
)
def _(scripts: Any) -> None:
    look = """    PERFORM 1 FROM jsonb_array_elements(kept) JOIN row ON row.id = (value ->> 0)::bigint
    WHERE row.state <> 'pending';
    IF FOUND THEN
        RAISE EXCEPTION 'batchjob: claim_rows' USING ERRCODE = 'BJ002';
    END IF;
"""
    insert = "    INSERT INTO flight (row_id, request_id)\n    SELECT input.id, (value ->> 1)::bigint"
    change_sql(scripts, look)
    change_sql(scripts, insert, look + insert)


@defect(
    "what is committed or given out waits for no disk where the server says so",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_what_is_committed_and_what_is_given_out_is_flushed_whatever_the_server_is_told",
)
def _(scripts: Any) -> None:
    before = put(
        scripts, "read", lambda file: before(file).replace("set_config('synchronous_commit', 'on', true), ", "")
    )


@defect(
    "every run sends first, whether or not the endpoint has answered one",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_the_first_request_of_a_job_is_one_runs_alone",
)
def _(scripts: Any) -> None:
    change_sql(scripts, "coalesce(heard, true)", "true")


@defect(
    "a run without rows keeps the first request to itself",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_who_has_no_rows_leaves_the_first_request_to_others",
)
def _(scripts: Any) -> None:
    change_sql(scripts, "WHERE j.id = job AND j.prober = own\n", "WHERE false\n")


@defect(
    "money that a dead run may have spent is given out again",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_the_worst_case_of_what_a_dead_run_had_out_is_spent",
)
def _(scripts: Any) -> None:
    change_sql(scripts, "WHERE run.job_id = job AND run.ended_at IS NOT NULL;  -- to be", "WHERE false;  -- to be")


@defect(
    "a refused request keeps the texts that it had for itself",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_of_a_request_with_several_texts_none_is_taken_where_one_is_asked_for_elsewhere",
)
def _(scripts: Any) -> None:
    change_sql(scripts, "AND (one ->> 3)::bigint = ANY (refused) AND asked.id", "AND false AND asked.id")


@defect(
    "a text whose row failed is never asked for again",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_a_text_whose_row_failed_or_was_left_may_be_asked_for_by_another",
)
def _(scripts: Any) -> None:
    change_sql(scripts, " AND may_take_over(asked.row_id);", " AND false;")


@defect(
    "a run ends although rows of others may come back",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_no_two_runs_are_given_the_same_rows",
)
def _(scripts: Any) -> None:
    change_sql(
        scripts,
        "    SELECT EXISTS (SELECT 1 FROM run JOIN job AS j ON",
        "    SELECT false AND EXISTS (SELECT 1 FROM run JOIN job AS j ON",
    )
    change_sql(
        scripts,
        "        OR EXISTS (SELECT 1 FROM lease WHERE job_id = job AND id >> 40 <> own",
        "        OR EXISTS (SELECT 1 FROM lease WHERE false AND id >> 40 <> own",
    )
    change_sql(
        scripts,
        "        OR EXISTS (SELECT 1 FROM flight WHERE row_id >> 40 = job",
        "        OR EXISTS (SELECT 1 FROM flight WHERE false AND row_id >> 40 = job",
    )


@defect(
    "the first run to end says how the job ended",
    "stores.postgres.scripts",
    f"{SEVERAL}::test_the_last_run_to_end_says_how_the_job_ended",
)
def _(scripts: Any) -> None:
    change_sql(
        scripts,
        "    last := NOT EXISTS (SELECT 1 FROM run WHERE job_id = job AND ended_at IS NULL);",
        "    last := true;",
    )


@defect(
    "rows of a dead run are sent again under hold",
    "stores.postgres.scripts",
    f"{PG_RUNS}::test_who_is_silent_is_given_up_after_the_lease_and_then_commits_nothing",
)
def _(scripts: Any) -> None:
    change_sql(
        scripts,
        "state_now text := CASE WHEN hold THEN 'unconfirmed' ELSE 'pending' END;",
        "state_now text := 'pending';",
    )


@defect(
    "a request leaves though its run may be taken for dead",
    "stores.postgres.store",
    f"{TOGETHER}::test_a_request_leaves_only_while_its_run_is_sure_to_be_alive",
)
def _(store: Any) -> None:
    put(store, "PgStore.may_send", lambda self: True)


@defect("each run takes the whole quota", "pace.gate", f"{TOGETHER}::test_each_run_takes_its_part_of_the_quota")
def _(gate: Any) -> None:
    put(gate, "Gate.share", lambda self, runs: None)


@defect("a pause is of one run alone", "run.together", f"{TOGETHER}::test_a_pause_of_one_run_is_one_of_all")
def _(together: Any) -> None:
    put(together, "Together.paused", lambda self: None)


# ---------------------------------------------------------------- files made to deceive


@defect(
    "counters and times are taken as they are",
    "stores.records",
    "tests/test_malice.py::test_what_batchjob_would_not_write_is_said_in_a_sentence_by_every_command",
)
def _(records: Any) -> None:
    put(records, "moment", lambda at: at or 0.0)


@defect(
    "a failed row is left out of the score",
    "jobs.scores",
    f"{SCORE}::test_failed_rows_are_wrong_and_pending_ones_are_left_out",
)
def _(scores: Any) -> None:
    put(scores, "SCORED_STATES", ("done",))


@defect(
    "the interval of a share is the normal distribution's",
    "scoring.interval",
    f"{SCORE}::test_the_interval_ends_where_a_share_would_be_refused_at_95_percent",
)
def _(interval: Any) -> None:
    def wilson(hits: int, n: int) -> Any:
        share = hits / n
        half = 1.96 * (share * (1 - share) / n) ** 0.5
        return interval.Share(hits, n, share, max(share - half, 0.0), min(share + half, 1.0))

    put(interval, "wilson", wilson)


@defect(
    "McNemar's test looks at one side alone",
    "scoring.pairs",
    "tests/test_compare.py::test_mcnemars_p_is_that_of_a_coin",
)
def _(pairs: Any) -> None:
    both_sides = pairs._binomial

    def one_side(k: int, n: int) -> float:
        return both_sides(k, n) / 2

    put(pairs, "_binomial", one_side)


@defect(
    "a try's job is the latest",
    "stores.sqlite.reader",
    "tests/test_try.py::test_its_jobs_are_listed_only_when_asked_for_and_are_never_the_latest",
)
def _(reader: Any) -> None:
    put(reader, "WHOLE", "1")


@defect(
    "a try draws among all rows, with gold or not",
    "jobs.trials",
    "tests/test_try.py::test_with_gold_only_rows_that_have_some_are_drawn",
)
def _(trials: Any) -> None:
    scores = importlib.import_module("batchjob.jobs.scores")

    def gold_of(source: Any, named: str) -> Any:
        return scores.Gold(named, lambda key, rest: "x")

    put(trials, "_gold_of", gold_of)


@defect("a text becomes markup", "views.report.markup", "tests/test_report.py::test_no_word_of_a_report_becomes_markup")
def _(markup: Any) -> None:
    def text(content: str) -> str:
        return content

    put(markup, "_text", text)


@defect(
    "without texts the examples stay in the prompt",
    "jobs.reports",
    "tests/test_report.py::test_without_texts_examples_are_left_out_of_the_prompt",
)
def _(reports: Any) -> None:
    messages = reports._messages

    def with_examples(config: Any, job: Any, *, texts: bool) -> Any:
        return messages(config, job, texts=True)

    put(reports, "_messages", with_examples)


@defect(
    "a command at a run's end gets the key", "cli.on_end", "tests/test_on_end.py::test_it_gets_no_key_by_whatever_name"
)
def _(on_end: Any) -> None:
    def without_secrets(environment: Any, plan: Any, key: Any) -> Any:
        return dict(environment)

    put(on_end, "_without_secrets", without_secrets)


# ---------------------------------------------------------------- several answers a text


@defect(
    "a row is asked for fields that it has",
    "task.fields.prompt",
    f"{FIELDS}::test_what_is_answered_is_kept_and_only_the_rest_is_asked_for",
    storm=("fields, many rows", "billed after its commit"),
)
def _(prompt: Any) -> None:
    put(prompt, "FieldPrompt._part", lambda self, rows: self)


@defect(
    "a refusal takes the fields of a row away",
    "exchange.fields",
    f"{FIELDS}::test_no_reply_takes_a_field_away",
    storm=("fields, hold, faults", "label lost"),
)
def _(fields: Any) -> None:
    put(fields, "_keeping", lambda row, result: result)


@defect(
    "a field that is answered twice has the last answer",
    "task.fields.answers",
    f"{FIELDS}::test_of_broken_answers_each_field_of_each_row_gets_its_own_or_nothing[20]",
)
def _(answers: Any) -> None:
    def named(self: Any, members: Any) -> Any:
        return {self._names[key]: value for key, value in members if key in self._names and value is not None}

    put(answers, "FieldSet._named", named)


@defect(
    "fields are counted as one label",
    "stores.sqlite.store",
    "tests/test_fields.py::test_each_field_is_a_column_of_its_own_and_counted_by_its_values[one]",
)
def _(store: Any) -> None:
    put(store, "counted_of", lambda task: None)


@defect(
    "examples are drawn again when the input has grown",
    "jobs.drawing",
    "tests/test_task_settings.py::test_a_drawn_job_goes_on_with_its_draw_and_its_rows_are_left_out_of_the_score",
)
def _(drawing: Any) -> None:
    drawn = drawing.with_examples
    put(drawing, "with_examples", lambda config, input, before=(): drawn(config, input))


# ---------------------------------------------------------------- called by a program


@defect(
    "rows of a program are the same though the prompt uses another title",
    "inputs.memory",
    f"{PYTHON}::test_a_list_is_known_by_what_is_asked_about_it",
)
def _(memory: Any) -> None:
    digest = memory.MemoryReader._digest
    put(memory, "MemoryReader._digest", lambda self, source, others: digest(self, source, ()))


@defect(
    "rows of a program are known by all of their columns",
    "inputs.memory",
    f"{PYTHON}::test_a_list_goes_on_behind_its_limit_also_where_a_column_was_added_meanwhile",
)
def _(memory: Any) -> None:
    digest = memory.MemoryReader._digest
    put(memory, "MemoryReader._digest", lambda self, source, others: digest(self, source, source.columns))


@defect(
    "rows of a program are read from the beginning again",
    "inputs.memory",
    f"{PYTHON}::test_a_list_whose_program_was_killed_before_all_of_it_was_read_is_read_on",
)
def _(memory: Any) -> None:
    chunks = memory.MemoryReader.chunks

    def again(self: Any, *, position: int, digest: str, number: int, chunk_rows: int) -> Any:
        return chunks(self, position=0, digest=digest, number=number, chunk_rows=chunk_rows)

    put(memory, "MemoryReader.chunks", again)


@defect(
    "Ctrl-C in a program leaves what is in flight unheard",
    "api.hosting",
    f"{PYTHON}::test_ctrl_c_stops_when_what_is_in_flight_is_committed",
)
def _(hosting: Any) -> None:
    put(hosting, "_Host._stop", lambda self: self._leave())


@defect(
    "a refusal is no error to a program",
    "api.running",
    f"{PYTHON}::test_a_key_that_is_given_is_sent_and_never_kept_or_told",
)
def _(running: Any) -> None:
    put(running, "_raise_for", lambda ending, name: None)


@defect(
    "of a file of gold or labels a row is taken of which nobody knows what it says",
    "inputs.said",
    "tests/corrections/test_correct.py::"
    "test_a_file_with_a_row_of_which_nobody_knows_what_it_says_is_refused_as_a_whole",
)
def _(said: Any) -> None:
    put(said, "ABSENT", "")


@defect(
    "a setting that holds the API key is stored",
    "endpoints.key",
    "tests/test_secrets.py::test_a_key_that_a_setting_holds_too_is_refused_before_anything_is_stored",
)
def _(key: Any) -> None:
    put(key, "LEAST_FOUND", 10**6)


@defect(
    "a second model that is added to a finished job pays for all rows again by itself",
    "jobs.plans",
    "tests/test_paid_is_used.py::test_neither_a_second_model_nor_fields_pay_for_rows_that_are_done_by_a_slip",
)
def _(plans: Any) -> None:
    put(plans, "ASKS_OTHERWISE", tuple(name for name in plans.ASKS_OTHERWISE if not name.startswith("second")))


@defect(
    "a row with the text of one that lacks a field has none of its fields",
    "stores.writes",
    "tests/test_fields.py::test_rows_with_the_text_of_a_row_that_lacks_a_field_have_its_others_too",
)
def _(writes: Any) -> None:
    refused = writes._refused
    writes._RECORDS[writes.Event.REJECT] = lambda *given: refused(*given)[:3]


@defect(
    "a field may be called like a column of the export",
    "settings.fields",
    f"{FIELDS}::test_no_field_is_called_like_a_column_that_an_export_has_besides",
)
def _(fields: Any) -> None:
    put(fields, "COLUMNS", frozenset())


@defect(
    "the next run asks the first model again in place of the second",
    "shortcuts",
    "tests/test_second.py::test_what_waits_for_the_second_model_is_asked_of_it_alone_by_the_next_run",
)
def _(shortcuts: Any) -> None:
    put(shortcuts, "SecondWalk.asking", lambda self, row, model=None: shortcuts.Walk.asking(self, row, model))


@defect(
    "an array without an end is taken for whole",
    "task.answers",
    "tests/task/test_fields.py::test_wherever_an_answer_is_cut_each_field_gets_its_own_or_nothing",
)
def _(answers: Any) -> None:
    put(answers, "_without_open_arrays", lambda members, unclosed: members)


@defect(
    "half a character in an answer for fields ends the run",
    "task.fields.answers",
    f"{FIELDS}::test_half_a_character_in_an_answer_is_replaced_wherever_it_stands",
)
def _(answers: Any) -> None:
    put(answers, "sound", lambda value: value)


@defect(
    "a write to stdout without a buffer may end short",
    "files",
    "tests/test_process.py::test_a_process_that_is_stopped_while_it_prints_prints_all_when_it_goes_on",
)
def _(files: Any) -> None:
    put(files, "stdout_bytes", lambda: files.sys.stdout.buffer)


@defect(
    "with another second model the first one is asked again, too",
    "jobs.plans",
    "tests/test_second.py::test_what_waits_for_a_second_model_is_asked_of_another_one_without_the_first",
)
def _(plans: Any) -> None:
    put(plans, "_same", lambda before, now: plans.Same(*[plans._asks(before) == plans._asks(now)] * 2))


@defect(
    "a retry with a second model asks the first one again for what it gave no label",
    "stores.sqlite.group",
    f"{STORE}::test_a_row_that_failed_may_be_put_back_for_the_second_model",
)
def _(group: Any) -> None:
    cut(group.QUERIES, "retry", "iif(:second, json_object('kind', error_kind), NULL)", "NULL")


@defect(
    "a second model without a label takes the first one's away",
    "exchange.second",
    "tests/test_second.py::test_the_second_model_is_asked_for_what_the_first_has_no_sure_label_for",
)
def _(second: Any) -> None:
    def of_second(first: Any, result: Any) -> Any:
        return of_both(second.First(first.kind), result)

    of_both = put(second, "_of_second", of_second)


@defect("the page answers under any name", "page.safety", f"{PAGE}::test_another_host_that_leads_here_is_not_answered")
def _(safety: Any) -> None:
    refusal = safety.Keeper._refusal

    def careless(self: Any, request: Any) -> Any:
        self._hosts = (request.headers.get("Host", ""),)
        return refusal(self, request)

    put(safety, "Keeper._refusal", careless)


@defect(
    "the page needs no token",
    "page.safety",
    f"{PAGE}::test_without_the_cookie_or_with_a_wrong_token_nothing_is_answered",
)
def _(safety: Any) -> None:
    put(safety, "Keeper._knows", lambda self, request: True)


@defect(
    "a correction that could not be flushed stays in its file",
    "corrections.log",
    f"{CORRECTIONS}::test_what_could_not_be_saved_is_not_there_and_the_next_is",
)
def _(log: Any) -> None:
    class Careless:
        def __getattr__(self, name: str) -> Any:
            return (lambda file, size: None) if name == "ftruncate" else getattr(os, name)

    put(log, "os", Careless())


@defect(
    "a torn line stays before the next correction",
    "corrections.log",
    f"{CORRECTIONS}::test_a_line_that_a_crash_cut_off_is_none_and_the_next_one_is_whole",
)
def _(log: Any) -> None:
    put(log, "_whole_lines", lambda file: os.fstat(file).st_size)


@defect(
    "a row reviewed for its reason counts for the accuracy",
    "corrections.standing",
    f"{CORRECTIONS}::test_only_the_random_sample_says_how_good_the_labels_are",
)
def _(standing: Any) -> None:
    of = standing.Corrections.of

    def all_sampled(self: Any, uid: str) -> Any:
        return {row: standing.Standing(one.said, frozenset(one.said)) for row, one in of(self, uid).items()}

    put(standing, "Corrections.of", all_sampled)


@defect(
    "a job compared with another is so without what people said of it",
    "jobs.comparisons",
    "tests/corrections/test_everywhere.py::test_labels_are_the_same_to_every_reader",
)
def _(comparisons: Any) -> None:
    put(comparisons, "overlay_of", lambda reader, job, field=None: tuple)


@defect(
    "what a person says of one answer takes the others away",
    "corrections.overlay",
    "tests/corrections/test_everywhere.py::test_fields_are_corrected_each_by_itself",
)
def _(overlay: Any) -> None:
    put(overlay, "field_values", lambda label, answer: {})


@defect(
    "the random sample ends behind its first rows",
    "page.review",
    "tests/page/test_review.py::test_the_random_sample_gives_the_accuracy_that_a_recount_gives",
)
def _(review: Any) -> None:
    sample_of = review.sample_of
    put(review, "sample_of", lambda reader, job: sample_of(reader, job)[:40])


@defect("a moved job goes on here as well", "stores.moving", MOVED)
def _(moving: Any) -> None:
    put(moving, "refuse_moved", lambda job: None)


@defect("a job that is moved is marked only when it is there", "stores.postgres.arriving", MOVED)
def _(arriving: Any) -> None:
    arrive = arriving.arrive

    async def late(url: str, leaving: Any, said: Any) -> bool:
        mark, leaving.mark = leaving.mark, lambda place: None
        there: bool = await arrive(url, leaving, said)
        leaving.begin()
        mark(arriving.place_of(url))
        return there

    put(arriving, "arrive", late)


@defect("a move that was broken off is taken for done", "stores.postgres.arriving", MOVED)
def _(arriving: Any) -> None:
    async def marked(db: Any, uid: str) -> bool:
        return True

    put(arriving, "_is_here", marked)


@defect(
    "requests that are moved keep their runs' numbers",
    "stores.postgres.arriving",
    "tests/test_move.py::test_a_request_of_a_dead_process_is_settled_first_and_its_row_goes_out_under_its_key",
)
def _(arriving: Any) -> None:
    put(arriving, "_Ids.request", lambda self, id_: id_)


@defect(
    "corrections stay behind when their job moves",
    "jobs.moves",
    "tests/test_move.py::test_a_job_of_many_kinds_of_rows_is_there_as_it_was_here",
)
def _(moves: Any) -> None:
    class Silent:
        def news(self) -> Any:
            return type("News", (), {"added": []})

    put(moves, "log_of", lambda url: Silent())


@defect(
    "a retry pays for rows that a person has labelled",
    "jobs.run",
    "tests/corrections/test_correct.py::test_a_row_that_a_person_labelled_is_not_paid_for_by_a_retry",
)
def _(run: Any) -> None:
    put(run, "by_hand", lambda db, job: [])


@defect(
    "a lost request that was turned away when it was sent again counts as paid twice",
    "exchange.conclude",
    "tests/test_bills.py::test_a_lost_request_that_is_turned_away_when_it_is_sent_again_was_paid_once",
)
def _(conclude: Any) -> None:
    from msgspec.structs import replace

    def counted(*given: Any, **more: Any) -> Any:
        found = concluded(*given, **more)
        return replace(found, settle=replace(found.settle, untaken=None))

    concluded = put(conclude, "conclude", counted)


@defect(
    "a key that stands where a variable's name belongs is shown",
    "settings.pairs",
    "tests/test_secrets.py::test_a_key_that_stands_where_a_name_belongs_is_neither_shown_nor_stored",
)
def _(pairs: Any) -> None:
    put(pairs, "is_variable", lambda text: True)


@defect(
    "of several answers one is the label",
    "endpoints.replies",
    f"{FAULT}[paid-and-of-no-use-two-choices-of-index-0-that-differ]",
)
def _(replies: Any) -> None:
    put(replies, "_disagree", lambda contents: False)


@defect(
    "a label that a retry needs is forgotten",
    "jobs.forgetting",
    "tests/test_cache_command.py::test_a_failed_row_still_gets_the_label_of_a_row_of_its_job_with_the_same_text",
)
def _(forgetting: Any) -> None:
    put(forgetting, "_needed", lambda reader: iter(()))


@defect(
    "an answer ends at a NUL", "stores.sqlite.group", f"{STORE}::test_what_stands_behind_a_nul_is_kept_of_every_text"
)
def _(group: Any) -> None:
    put(group, "_without_nul", lambda records: records)


@defect(
    "after a stop a kept answer counts as one to what is asked now",
    "stores.sqlite.group",
    "tests/test_paid_is_used.py::test_a_stop_before_another_model_is_asked_gives_no_row_its_fallback",
)
def _(group: Any) -> None:
    cut(group.QUERIES, "returned_rows", "row.answer IS NOT NULL AND (", "0 AND (")


@defect(
    "an answer that was cut to be kept is read as a whole one",
    "task.labels",
    "tests/test_paid_is_used.py::test_of_an_answer_that_was_cut_to_be_kept_no_label_is_read",
)
def _(labels: Any) -> None:
    put(labels, "LabelSet.read_kept", lambda self, answer: self.read(answer))


@defect(
    "rows that were a second model's turn are asked of the first again",
    "shortcuts",
    "tests/test_second.py::test_without_a_second_model_rows_end_as_the_first_left_them_and_are_not_asked_again",
    "tests/test_second.py::test_what_was_put_back_for_a_second_model_is_asked_of_the_first_where_there_is_none_any_more",
)
def _(shortcuts: Any) -> None:
    put(shortcuts, "Walk.by_first", lambda self, page: ([], page))


@defect(
    "an error in a 200 is a paid answer where it has another form than OpenAI's",
    "endpoints.replies",
    f"{FAULT}[the-endpoint-is-busy-or-broken-200-with-errors]",
)
def _(replies: Any) -> None:
    put(replies, "_error_in", lambda reply: reply if reply.get("error") or reply.get("base_resp") else None)


@defect(
    "what another first model made of a row counts as the present one's",
    "exchange.second",
    "tests/test_second.py::test_what_another_first_model_made_of_a_row_does_not_count_also_after_a_stop",
)
def _(second: Any) -> None:
    put(second, "asked_first", lambda config: "")


@defect(
    "an input is read as its own labels, and each of its rows is one",
    "jobs.guard",
    "tests/test_files_kept.py::test_an_input_is_not_read_as_labels_or_prompt_too",
)
def _(guard: Any) -> None:
    put(guard, "check_settings_apart", lambda inputs, beside: None)


@defect(
    "a view by label goes by the job's own, whatever people said",
    "page.finding",
    "tests/page/test_review.py::test_a_view_by_label_or_source_has_the_rows_that_show_it",
)
def _(finding: Any) -> None:
    put(finding, "_with_said", lambda reader, job, wanted, overlay, found, numbers, *, limit, backwards: found)


@defect("a missing value of pandas is gold", "api.held", PYTHON)
def _(held: Any) -> None:
    put(held, "is_missing", lambda value: value is None)
