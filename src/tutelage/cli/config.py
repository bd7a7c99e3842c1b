"""``tutelage config``."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from tutelage.api.settings import flags_of
from tutelage.cli import options as o
from tutelage.display.tables import print_lines


def config(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN.yaml", help="A run file, or a run folder", show_default=False),
    ] = None,
    cfg: o.Cfg = None,
    weights: o.Weights = None,
    hyp: o.Hyp = None,
    preset: o.Preset = None,
    set: o.Sets = None,
    every: Annotated[
        bool,
        o.switch("--all", "Every setting: default, what it accepts, what it means", o.OPTIONS),
    ] = False,
    json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Show the resolved settings, each with its origin."""
    given = locals()
    from tutelage.config import dump, dump_all_settings, load_config
    from tutelage.config.describe import leaves
    from tutelage.config.overrides import at, origin_of

    if every:
        print_lines(dump_all_settings().rstrip("\n"))
        return
    path = Path(run) / "config.yaml" if run is not None and Path(run).is_dir() else run
    resolved = load_config(config_file=path, hyp=hyp, flags=flags_of(given), sets=set or ())
    if json:
        values = resolved.config.model_dump(mode="json")
        rows = {
            key: {"value": at(values, key), "origin": origin_of(key, resolved.origins)}
            for key in leaves()
        }
        print(json_format.dumps(rows))
        return
    for notice in resolved.notices:
        print_lines(f"# {notice}")
    print_lines(dump(resolved.config, resolved.origins).rstrip("\n"))
