"""``tutelage methods``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tutelage.cli import options as o
from tutelage.cli.completion import complete_methods
from tutelage.display.tables import print_result

if TYPE_CHECKING:
    from tutelage.distill.build import MethodRow


def methods(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[METHOD]...",
            help="e.g. fgd, or my_package.kd:Mine; none lists those built in",
            autocompletion=complete_methods,
        ),
    ] = None,
    json: o.Json = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """List the distillation methods: paper, needs, options with defaults."""
    from tutelage.config.methods import parse_method
    from tutelage.distill.build import describe_methods

    rows = describe_methods([parse_method(name).name for name in names or ()])
    print_result([row._asdict() for row in rows], method_lines(rows), as_json=json)


def _option(name: str, row: MethodRow) -> str:
    """Return an option with its default and, if it is a choice, the alternatives."""
    value = row.options[name]
    others = ", ".join(choice for choice in row.choices.get(name, ()) if choice != value)
    return f"{name}={value} ({others})" if others else f"{name}={value}"


def method_lines(rows: Sequence[MethodRow]) -> list[str]:
    """Return the methods as lines, and an example of a flag."""
    width = max((len(row.name) for row in rows), default=0)
    indent = " " * (width + 4)
    lines: list[str] = []
    for row in rows:
        options = " ".join(_option(name, row) for name in row.options)
        lines += [
            f"{row.name:<{width}}  {row.summary}".rstrip(),
            *([f"{indent}paper    {row.paper}"] if row.paper else []),
            f"{indent}needs    {', '.join(row.needs)}",
            f"{indent}options  {options or 'none'}",
            f"{indent}ratio    {row.ratio:g}",
            "",
        ]
    example = f"--method {rows[0].name}:weight=2" if rows else "--method package.module:Class"
    auto = (
        "(weight=auto, the default, is measured: the method's gradients at the tapped features "
        "become its ratio times those of the detection loss)"
    )
    return [*lines, f"Use one or several:  {example}  {auto}"]
