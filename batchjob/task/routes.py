"""Routes: a row's text and columns -> the model that is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from batchjob.errors import SettingError
from batchjob.settings.config import JobConfig
from batchjob.settings.tables import Route
from batchjob.task.columns import as_text
from batchjob.task.languages import (
    BY_SCRIPT_ALONE,
    LANGUAGES,
    SCRIPTS,
    Ranker,
    language_of,
    load_ranker,
    script_meant,
    script_of,
)
from batchjob.task.patterns import Pattern, check_names, compiled, nearest


class Routes:
    """The routes of a job, ready to choose a model; the first whose conditions all hold wins.

    Raises:
        SettingError: a pattern is not a regular expression, or a language needs the extra `language`.
    """

    def __init__(self, routes: Sequence[Route], default: str) -> None:
        self._routes = tuple((route, compiled("route", route.name, route.pattern)) for route in routes)
        self._default = default
        self.needs_columns = any(route.column is not None for route in routes)
        named = next((r for r in routes if r.language and r.language.lower() not in BY_SCRIPT_ALONE), None)
        self._ranker = None if named is None else load_ranker(named.name, named.language or "")

    def choose(self, text: str, column_values: Mapping[str, object] | None) -> tuple[str, str]:
        """The model a row goes to, and the name of the route that says so ("": none does).

        column_values are the row's other columns, by name, where needs_columns asks for them.

        Raises:
            PatternTimeout: it takes too long to find that out.
        """
        if not self._routes:
            return self._default, ""
        traits = _Traits(text, self._ranker)
        for route, pattern in self._routes:
            if _fits(route, pattern, traits, column_values):
                return route.model, route.name
        return self._default, ""


class _Traits:
    """What routes ask about a text, each found out once and only when asked."""

    def __init__(self, text: str, ranker: Ranker | None) -> None:
        self.text = text
        self._ranker = ranker

    @cached_property
    def script(self) -> str | None:
        return script_of(self.text)

    @cached_property
    def language(self) -> str | None:
        return language_of(self.text, self._ranker)


def _fits(route: Route, pattern: Pattern | None, traits: _Traits, column_values: Mapping[str, object] | None) -> bool:
    """Whether every condition of the route holds; the cheap ones are tried first."""
    length = len(traits.text)
    return (
        (route.min_length is None or length >= route.min_length)
        and (route.max_length is None or length <= route.max_length)
        and (route.column is None or _value(column_values, route.column) == route.value)
        and (pattern is None or pattern.found_in(traits.text))
        and (route.script is None or traits.script == script_meant(route.script))
        and (route.language is None or traits.language == route.language.lower())
    )


def _value(values: Mapping[str, object] | None, column: str) -> str | None:
    return None if values is None or column not in values else as_text(values[column])


# ---------------------------------------------------------------- before a run


def check_routes(config: JobConfig) -> None:
    """See that the routes can do what they say.

    Raises:
        SettingError: one cannot; the text names it.
    """
    check_names("route", [route.name for route in config.routes])
    for route in config.routes:
        _check_route(route)
    Routes(config.routes, config.model)


def _check_route(route: Route) -> None:
    conditions = (route.pattern, route.script, route.language, route.column)
    lengths = (route.min_length, route.max_length)
    if not any(conditions) and all(length is None for length in lengths):
        if route.value is not None:
            raise SettingError(f"route {route.name!r} has a value but no column: give both")
        raise SettingError(
            f"route {route.name!r} has no condition, so that every row would take it: give it a pattern, script, "
            f"language, min_length, max_length or column, or set model"
        )
    if not route.model.strip():
        raise SettingError(f"route {route.name!r} has a blank model")
    if (route.column is None) != (route.value is None):
        given, lacking = ("value", "column") if route.column is None else ("column", "value")
        raise SettingError(f"route {route.name!r} has a {given} but no {lacking}: give both")
    if route.min_length is not None and route.max_length is not None and route.min_length > route.max_length:
        raise SettingError(f"route {route.name!r}: min_length is more than max_length, so no row can take it")
    _check_script_and_language(route)


def _check_script_and_language(route: Route) -> None:
    if route.script is not None and script_meant(route.script) is None:
        raise SettingError(
            f"route {route.name!r}: unknown script {route.script!r}.{nearest(route.script, SCRIPTS)} "
            f"Known: {', '.join(SCRIPTS)}."
        )
    if route.language is not None and route.language.lower() not in LANGUAGES:
        raise SettingError(
            f"route {route.name!r}: unknown language {route.language!r}: give an ISO 639-1 code. "
            f"Known: {', '.join(sorted(LANGUAGES))}."
        )
