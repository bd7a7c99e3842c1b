"""``tutelage check``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import MofNCompleteColumn, TimeRemainingColumn

from tutelage.cli import options as o
from tutelage.display.tables import make_progress, print_result
from tutelage.errors import DataError

if TYPE_CHECKING:
    from tutelage.data.check import DataReport, SplitFinding

SplitChoice = StrEnum("SplitChoice", ["train", "val", "test"])
EXAMPLES = 3
ORDER = ("error", "warning", "info")


def check(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Data yaml, COCO json, COCO or VOC folder, digits")
    ],
    split: Annotated[
        list[SplitChoice] | None,
        typer.Option("--split", "--task", help="Only these images (repeatable)"),
    ] = None,
    img_size: Annotated[
        int,
        o.value(
            "--img-size --img --imgsz", "<px>", "Boxes are tiny at this size", o.OPTIONS, min=32
        ),
    ] = 640,
    image_range: Annotated[
        str | None,
        o.value("--image-range", "<low,high>", "As train.image_range, e.g. 0,4095", o.OPTIONS),
    ] = None,
    fix: Annotated[
        Path | None, o.value("--fix", "<dir>", "Write a cleaned copy of the labels", o.OPTIONS)
    ] = None,
    html: Annotated[
        Path | None, o.value("--html", "<file>", "Write a page with pictures", o.OPTIONS)
    ] = None,
    json: o.Json = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """Examine a data set: files, labels, boxes, leaks between the splits. Changes nothing in it."""
    from tutelage.config import load_config
    from tutelage.data.check import SPLITS, examine

    wanted = [str(word) for word in split or SPLITS]
    with progress_bar() as progress:
        report = examine(
            data,
            [word for word in SPLITS if wanted.count(word)],
            image_size=img_size,
            image_range=load_config(
                flags={"train.image_range": (image_range, "flag --image-range")}
            ).config.train.image_range,
            progress=progress,
        )
    written: list[str] = []
    if fix is not None:
        from tutelage.data.check.fix import LEFT_OUT, write_fixed

        fixed = write_fixed(report, fix)
        written.append(
            f"wrote {fixed.yaml}: {fixed.images} images, {fixed.boxes} boxes; "
            f"left out ({LEFT_OUT}): images {fixed.left_out}, labels of others {fixed.lost}"
        )
    if html is not None:
        from tutelage.data.check.html_report import atlas
        from tutelage.files import atomic_write_text

        atomic_write_text(html, atlas(report, image_size=img_size))
        written.append(f"wrote {html}")
    print_result(report_values(report), [*report_lines(report), *written], as_json=json)
    if report.errors:
        raise typer.Exit(DataError.exit_code)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a callback for the progress of an examination, shown on a terminal."""
    with make_progress(MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        tasks = {}

        def advance(split: str, more: int, total: int) -> None:
            if split not in tasks:
                tasks[split] = bar.add_task(split, total=total)
            bar.advance(tasks[split], more)

        yield advance


def report_values(report: DataReport) -> dict[str, object]:
    """Return a report as plain values."""
    return {
        "ok": not report.errors,
        "data": report.data,
        "splits": [
            {
                "split": index.split,
                "images": len(index),
                "boxes": len(index.boxes),
                "classes": dict(zip(index.names, index.class_counts.tolist(), strict=True)),
            }
            for index in (opened.index for opened in report.splits)
        ],
        "findings": [{"split": split} | asdict(finding) for split, finding in report.findings],
    }


def report_lines(report: DataReport) -> list[str]:
    """Return a report as lines: sizes, findings by severity, counts."""
    from tutelage.sanitise import printable

    indices = [opened.index for opened in report.splits]
    parts = [f"{i.split} {len(i):,} images {len(i.boxes):,} boxes" for i in indices]
    kinds = dict.fromkeys(opened.listing.format for opened in report.splits)
    lines = [f"{report.data} ({', '.join(kinds)}): {' · '.join(parts)}"]
    lines.append(f"{len(indices[0].names)} classes: {', '.join(indices[0].names)}"[:200])
    for severity in ORDER:
        for split, finding in report.findings:
            if finding.severity == severity:
                where = f" ({split})" if split else ""
                lines += ["", *f"{severity} {finding.code}{where}: {finding.message}".splitlines()]
                lines += [f"    {example}" for example in finding.examples[1:EXAMPLES]]
                lines += [f"  {line}" for line in finding.fix.splitlines()]
    return [*map(printable, lines), "", f"{_counts(report.findings)}."]


def _counts(noticed: Sequence[SplitFinding]) -> str:
    counts = Counter(one.finding.severity for one in noticed)
    words = {"error": "error", "warning": "warning", "info": "fact"}
    return ", ".join(
        f"{counts[severity]} {words[severity]}{'s' * (counts[severity] != 1)}" for severity in ORDER
    )
