"""How a setting is declared: its field says what it is for. Flags, job.toml and reference are made from that."""

from __future__ import annotations

from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

T = TypeVar("T")
Group = Literal["input", "task", "endpoint", "limits", "money", "run", "output"]

START = ("start",)
BEFORE = ("start", "profile", "try")
RUNS = ("start", "resume", "retry")
ALWAYS = (*BEFORE, "resume", "retry")
"""The commands that take a flag."""


class Heading(NamedTuple):
    """A group of settings."""

    title: str
    about: str
    commands: tuple[str, ...]  # that take the flags of the group, where a setting says nothing else


GROUPS: dict[Group, Heading] = {
    "input": Heading("Input", "how the rows are read", BEFORE),
    "task": Heading("Task", "what is asked about each text", BEFORE),
    "endpoint": Heading("Endpoint", "who answers", BEFORE),
    "limits": Heading("Limits", "how fast, how often and how long to try", ALWAYS),
    "money": Heading("Money", "what may be spent, and what is saved", ALWAYS),
    "run": Heading("Run", "which job in which database, and how it goes on", ALWAYS),
    "output": Heading("Output", "what you get to see", ALWAYS),
}
"""In the order they are shown."""


class About(msgspec.Struct, frozen=True):
    """What a setting is for, in words. One stands in the annotation of each, with `Decides` or `Because`."""

    group: Group
    sentence: str  # plain English with a full stop, and without the default
    shown: str = ""  # what its value is called in help: USD, SECONDS, NAME; N for a number, if not said
    unset: str = ""  # what happens if it is not set, as an end of "default: "
    example: Any = None  # a value for job.toml, where there is no default
    env: tuple[str, ...] = ()  # variables that give it; the first that is set counts
    commands: tuple[str, ...] = ()  # that take its flag, if not those of the group
    in_file: bool = True  # whether job.toml may have it
    flag: str = ""  # if not by its name; of a table whose keys are the user's own: gives one of them, repeatable


class Decides(msgspec.Struct, frozen=True):
    """The label of a text depends on this setting."""

    but: str = ""  # on what of it the label does not depend


class Because(msgspec.Struct, frozen=True):
    """The label of a text does not depend on this setting, because ..."""

    reason: str
    then: str = ""  # what another value does, where it does not just go on with the same job


class Column(msgspec.Struct, frozen=True):
    """What a field of a table ([[rules]], say) is for. It decides whatever the table decides."""

    sentence: str
    example: Any = None  # a value for job.toml, if it is shown there


class Setting(msgspec.Struct, frozen=True):
    """A setting as the others walk it. Its name is the key of job.toml and, with dashes, the flag."""

    name: str
    about: About
    effect: Decides | Because
    kind: type = str  # of a value: int, float, str, bool, tuple or dict
    default: Any = None
    bounds: Meta | None = None
    choices: tuple[str, ...] = ()
    table: type[msgspec.Struct] | None = None  # what stands in each table of it, where it is no value

    @property
    def option(self) -> str:
        return self.about.flag or "--" + self.name.replace("_", "-")

    @property
    def commands(self) -> tuple[str, ...]:
        """Those that take its flag: none for a table, which stands in job.toml."""
        return () if self.table else self.about.commands or GROUPS[self.about.group].commands

    @property
    def switch(self) -> bool:
        """Whether its flag has two sides: one turns off what job.toml turns on."""
        return self.kind is bool and self.about.in_file

    @property
    def decides(self) -> bool:
        """Whether the label of a text hangs on it: another value makes another job."""
        return isinstance(self.effect, Decides)

    @property
    def pairs(self) -> bool:
        """Whether its keys are the user's own."""
        return self.kind is dict and bool(self.about.flag)

    @property
    def shown(self) -> str:
        """What its value is called in help; "" for a choice or a switch."""
        return self.about.shown or ("N" if self.kind in (int, float) else "")

    @property
    def has_default(self) -> bool:
        return self.default not in (None, "", (), {}, msgspec.NODEFAULT)

    @property
    def range(self) -> str:
        """The values that are allowed, in words; "" where a type says enough."""
        if self.bounds is None:
            return ""
        least, most = self.bounds.ge, self.bounds.le
        if least is None:
            return f"more than {spelled(self.bounds.gt)}"
        return f"{spelled(least)} or more" if most is None else f"{spelled(least)} to {spelled(most)}"

    @property
    def hint(self) -> str:
        """The range, where it does not go without saying."""
        told = self.bounds is not None and (self.bounds.le is not None or (self.bounds.ge or 0) > 1)
        return self.range if told else ""

    def heading(self, of: str) -> str:
        """Of a table in TOML: [[name]], one of many, [name."of"], or [name] with the user's own keys."""
        if self.pairs:
            return f"[{self.name}]"
        return f'[{self.name}."{of}"]' if self.kind is dict else f"[[{self.name}]]"


def spelled(value: object) -> str:
    """A value as a person would type it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


@cache
def declared(struct: type[msgspec.Struct]) -> tuple[Setting, ...]:
    """The settings that are the fields of a struct, in their order.

    Raises:
        TypeError: a field does not say what it is about, and whether it decides the label.
    """
    return tuple(_setting(field) for field in msgspec.structs.fields(struct))


def _setting(field: msgspec.structs.FieldInfo) -> Setting:
    bare, said = _bare(field.type)
    about, effect = _first(said, About), _first(said, Decides) or _first(said, Because)
    if about is None or effect is None:
        raise TypeError(f"setting {field.name} needs About(...), and Decides(...) or Because(...), in its annotation")
    choices = get_args(bare) if get_origin(bare) is Literal else ()
    kind = str if choices else get_origin(bare) or bare
    return Setting(field.name, about, effect, kind, _default(field), _first(said, Meta), choices, _table(bare))


def columns(table: type[msgspec.Struct]) -> dict[str, Column]:
    """What the fields of a table are for, in their order."""
    said = ((field.name, _first(_bare(field.type)[1], Column)) for field in msgspec.structs.fields(table))
    return {name: column for name, column in said if column is not None}


def _first(said: list[Any], kind: type[T]) -> T | None:
    return next((part for part in said if isinstance(part, kind)), None)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    made = field.default_factory
    return field.default if made is msgspec.NODEFAULT else made()


def _bare(hint: Any) -> tuple[Any, list[Any]]:
    """The type inside of Annotated and `| None`, and all that is said of it there."""
    said: list[Any] = []
    while True:
        if get_origin(hint) is Annotated:
            said += hint.__metadata__
            hint = hint.__origin__
        elif NoneType in get_args(hint):
            hint = next(part for part in get_args(hint) if part is not NoneType)
        else:
            return hint, said


def _table(hint: Any) -> type[msgspec.Struct] | None:
    """The struct in a tuple or dict of them."""
    inside = (part for part in get_args(hint) if isinstance(part, type) and issubclass(part, msgspec.Struct))
    return next(inside, None)
