"""What a job asks, and how its answers are read: one label, or several fields."""

from __future__ import annotations

from batchjob.model import InputSource
from batchjob.settings.config import JobConfig
from batchjob.task.fields.answers import FieldSet
from batchjob.task.fields.prompt import FieldPrompt
from batchjob.task.labels import LabelSet
from batchjob.task.prompt import Prompt


def answers_of(config: JobConfig) -> LabelSet:
    """How a job's answers are read."""
    if config.fields:
        return FieldSet(config.fields)
    return LabelSet(config.labels, in_object=config.response_format is True)


def prompt_of(config: JobConfig, source: InputSource | None) -> Prompt:
    """The prompt of a job, for this input.

    Raises:
        SettingError: it names what is no column of the input.
    """
    if config.fields:
        return FieldPrompt(FieldSet(config.fields), config.prompt, source)
    labels, described = LabelSet(config.labels), config.descriptions
    return Prompt(labels, config.prompt, source, descriptions=described, examples=config.examples)
