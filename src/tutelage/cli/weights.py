"""``tutelage weights``."""

from __future__ import annotations

import json as json_format
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tutelage.cli import options as o
from tutelage.cli.tables import columns, say

if TYPE_CHECKING:
    from tutelage.models.summary import WeightFileSummary

SHOWN_NAMES = 12


def weights(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Run folder or weight file")],
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="<path>", help="Convert it to this .safetensors"),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file if it exists", metavar="")
    ] = False,
    json: o.Json = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """Show what is in a weight file, without running any of it; convert it to .safetensors."""
    from tutelage.models.summary import convert, summarise

    if to is not None:
        convert(file, to, force=force)
    found = summarise(to or file)
    if json:
        print(json_format.dumps(asdict(found)))
        return
    if to is not None:
        say(f"{file} is now {to}:")
    say(*columns(summary_rows(found), left=3))


def summary_rows(found: WeightFileSummary) -> list[list[str]]:
    """Return a summary as rows: title, text, and for the entries of the file a third cell."""
    from tutelage.weights.file_type import human_size

    graph = f"{found.architecture or 'not known'}{f' ({found.rows} rows)' if found.rows else ''}"
    names = ", ".join(found.names[:SHOWN_NAMES])
    more = ", …" if len(found.names) > SHOWN_NAMES else ""
    precision = ", ".join(f"{kind} {count:,}" for kind, count in found.precision.items())
    epoch = "not stored" if found.epoch is None else str(found.epoch)
    rows = [
        ["file", f"{found.path}, {human_size(found.bytes)}"],
        ["kind", found.kind],
        ["architecture", graph],
        ["form", found.form],
        ["classes", f"{len(found.names)}: {names}{more}"],
        ["strides", " ".join(map(str, found.strides)) or "not stored"],
        ["tensors", f"{found.tensors}, {found.parameters:,} parameters"],
        ["precision", precision],
        ["date", found.date or "not stored"],
        ["epoch", "-1 (stripped)" if found.epoch == -1 else epoch],
    ]
    if found.unknown_blocks:
        rows.insert(3, ["cannot build", ", ".join(found.unknown_blocks)])
    width = max(map(len, found.holds), default=0)
    entries = [f"{key:<{width}}  {text}" for key, text in found.holds.items()]
    return rows + [["" if number else "holds", text] for number, text in enumerate(entries)]
