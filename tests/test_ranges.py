"""Settings out of their declared range are refused by name."""

import math
from dataclasses import dataclass, replace
from typing import Annotated

import pytest

from labelfix.errors import InputError
from labelfix.ranges import (
    AtLeastOne,
    BelowOne,
    NotNegative,
    OneOf,
    Positive,
    Share,
    Within,
    check_options,
    check_settings,
)


@dataclass(frozen=True, kw_only=True)
class Config:
    rows: AtLeastOne = 1
    most_rows: AtLeastOne | None = None
    share: Share = 0.5
    below_one: BelowOne = 0.0
    rate: Positive = 1e-9
    decay: NotNegative = 0.0
    turn: Annotated[float, Within(0, 0.5, open_low=True)] = 0.1
    kind: Annotated[str, OneOf("a", "b")] = "a"
    free: float = -7.0

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class Narrower(Config):
    pairs: Annotated[int, Within(2)] = 2


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"rows": 0}, "rows must be at least 1, not 0"),
        ({"most_rows": 0}, "most_rows must be at least 1, not 0"),
        ({"share": -0.1}, r"share must lie in \[0, 1\], not -0.1"),
        ({"share": 1.1}, r"share must lie in \[0, 1\], not 1.1"),
        ({"share": math.nan}, r"share must lie in \[0, 1\], not nan"),
        ({"below_one": 1}, r"below_one must lie in \[0, 1\), not 1"),
        ({"rate": 0}, "rate must be positive, not 0"),
        ({"decay": -1}, "decay must be at least 0, not -1"),
        ({"turn": 0}, r"turn must lie in \(0, 0.5\], not 0"),
        ({"kind": "c"}, "kind must be one of a, b, not c"),
        ({"pairs": 1}, "pairs must be at least 2, not 1"),
    ],
)
def test_a_bad_value_is_named(bad, words):
    with pytest.raises(ValueError, match=f"^{words}$"):
        Narrower(**bad)


def test_the_ends_are_allowed_and_replace_checks_too():
    config = Narrower(rows=1, most_rows=1, share=1, below_one=0, turn=0.5, kind="b", free=math.nan)
    with pytest.raises(ValueError, match="share"):
        replace(config, share=2)


def test_only_an_optional_setting_may_be_none():
    with pytest.raises(TypeError):
        Config(rows=None)


def test_options_are_named_as_on_the_command_line():
    @dataclass(frozen=True, kw_only=True)
    class Options:
        most_rows: AtLeastOne = 1
        rate: Share = 0
        kind: Annotated[str, OneOf("a", "b")] = "a"

        def __post_init__(self) -> None:
            check_options(self)

    with pytest.raises(InputError, match=r"^--most-rows is 0; use a number from 1 up$"):
        Options(most_rows=0)
    with pytest.raises(InputError, match=r"^--rate is 2; use a share from 0 to 1$"):
        Options(rate=2)
    with pytest.raises(InputError, match=r"^--kind is 'c'; use one of a, b$"):
        Options(kind="c")
