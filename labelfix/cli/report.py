"""report and export: what is shown of a run, and handed on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from labelfix.cli.options import PATH, RegistryOption, Titled, terminal_of


@click.command("report")
@click.argument("run", type=PATH)
def report_command(run: Path) -> None:
    """Build RUN/report.html again: a page that shows what purify did.

    \b
    Example:
      labelfix report data-purified
    """
    from labelfix.workflows.report import write_report

    terminal_of().result(f"wrote {write_report(run)}")


def _formats() -> Mapping[str, Titled]:
    from labelfix.exporters.registry import exporters

    return exporters()


@click.command("export")
@click.argument("run", type=PATH)
@click.argument("destination")
@click.option(
    "--format",
    "format",
    required=True,
    cls=RegistryOption,
    registry=_formats,
    help="What reads the result.",
)
@click.option(
    "--excel-safe",
    is_flag=True,
    help="csv: put ' before text that a spreadsheet would run as a formula.",
)
def export_command(run: Path, destination: str, format: str, excel_safe: bool) -> None:
    """Write RUN in the format of another tool.

    DESTINATION is a new folder or an address (s3://bucket/name).

    RUN is a folder that purify wrote, or a labels.parquet.

    \b
    Example:
      labelfix export data-purified exported --format csv
      labelfix export data-purified s3://team/pets --format huggingface
    """
    from labelfix.workflows.export import export

    terminal = terminal_of()
    for line in export(run, destination, format, excel_safe=excel_safe):
        terminal.say(line)
    terminal.result(f"wrote {destination}")
