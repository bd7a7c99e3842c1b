"""``tutelage doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli import options as o
from tutelage.cli.train import LOADING
from tutelage.display.diagnosis import diagnosis_lines
from tutelage.display.run_lines import headline
from tutelage.display.tables import make_progress, print_lines, print_result
from tutelage.errors import TeacherError
from tutelage.sanitise import json_values

if TYPE_CHECKING:
    from tutelage.diagnosis.findings import Entry
    from tutelage.diagnosis.report import Diagnosis


def doctor(
    student: Annotated[
        str | None,
        o.value(
            "--student",
            "<model>",
            "Architecture, its yaml, or weights [dim]\\[yolov7-tiny][/]",
            o.WHAT,
        ),
    ] = None,
    data: o.Data = None,
    config: o.RunFile = None,
    hyp: o.Hyp = None,
    preset: o.Preset = None,
    single_cls: o.SingleClass = False,
    teacher: Annotated[
        list[str] | None,
        o.value("--teacher --teacher-weights", "<model>", "The teacher (repeatable)", o.KD),
    ] = None,
    method: o.Methods = None,
    all_methods: Annotated[
        bool, o.switch("--all-methods", "Measure every method that fits", o.KD)
    ] = False,
    student_kd_layers: o.StudentLayers = None,
    teacher_kd_layers: o.TeacherLayers = None,
    batch_size: o.BatchSize = None,
    img_size: o.ImageSize = None,
    device: o.Device = None,
    seed: o.Seed = None,
    precision: o.Precision = None,
    freeze: o.Freeze = None,
    set: o.Sets = None,
    allow_code: o.AllowCode = None,
    json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Examine a teacher, a student and data before a run: nothing is trained or written."""
    entries = _entries(locals())
    if not json:
        print_lines(headline())
        entries = with_progress(entries)
    from tutelage.diagnosis.report import collect

    report = collect(entries)
    print_result(diagnosis_values(report), diagnosis_lines(report), as_json=json)
    if report.errors:
        raise typer.Exit(TeacherError.exit_code)


def _entries(given: dict[str, Any]) -> Iterator[Entry]:
    """Resolve the options of the command and yield the entries of the report."""
    from tutelage.api.doctor import examination, student_settings
    from tutelage.api.settings import resolve

    teacher, flags = given["teacher"], student_settings(given["student"], "flag --student")
    if teacher:
        flags["distill.teacher"] = (teacher[0] if len(teacher) == 1 else teacher, "flag --teacher")
    resolved, _ = resolve(given, flags)
    yield from examination(resolved, all_methods=given["all_methods"])


def with_progress(entries: Iterator[Entry]) -> Iterator[Entry]:
    """Yield the entries of a report and show their progress on a terminal."""
    with make_progress() as progress:
        bar = progress.add_task(LOADING.text, total=None)
        from tutelage.diagnosis.findings import STAGES, ExaminationStage

        for entry in entries:
            if isinstance(entry, ExaminationStage):
                done, total = entry.number, len(STAGES)
                progress.update(bar, description=entry.title, completed=done, total=total)
            yield entry


def diagnosis_values(report: Diagnosis) -> dict[str, Any]:
    """Return a report as plain values, by kind."""
    values = {"ok": report.ok, **json_values(report)}
    return {("cost_ms" if name == "cost" else name): value for name, value in values.items()}
