"""The settings of a job that say what is asked about each text."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from batchjob.settings.declared import ALWAYS, About, Because, Decides
from batchjob.settings.endpoint import EndpointSettings
from batchjob.settings.tables import Count, Example, Field, Length, OfModel, Route, Rule, Share


class TaskSettings(EndpointSettings, msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of JobConfig."""

    labels: Annotated[
        tuple[str, ...],
        About(
            "task",
            "The labels to choose from; in job.toml also as a table [labels] that says what each means.",
            "A,B,C",
            example=("billing", "refund", "other"),
            commands=ALWAYS,
        ),
        Decides(but="their order"),
    ] = ()
    descriptions: Annotated[
        dict[str, str],
        About(
            "task",
            "What a label means, as the model is told.",
            "LABEL=TEXT",
            "none",
            {"refund": "money back for something bought"},
            commands=ALWAYS,
            in_file=False,
            flag="--describe",
        ),
        Decides(but="white space around them"),
    ] = {}
    fallback: Annotated[
        str | None,
        About(
            "task",
            "Label for a blank text, and for an answer off the list.",
            "LABEL",
            "such rows fail",
            "other",
            commands=ALWAYS,
        ),
        Decides(),
    ] = None
    prompt: Annotated[
        str | None,
        About(
            "task",
            "Your own prompt; {labels}, {text} and any other {column} are filled in.",
            "TEXT",
            "one is made from the labels",
            "Answer with one of these labels alone: {labels}\n\n{text}",
            commands=ALWAYS,
        ),
        Decides(but="white space at its end"),
    ] = None
    fields: Annotated[
        tuple[Field, ...],
        About("task", "Several answers about each text, asked in one request, in place of a label.", unset="none"),
        Decides(),
    ] = ()
    examples: Annotated[
        tuple[Example, ...],
        About("task", "Texts with their labels, which stand in each request.", unset="none"),
        Decides(),
    ] = ()
    draw_examples: Annotated[
        Count | None,
        About(
            "task",
            "Draw so many examples from the input's first 50,000 rows, evenly over the labels.",
            "N",
            "none are drawn",
            8,
            flag="--examples",
        ),
        Because("what it draws is in the examples, which do", then="by the examples that are drawn"),
    ] = None
    gold: Annotated[
        str | None,
        About(
            "task",
            "Column with labels by hand, for examples and for try.",
            "NAME",
            "none",
            "gold",
        ),
        Because("what is drawn is in the examples, which do", then="by the examples that are drawn"),
    ] = None
    examples_seed: Annotated[
        Length,
        About("task", "Another number draws other examples."),
        Because("what it draws is in the examples, which do", then="by the examples that are drawn"),
    ] = 0
    second_model: Annotated[
        str | None,
        About(
            "task",
            "Model that is asked where --model left a row off the list, failed on it, or was unsure.",
            "NAME",
            "none",
            "large-model",
            commands=ALWAYS,
        ),
        Decides(),
    ] = None
    second_below: Annotated[
        Share,
        About("task", "Confidence below which it is asked; needs --confidence.", "SHARE", commands=ALWAYS),
        Decides(),
    ] = 0.6
    temperature: Annotated[
        float,
        Meta(ge=0, le=2),
        About("task", "Sampling temperature; 0 takes the most likely answer.", "T", commands=ALWAYS),
        Decides(),
    ] = 0.0
    max_tokens: Annotated[
        Count | None,
        About(
            "task",
            "Most tokens of an answer; models that think need hundreds.",
            unset="by the longest label",
            example=16,
            commands=ALWAYS,
        ),
        Because("an answer that ended by itself is the same, and one that was cut is none"),
    ] = None
    thinking: Annotated[
        Literal["off", "low", "medium", "high", "default"] | None,
        About(
            "task",
            "How much the model thinks before it answers.",
            unset="off where the provider has a switch",
            example="off",
            commands=ALWAYS,
        ),
        Decides(),
    ] = None
    params: Annotated[
        dict[str, Any],
        About(
            "task",
            "A parameter of each request; dots lead into tables, and omit leaves one of ours out.",
            "KEY=VALUE",
            "none",
            {"reasoning_effort": "low"},
            commands=ALWAYS,
            flag="--param",
        ),
        Decides(but="service_tier, user, metadata and what else changes no answer"),
    ] = {}
    models: Annotated[
        dict[str, OfModel],
        About("task", "What holds for one model alone.", "MODEL", "none", "small-model"),
        Decides(),
    ] = {}
    rules: Annotated[
        tuple[Rule, ...],
        About("task", "The first rule that matches a text gives its label, for free.", unset="none"),
        Decides(),
    ] = ()
    routes: Annotated[
        tuple[Route, ...],
        About("task", "The first route whose conditions all hold chooses the model.", unset="none"),
        Decides(),
    ] = ()
