"""The command line: options in, a workflow, what it says. Nothing is computed here."""

from labelfix.cli.group import main

__all__ = ["main"]
