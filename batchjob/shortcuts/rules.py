"""Rules: a row's text gives its label."""

from __future__ import annotations

from collections.abc import Sequence

from batchjob.errors import SettingError
from batchjob.model import RowResult
from batchjob.settings.config import JobConfig
from batchjob.settings.tables import Rule
from batchjob.shortcuts.case import Case, Terms
from batchjob.states import Event, Source
from batchjob.task.patterns import check_names, compiled, nearest
from batchjob.task.words import folded, stands_in


class Rules:
    """The rules of a job, ready to label rows.

    A rule matches where its pattern is found or any of its words stands.

    Raises:
        SettingError: a pattern is not a regular expression.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple((r, compiled("rule", r.name, r.pattern), tuple(map(folded, r.words))) for r in rules)
        self._any_words = any(rule.words for rule in rules)

    def label(self, text: str) -> tuple[str, str] | None:
        """The label and the name of the first rule that matches, or None.

        Raises:
            PatternTimeout: it takes too long to find that out.
        """
        words = folded(text) if self._any_words else ""
        for rule, pattern, wanted in self._rules:
            if (pattern is not None and pattern.found_in(text)) or any(stands_in(word, words) for word in wanted):
                return rule.label, rule.name
        return None


class ByRule:
    """See shortcuts.Shortcut."""

    looks_up = False

    def __init__(self, terms: Terms) -> None:
        self._rules = Rules(terms.rules)

    def settle(self, case: Case) -> RowResult | None:
        found = self._rules.label(case.row.text)
        if found is None:
            return None
        label, name = found
        return RowResult(case.row.number, Event.ASSIGN, label=label, source=Source.RULE, origin=name)


# ---------------------------------------------------------------- before a run


def check_rules(config: JobConfig) -> None:
    """See that the rules can do what they say.

    Raises:
        SettingError: one cannot; the text names it.
    """
    check_names("rule", [rule.name for rule in config.rules])
    for rule in config.rules:
        _check_rule(rule, config)
    Rules(config.rules)


def _check_rule(rule: Rule, config: JobConfig) -> None:
    if not rule.pattern and not rule.words:
        raise SettingError(f'rule {rule.name!r} matches nothing: give it a pattern or words = ["..."]')
    if rule.pattern == "":
        raise SettingError(f"rule {rule.name!r}: an empty pattern matches every text: leave it out")
    if not all(folded(word) for word in rule.words):
        raise SettingError(f"rule {rule.name!r} has a blank word")
    if rule.label not in config.labels and rule.label != config.fallback:
        raise SettingError(
            f"rule {rule.name!r}: {rule.label!r} is not a label of this job.{nearest(rule.label, config.labels)}"
        )
