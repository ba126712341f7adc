"""Which values a setting may take, declared with the setting.

@dataclass(frozen=True, kw_only=True)
class Config:
    epochs: AtLeastOne
    warmup: BelowOne = 0.05
    schedule: Annotated[str, OneOf("cosine", "constant")] = "cosine"

    def __post_init__(self) -> None:
        check_settings(self)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from labelfix.errors import InputError


@dataclass(frozen=True)
class Within:
    """A number from ``low`` to ``high``; an open end is not allowed itself. NaN never is."""

    low: float
    high: float = inf
    open_low: bool = False
    open_high: bool = False

    def allows(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < self.high if self.open_high else value <= self.high)

    @property
    def words(self) -> str:
        if self.high == inf:
            return "be positive" if self.open_low else f"be at least {self.low:g}"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"lie in {left}{self.low:g}, {self.high:g}{right}"

    @property
    def hint(self) -> str:
        if self.high == inf:
            low = f"{self.low:g}"
            return f"use a number above {low}" if self.open_low else f"use a number from {low} up"
        return f"use a share from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class OneOf:
    """One of some words."""

    choices: tuple[str, ...]

    def __init__(self, *choices: str) -> None:
        object.__setattr__(self, "choices", choices)

    def allows(self, value: str) -> bool:
        return value in self.choices

    @property
    def words(self) -> str:
        return f"be one of {', '.join(self.choices)}"

    @property
    def hint(self) -> str:
        return f"use one of {', '.join(self.choices)}"


AtLeastOne = Annotated[int, Within(1)]
Seed = Annotated[int, Within(0)]
Share = Annotated[float, Within(0, 1)]
BelowOne = Annotated[float, Within(0, 1, open_high=True)]
Positive = Annotated[float, Within(0, open_low=True)]
NotNegative = Annotated[float, Within(0)]


def check_settings(config: object) -> None:
    """Refuse a config with a value that its annotations do not allow.

    Raises:
        ValueError: names the first such setting, what it must be, and its value.
    """
    for name, rule, value in _forbidden(config):
        raise ValueError(f"{name} must {rule.words}, not {value}")


def check_options(config: object) -> None:
    """The same for settings that are options of the command line.

    Raises:
        InputError: names the option and its value, and says what to use.
    """
    for name, rule, value in _forbidden(config):
        shown = f"'{value}'" if isinstance(rule, OneOf) else value
        raise InputError(f"--{name.replace('_', '-')} is {shown}", hint=rule.hint)


def _forbidden(config: object) -> Iterator[tuple[str, Within | OneOf, Any]]:
    for name, rule, optional in _rules(type(config)):
        value = getattr(config, name)
        if not (optional and value is None) and not rule.allows(value):
            yield name, rule, value


def _rules(kind: type) -> Iterator[tuple[str, Within | OneOf, bool]]:
    """Every rule of a config class, its setting's name, and whether None is allowed too."""
    for name, hint in get_type_hints(kind, include_extras=True).items():
        options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        for option in options:
            for rule in getattr(option, "__metadata__", ()):
                if isinstance(rule, Within | OneOf):
                    yield name, rule, NoneType in options
