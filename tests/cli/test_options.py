"""Options that take the name of a registry's entry."""

from dataclasses import replace

from click.testing import CliRunner

from labelfix.cli.retrain import retrain_command
from labelfix.retrain import registry


def test_help_lists_what_the_registry_holds(monkeypatch):
    def shown():
        return CliRunner().invoke(retrain_command, ["--help"]).output

    known = shown()
    for name, method in registry.METHODS.items():
        assert f" {name}: {method.title}\n" in known
    new = replace(registry.METHODS["ce"], title="a method from the future")
    monkeypatch.setitem(registry.METHODS, "later", new)
    assert " later: a method from the future\n" in shown()
