"""``tutelage store``: list, verify and remove stores of teaching."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import MofNCompleteColumn, TimeRemainingColumn

from tutelage.cli import options as o
from tutelage.cli.completion import complete_stores
from tutelage.display.tables import columns, make_progress, print_lines, print_result
from tutelage.errors import ConfigError, TeacherError

if TYPE_CHECKING:
    from tutelage.store.survey import StoreSummary, Verification

ROOT = "runs/store"
DAY = 86_400.0  # seconds
SHOWN_IMAGES = 20

store = typer.Typer(help="List, verify and remove what teachers said.")


@store.command(name="list", epilog="[dim]Example[/]  tutelage store list")
def list_(
    root: Annotated[
        str | None,
        typer.Argument(metavar="[ROOT]", help=f"Folder of stores [dim]\\[{ROOT}][/]"),
    ] = None,
    json: o.Json = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """List the stores: records, views, size, last change."""
    from tutelage.store.folder import free_bytes, is_store
    from tutelage.store.search import store_folders
    from tutelage.store.survey import summarise
    from tutelage.weights.file_type import human_size

    place = Path(root or ROOT)
    if root and not place.exists():
        raise TeacherError(
            f"There is no folder {root}.", fix="Those of the runs:  tutelage store list", code="T40"
        )
    folders = [place] if is_store(place) else store_folders(place)
    summaries = [summarise(path) for path in folders]
    free = human_size(free_bytes(place))
    size = human_size(sum(one.bytes for one in summaries))
    lines = [
        *summary_lines(summaries),
        f"{_stores(len(summaries))} in {place}, {size}; {free} are free on this disk.",
    ]
    print_result([one.values() for one in summaries], lines, as_json=json)


@store.command(epilog="[dim]Example[/]  tutelage store verify runs/store/bccd-responses-0a1b2c3d")
def verify(
    folder: Annotated[
        str,
        typer.Argument(metavar="STORE", help="Folder of a store", autocompletion=complete_stores),
    ],
    json: o.Json = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """Read all records of a store and compare them with their checksums. Changes nothing."""
    from tutelage.store.survey import verify

    path = _place(folder)
    with make_progress(MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("records", total=None)
        result = verify(path, lambda done, total: bar.update(task, completed=done, total=total))
    values = {"ok": not result.damaged and not result.unreadable, "path": str(path)}
    print_result(values | result._asdict(), verification_lines(path, result), as_json=json)
    if not values["ok"]:
        raise typer.Exit(TeacherError.exit_code)


@store.command(epilog="[dim]Example[/]  tutelage store remove --older-than 30 --yes")
def remove(
    folders: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STORE]...", help="Folders of stores", autocompletion=complete_stores
        ),
    ] = None,
    older_than: Annotated[
        float | None,
        o.value(
            "--older-than",
            "<days>",
            f"Only those not changed since; without STORE: all in {ROOT}",
            o.OPTIONS,
            min=0,
        ),
    ] = None,
    yes: Annotated[bool, o.switch("--yes", "Do not ask", o.OPTIONS)] = False,
    json: o.Json = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """Remove stores that no process is writing to."""
    from tutelage.store.folder import open_store, remove_store
    from tutelage.store.search import store_folders
    from tutelage.store.survey import summarise

    if not folders and older_than is None:
        raise ConfigError(
            "No store is named.",
            fix="For example  tutelage store remove --older-than 30",
            code="C26",
        )
    paths = [_place(name) for name in dict.fromkeys(folders or ())]
    for path in paths:
        try:
            open_store(path)
        except TeacherError as error:
            if error.code != "T43":  # a damaged one may go
                raise
    summaries = [summarise(path) for path in paths or store_folders(Path(ROOT))]
    if older_than is not None:
        before = time.time() - older_than * DAY
        summaries = [one for one in summaries if one.changed <= before]
    removed, left, errors = [], {}, []
    if summaries and _agreed(summaries, yes=yes, as_json=json):
        for path in (one.path for one in summaries):
            try:
                others = remove_store(path)
            except TeacherError as error:
                errors.append(error)
                continue
            removed.append(str(path))
            if others:
                left[str(path)] = others
    lines = [f"removed {path}" for path in removed] or ["Nothing was removed."]
    lines += [
        f"{path} stays, with what is not of a store: {', '.join(left[path])}" for path in left
    ]
    print_result({"removed": removed, "left": left}, lines, as_json=json)
    if errors:
        raise errors[0]


def _agreed(summaries: Sequence[StoreSummary], *, yes: bool, as_json: bool) -> bool:
    """Show what would be removed and ask; without a terminal ``--yes`` is needed."""
    if yes:
        return True
    if as_json or not sys.stdin.isatty():
        raise ConfigError(
            f"{_stores(len(summaries))} would be removed: "
            f"{', '.join(str(one.path) for one in summaries)}.",
            fix="To remove without being asked:  --yes",
            code="C26",
        )
    print_lines(*summary_lines(summaries))
    return typer.confirm(f"Remove {_stores(len(summaries))}?")


def _place(name: str) -> Path:
    """Return the folder of a store by its path, or by its name in the usual folder."""
    path, usual = Path(name), Path(ROOT) / name
    return usual if not path.exists() and usual.exists() else path


def summary_lines(summaries: Sequence[StoreSummary]) -> list[str]:
    """Return stores as a table, with the problems of those that cannot be opened."""
    from tutelage.weights.file_type import human_size

    rows = [["store", "records", "views", "complete", "size", "last change"]]
    for one in summaries:
        share = "" if one.complete is None else f"{int(one.complete * 100)} %"
        changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.changed))
        counts = ["-", "-", "-"] if one.problem else [f"{one.records:,}", str(one.views), share]
        rows.append([one.path.name, *counts, human_size(one.bytes), changed])
    problems = [f"{one.path.name}: {one.problem}" for one in summaries if one.problem]
    return [*columns(rows, left=1), *problems] if summaries else []


def verification_lines(path: Path, found: Verification) -> list[str]:
    """Return what reading a store found: the damaged records by view."""
    lines = [f"{path}: {found.records:,} records, {len(found.damaged):,} of them damaged"]
    for view, keys in groupby(found.damaged, key=lambda key: key[0]):
        images = [str(image) for _, image in keys]
        more = f" and {len(images) - SHOWN_IMAGES:,} more" * (len(images) > SHOWN_IMAGES)
        lines.append(f"  view {view}: images {', '.join(images[:SHOWN_IMAGES])}{more}")
    lines += [f"  {name}: no record of it can be read" for name in found.unreadable]
    if found.damaged_rows:
        lines.append(
            f"  {found.damaged_rows:,} entries of the index are damaged: their records are lost"
        )
    if len(lines) > 1:
        lines.append("What is damaged or lost is not used: the next run asks the teacher again.")
    return lines


def _stores(count: int) -> str:
    return f"{count} store{'s' * (count != 1)}"
