"""A body that is written from a frame is the body that would be written whole."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from batchjob.endpoints.bodies import ChatBodies
from batchjob.exchange.question import MARKS, Questions
from batchjob.model import Parcel, Row
from batchjob.money.budget import Budget
from batchjob.settings.config import merge
from batchjob.task.labels import LabelSet
from batchjob.task.prompt import Prompt

odd = st.text(st.sampled_from([*MARKS, "0", "1", "a", '"', "\\", "\n", "{", "}", "é", "\u2028"]), max_size=8)


@given(st.sampled_from(["{before}{{text}}{after}", "{before}", "{{text}}{before}{{text}}"]), odd, odd, odd)
@example("{before}{{text}}{after}", MARKS[0], "", "hello")
def test_a_body_from_a_frame_is_the_body_written_whole(prompt: str, before: str, after: str, text: str) -> None:
    before, after = (part.translate({ord("{"): "{{", ord("}"): "}}"}) for part in (before, after))
    config = merge({"labels": ["a", "b"], "model": "m", "prompt": prompt.format(before=before, after=after)})
    questions = Questions(config, Prompt(LabelSet(config.labels), config.prompt), ChatBodies(), Budget({}))
    parcel = Parcel((Row(1, text),), "m")
    assert questions.body(parcel) == questions._body(parcel)
