"""A method's settings by name and type."""

import pytest

from labelfix.errors import InputError
from labelfix.retrain.registry import METHODS, settings_of


def test_settings_are_parsed_by_their_types():
    found = settings_of("hrp", ["gate=false", "meta_every=3", "low=0.2", "mixup=none"])
    assert (found.gate, found.meta_every, found.low, found.mixup) == (False, 3, 0.2, "none")
    assert settings_of("ce", []) == METHODS["ce"].config
    with pytest.raises(InputError, match="elr has no setting 'gate'; --set one of strength"):
        settings_of("elr", ["gate=true"])
