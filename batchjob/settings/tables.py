"""What stands in the tables of job.toml: rules, routes, prices, and what holds for one model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from batchjob.settings.declared import Column

Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Length = Annotated[int, Meta(ge=0)]
Amount = Annotated[float, Meta(ge=0)]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `[[rules]]` table: rows whose text matches get the label without a request."""

    name: Annotated[str, Column("What reports call it.", "thanks")]
    label: Annotated[str, Column("The label it gives.", "other")]
    pattern: Annotated[str | None, Column("A regular expression found in the text, in any case.", "^thanks")] = None
    words: Annotated[tuple[str, ...], Column("Words or phrases, any of which stands in the text as a whole.")] = ()


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `[[routes]]` table: rows that meet all that is given go to this model."""

    name: Annotated[str, Column("What reports call it.", "long")]
    model: Annotated[str, Column("The model that is asked.", "large-model")]
    pattern: Annotated[str | None, Column("A regular expression found in the text, in any case.")] = None
    script: Annotated[str | None, Column("The Unicode script of most letters, such as Han, Latin or Cyrillic.")] = None
    language: Annotated[str | None, Column("The language of the text (ISO 639-1), such as zh or de.")] = None
    min_length: Annotated[Length | None, Column("Fewest characters of the text.", 2000)] = None
    max_length: Annotated[Length | None, Column("Most characters of the text.")] = None
    column: Annotated[str | None, Column("Another column of the input, which must hold `value`.")] = None
    value: Annotated[str | None, Column("What `column` must hold.")] = None


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An `[[examples]]` table: a text with the label it is to get, as the model is told."""

    text: Annotated[str, Column("A text like those of the input.", "Where is my refund?")]
    label: Annotated[str, Column("Its label, one of the job's.", "refund")]


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A `[[fields]]` table: one of several answers about each text."""

    name: Annotated[str, Column("What it is called: a key of the answer, and a column of the export.", "category")]
    kind: Annotated[
        Literal["one", "several", "yes_no", "number", "text"],
        Column("one of its labels, several of them, yes_no, a number or a short text.", "one"),
    ] = "one"
    labels: Annotated[tuple[str, ...], Column("The labels of one or several.", ("billing", "refund"))] = ()
    descriptions: Annotated[dict[str, str], Column("What a label of it means.", {"refund": "money back"})] = {}
    ask: Annotated[str, Column("What is asked, in words.", "What is the text about?")] = ""
    min: Annotated[float | None, Column("The smallest number.")] = None
    max: Annotated[float | None, Column("The largest number.")] = None
    decimals: Annotated[int, Meta(ge=0, le=6), Column("Most digits of a number behind its point.")] = 0
    max_length: Annotated[int, Meta(ge=1, le=2000), Column("Most characters of a text; 200 if not set.")] = 200


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `[prices."MODEL"]` table: USD per million tokens."""

    input: Annotated[Amount, Column("USD for a million tokens sent.", 0.1)]
    output: Annotated[Amount, Column("USD for a million tokens answered.", 0.4)]
    cached_input: Annotated[
        Amount | None,
        Column("USD for a million tokens sent that the endpoint had in its cache; as input, if not set.", 0.05),
    ] = None


class OfModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `[models."MODEL"]` table: what holds for one model alone, where routes ask several."""

    params: Annotated[
        dict[str, Any], Column("Parameters of its requests, over those of [params].", {"reasoning_effort": "low"})
    ] = {}
