"""What is asked: a body from a frame is the body written whole, and its cost is known before it is sent."""

from __future__ import annotations

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from batchjob.endpoints.bodies import ChatBodies
from batchjob.exchange.question import MARKS, Questions
from batchjob.model import Parcel, Row, Usage
from batchjob.money.budget import Budget
from batchjob.money.cost import KnownPrice, cost_picousd
from batchjob.settings.config import merge
from batchjob.task.labels import LabelSet
from batchjob.task.prompt import Prompt

PRICE = KnownPrice(3, 1, 7, "a test")
odd = st.text(st.sampled_from([*MARKS, "0", "1", "a", '"', "\\", "\n", "{", "}", "é", "\u2028"]), max_size=8)


@given(st.sampled_from(["{before}{{text}}{after}", "{before}", "{{text}}{before}{{text}}"]), odd, odd, odd)
@example("{before}{{text}}{after}", MARKS[0], "", "hello")
def test_a_body_from_a_frame_is_the_body_written_whole(prompt: str, before: str, after: str, text: str) -> None:
    before, after = (part.translate({ord("{"): "{{", ord("}"): "}}"}) for part in (before, after))
    config = merge({"labels": ["a", "b"], "model": "m", "prompt": prompt.format(before=before, after=after)})
    questions = Questions(config, Prompt(LabelSet(config.labels), config.prompt), ChatBodies(), Budget({}))
    parcel = Parcel((Row(1, text),), "m")
    assert questions.body(parcel) == questions._body(parcel)


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=5),
    st.sampled_from((None, "Which of {labels}? {text}")),
)
def test_no_request_that_bills_a_token_a_byte_costs_more_than_its_worst_case(
    texts: list[str], prompt: str | None
) -> None:
    config = merge({"labels": ["yes", "no"], "model": "m", "prompt": prompt})
    prompts = Prompt(LabelSet(config.labels), config.prompt)
    questions = Questions(config, prompts, ChatBodies(), Budget({"m": PRICE}))
    parcel = Parcel(tuple(Row(number, text) for number, text in enumerate(texts, start=1)), "m")
    body = msgspec.json.decode(questions.body(parcel))
    size = sum(len(message["content"].encode()) for message in body["messages"])
    worst = questions.worst_case(parcel)
    assert worst is not None
    assert worst >= cost_picousd(Usage(size, 0, body["max_tokens"]), PRICE)
