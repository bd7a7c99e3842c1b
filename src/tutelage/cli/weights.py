"""``tutelage weights``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tutelage.cli import options as o
from tutelage.display.tables import columns, print_result

if TYPE_CHECKING:
    from tutelage.models.summary import WeightFileSummary

SHOWN_NAMES = 12


def weights(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Run folder or weight file")],
    to: Annotated[
        str | None, o.value("--to", "<path>", "Convert it to this .safetensors", o.OPTIONS)
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file if it exists", metavar="")
    ] = False,
    json: o.Json = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """Show the content of a weight file without running its code; convert it to .safetensors."""
    from tutelage.models.summary import convert, summarise

    if to is not None:
        convert(file, to, force=force)
    summary = summarise(to or file)
    head = [] if to is None else [f"{file} is now {to}:"]
    lines = [*head, *columns(summary_rows(summary), left=3)]
    print_result(asdict(summary), lines, as_json=json)


def summary_rows(summary: WeightFileSummary) -> list[list[str]]:
    """Return a summary as rows of title and text."""
    from tutelage.weights.file_type import human_size

    graph = (
        f"{summary.architecture or 'not known'}{f' ({summary.rows} rows)' if summary.rows else ''}"
    )
    names = ", ".join(summary.names[:SHOWN_NAMES])
    more = ", …" if len(summary.names) > SHOWN_NAMES else ""
    precision = ", ".join(f"{kind} {count:,}" for kind, count in summary.precision.items())
    epoch = "not stored" if summary.epoch is None else str(summary.epoch)
    rows = [
        ["file", f"{summary.path}, {human_size(summary.bytes)}"],
        ["kind", summary.kind],
        ["architecture", graph],
        ["form", summary.form],
        ["classes", f"{len(summary.names)}: {names}{more}"],
        ["strides", " ".join(map(str, summary.strides)) or "not stored"],
        ["tensors", f"{summary.tensors}, {summary.parameters:,} parameters"],
        ["precision", precision],
        ["date", summary.date or "not stored"],
        ["epoch", "-1 (stripped)" if summary.epoch == -1 else epoch],
    ]
    if summary.unknown_blocks:
        rows.insert(3, ["cannot build", ", ".join(summary.unknown_blocks)])
    width = max(map(len, summary.holds), default=0)
    entries = [f"{key:<{width}}  {text}" for key, text in summary.holds.items()]
    return rows + [["" if number else "holds", text] for number, text in enumerate(entries)]
